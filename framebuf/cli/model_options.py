"""The options that say which model runs where, for every command that runs one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Model

Path = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help='A model file, a family "name-batch{1,4,8}.rknn", or grpc://host:8001/name.',
    ),
]
Platform = Annotated[
    str, typer.Option("-p", "--platform", help="rk3588 …, sim:rk3588 (simulated), cpu or auto.")
]
Pool = Annotated[int, typer.Option("-s", "--pool", min=1, help="How many runtimes.")]
Batches = Annotated[
    str | None,
    typer.Option(
        "--batch", help="Batch sizes, 1,4,8: of those in the braces, or where the axis is free."
    ),
]
CaFile = Annotated[
    str | None, typer.Option(help="Of https:// and grpcs://: who signed the servers' certificates.")
]
TokenFile = Annotated[
    str | None, typer.Option(help="The bearer token that goes to servers, in a file.")
]
Layout = Annotated[
    str | None, typer.Option(help="nchw or nhwc, where an ONNX model's input could be either.")
]


def model_of(path: str, task: str, **keys: Any) -> Model:
    """The [[model]] that the options describe; what is None was not given.

    Raises:
        typer.BadParameter: an option's value is wrong.
    """
    from framebuf import config  # noqa: PLC0415 - --help stays quick
    from framebuf.errors import ConfigError  # noqa: PLC0415

    given = {key: value for key, value in keys.items() if value is not None}
    if "batch_sizes" in given:
        given["batch_sizes"] = _numbers(given["batch_sizes"], int, "--batch")
    for key in ("mean", "std"):
        if key in given:
            given[key] = _numbers(given[key], float, f"--{key}")
    try:
        return config.model_of({"name": _name(path), "path": path, "task": task} | given)
    except ConfigError as error:
        key = error.where.rpartition(".")[2]
        option = {"batch_sizes": "--batch", "path": "--model", "runtimes": "--pool"}
        what = error.what.removeprefix(f"{key} ")
        raise typer.BadParameter(
            f"{what}; {error.remedy}", param_hint=option.get(key, f"--{key}")
        ) from None


def second_of(first: Model, path: str, keys: Sequence[str]) -> Model:
    """The [[model]] that is to see what the first finds; `keys` are like max_crops=5.

    Raises:
        typer.BadParameter: a key is unknown, or its value is wrong, or the first finds nothing.
    """
    from framebuf import config  # noqa: PLC0415 - --help stays quick
    from framebuf.errors import ConfigError  # noqa: PLC0415

    given: dict[str, Any] = {"name": f"then-{_name(path)}"[:64], "path": path, "task": "embed"}
    given["platform"] = first.platform
    for text in keys:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected KEY=VALUE, got {text}", param_hint="--then-key")
        given[key] = _value(value)
        if key == "only" and not isinstance(given[key], list):
            given[key] = value.split(",")
    try:
        return config.models_of(_table(first), given)[1]
    except ConfigError as error:
        key = error.where.rpartition(".")[2]
        raise typer.BadParameter(
            f"{key} {error.what.removeprefix(f'{key} ')}; {error.remedy}", param_hint="--then"
        ) from None


def _table(model: Model) -> dict[str, Any]:
    """As it would stand in the file."""
    import msgspec  # noqa: PLC0415

    keys = {key: value for key, value in msgspec.structs.asdict(model).items() if value is not None}
    return keys | {"timeout": str(model.timeout)}


def _value(text: str) -> Any:
    """As TOML has it; a word needs no quotes."""
    import tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _name(path: str) -> str:
    from framebuf.config.endpoints import Endpoints, is_url  # noqa: PLC0415

    if is_url(path):
        try:
            return Endpoints.parse(path).model[:64]
        except ValueError:
            return "model"  # what is wrong is told where the path is checked
    stem = re.sub(r"[^A-Za-z0-9._-]+", "", path.rpartition("/")[2].partition("{")[0])
    return stem.removesuffix(".onnx").removesuffix(".rknn")[:64] or "model"


def _numbers(text: str, kind: type[int] | type[float], option: str) -> list[float]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        example = "1,4,8" if kind is int else "123.7,116.3,103.5"
        raise typer.BadParameter(
            f"expected numbers as in {example}, got {text}", param_hint=option
        ) from None
