"""What a [[model]] on inference servers may say, and what only such a one may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.config.endpoints import Endpoints, is_url

if TYPE_CHECKING:
    from framebuf.config.file import Loaded
    from framebuf.config.tables import Model

MOST_S = 60
"""Of `timeout`: a call that takes longer serves no camera."""


def check_served(loaded: Loaded, key: str, model: Model) -> None:
    """Check a model whose path is a URL.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    try:
        endpoints = Endpoints.parse(model.path)
    except ValueError as error:
        raise loaded.error(f"{key}.path", str(error), "correct the URL") from error
    if model.platform != "auto":
        raise loaded.error(
            f"{key}.platform",
            f"is {model.platform}, but the path is a place on servers",
            "leave it out",
        )
    if not 0 < model.timeout.ns <= MOST_S * 10**9:
        raise loaded.error(
            f"{key}.timeout", f"is {model.timeout}", f"give more than 0, up to {MOST_S}s"
        )
    if model.ca_file is not None and not endpoints.tls:
        raise loaded.error(
            f"{key}.ca_file", f"is for TLS, the path begins with {endpoints.scheme}://",
            f"write {endpoints.scheme}s://, or leave it out",
        )  # fmt: skip
    if model.token_file is not None and not (endpoints.tls or endpoints.is_loopback):
        raise loaded.error(
            f"{key}.token_file", f"would go over {endpoints.scheme}:// for anyone to read",
            f"write {endpoints.scheme}s://",
        )  # fmt: skip
    if model.max_batch and model.batch_sizes and max(model.batch_sizes) > model.max_batch:
        raise loaded.error(
            f"{key}.batch_sizes", f"has more than max_batch = {model.max_batch}",
            "leave the larger sizes out",
        )  # fmt: skip
    if model.fallback is not None:
        _check_fallback(loaded, key, model, model.fallback)


def check_file(loaded: Loaded, key: str, model: Model) -> None:
    """Check that a model of files has no key of one on servers.

    Raises:
        ConfigError: it has one.
    """
    for name in ("max_batch", "ca_file", "token_file", "fallback"):
        if getattr(model, name) is not None:
            raise loaded.error(
                f"{key}.{name}", "is for a model on servers, whose path is http:// or grpc://",
                "leave it out",
            )  # fmt: skip


def _check_fallback(loaded: Loaded, key: str, model: Model, fallback: str) -> None:
    other = next((each for each in loaded.config.model if each.name == fallback), None)
    if other is None:
        raise loaded.error(
            f"{key}.fallback", f"there is no model {fallback}", f"add a [[model]] named {fallback}"
        )
    if is_url(other.path):
        raise loaded.error(
            f"{key}.fallback", f"{fallback} is on servers itself",
            "name a model of this machine; several servers go into one path, with commas",
        )  # fmt: skip
    if other.task not in (model.task, "auto"):
        raise loaded.error(
            f"{key}.fallback", f"{fallback} has task {other.task}, {model.name} {model.task}",
            "name a model that does the same",
        )  # fmt: skip
