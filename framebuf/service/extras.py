"""Parts that only some nodes have, and whose libraries no other node loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.camera import Camera
    from framebuf.config import Config, Loaded
    from framebuf.contract import Topics
    from framebuf.service.decoding import Decoding
    from framebuf.service.web.opening import Web


def open_decoding(config: Config, stack: ExitStack) -> Decoding | None:
    """The decoders, where a camera's packets are kept; `stack` stops them."""
    if all(camera.store != "encoded" for camera in config.camera):
        return None
    from framebuf.service.decoding import DECODERS, Decoding  # noqa: PLC0415 - it needs av

    decoding = Decoding(config.node.decoders or DECODERS)
    decoding.start()
    stack.callback(decoding.stop)
    return decoding


def open_web(
    loaded: Loaded,
    topics: Topics,
    buffers: Mapping[str, Buffer],
    cameras: Mapping[str, Camera],
    hanging: Callable[[int], Mapping[str, int]],
    stack: ExitStack,
) -> Web | None:
    """The page, where it is configured; `stack` stops it.

    Raises:
        ConfigError: its libraries are missing, or its token cannot be used.
    """
    if loaded.config.web is None:
        return None
    try:
        from framebuf.service.web.opening import Web  # noqa: PLC0415
    except ImportError as error:
        what = f"needs the extra web: there is no {error.name}"
        remedy = "pip install 'framebuf[web]', or leave [web] out"
        raise loaded.error("web", what, remedy) from error
    try:
        web = Web.open(loaded.config, topics, buffers, cameras, hanging)
    except ConfigError as error:
        raise loaded.located(error) from error
    web.start()
    stack.callback(web.stop)
    return web
