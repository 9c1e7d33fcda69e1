"""What of the node the web sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.camera import Camera
    from framebuf.config import Config
    from framebuf.contract import Topics
    from framebuf.service.broker import Broker
    from framebuf.service.census import Census
    from framebuf.service.feed import Feed
    from framebuf.service.requests import Requests
    from framebuf.service.state import State


@dataclass(frozen=True, slots=True)
class Running:
    """The parts that are there once the models are loaded."""

    census: Census
    broker: Broker
    requests: Requests
    feeds: Mapping[str, Feed]
    state: State


@dataclass(slots=True)
class View:
    """The parts that it reads. The main thread makes it; the thread `web` reads."""

    config: Config
    topics: Topics
    buffers: Mapping[str, Buffer]
    cameras: Mapping[str, Camera]
    hanging: Callable[[int], Mapping[str, int]]
    """The threads that hang at a monotonic moment, and for how many nanoseconds."""
    running: Running | None = None
    """None while models load. Set once, by the main thread."""
