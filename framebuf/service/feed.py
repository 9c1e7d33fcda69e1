"""One camera as requests see it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from framebuf.buffer.claims import Claims
from framebuf.errors import InferenceError
from framebuf.frames import Part

if TYPE_CHECKING:
    from framebuf.buffer.buffer import Buffer
    from framebuf.config import Camera
    from framebuf.frames import Frame
    from framebuf.models.chain import Chain
    from framebuf.service.codedchain import CodedChain
    from framebuf.service.request import Request

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Feed:
    """Only the requests' thread, but for `stirred`."""

    camera: Camera
    buffer: Buffer
    chain: Chain | CodedChain
    claims: Claims = field(default_factory=Claims)
    open: list[Request] = field(default_factory=list)
    """In order of acceptance: first accepted, first served."""
    stirred: bool = False
    """A frame was captured that the thread has yet to look at."""
    told: set[tuple[int, int]] = field(default_factory=set)
    """Sizes of frames that the roi leaves, of which the log speaks once each."""

    @property
    def model(self) -> str:
        return self.camera.models[0]

    def part(self, frame: Frame) -> Part | None:
        """What of a frame the model sees; None: all of it.

        Raises:
            InferenceError: the frame could not be decoded, or the roi lies wholly outside it.
        """
        if frame.error is not None:
            raise InferenceError(frame.error, "undecodable")
        if self.camera.roi is None:
            return None
        height, width = frame.height, frame.width
        roi = Part(*self.camera.roi)
        part = roi.within(width, height)
        if part != roi and (width, height) not in self.told:
            self.told.add((width, height))
            _log.warning(
                "camera %s: roi %s %s a frame of %d×%d",
                self.camera.name, roi, f"is cut to {part} by" if part else "is outside",
                width, height, extra={"CAMERA": self.camera.name},
            )  # fmt: skip
        if part is None:
            raise InferenceError(f"roi {roi} is outside a frame of {width}×{height}", "roi_outside")
        return part
