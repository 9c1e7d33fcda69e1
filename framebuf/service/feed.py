"""One camera as requests see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from framebuf.buffer.window import Claims

if TYPE_CHECKING:
    from framebuf.buffer.buffer import Buffer
    from framebuf.config import Camera
    from framebuf.models.lane import Lane
    from framebuf.service.request import Request


@dataclass(slots=True, eq=False)
class Feed:
    """Only the requests' thread, but for `stirred`."""

    camera: Camera
    buffer: Buffer
    lane: Lane
    claims: Claims = field(default_factory=Claims)
    open: list[Request] = field(default_factory=list)
    """In order of acceptance: first accepted, first served."""
    stirred: bool = False
    """A frame was captured that the thread has yet to look at."""

    @property
    def model(self) -> str:
        return self.camera.models[0]
