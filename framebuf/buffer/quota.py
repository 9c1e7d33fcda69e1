"""Quota: what the configuration gives one camera, and the ring that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from framebuf.buffer.extent import ASSUMED_RATE, Extent, extent, smallest
from framebuf.errors import ConfigError

if TYPE_CHECKING:
    from framebuf.buffer.layout import Shape
    from framebuf.units import Size, Span


class Format(msgspec.Struct, frozen=True, gc=False):
    """What is known of a camera's frames when the next one is written."""

    height: int
    width: int
    rate: float = ASSUMED_RATE
    """Frames a second."""
    largest: int = 0
    """Bytes of the largest frame, if that was told ahead."""

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * 3


@dataclass(frozen=True, slots=True)
class Quota:
    """How much history in how much memory."""

    span: Span
    memory: Size

    def extent(self, rate: float, slot_bytes: int) -> Extent | None:
        """See `extent.extent`."""
        return extent(self.span, self.memory, rate, slot_bytes)

    def ring(self, frames: Format) -> tuple[Extent, Shape]:
        """The ring that is to be made for such frames.

        Raises:
            ConfigError: `memory` does not hold two of them.
        """
        slot_bytes = self._slot_bytes(frames)
        size = self.extent(frames.rate, slot_bytes)
        if size is None:
            raise ConfigError(
                "memory",
                f"{self.memory} does not hold two frames of {frames.width}×{frames.height}",
                f"give it at least {-(-smallest(slot_bytes) // 2**20)} MiB",
            )
        return size, size.shape(slot_bytes)

    def going_on(self, shape: Shape, frames: Format) -> Extent | None:
        """The extent of a ring that was made before, if it is as good as a new one; else None."""
        size = self.extent(frames.rate, shape.stride)
        # A stream's rate is measured anew each time, and never quite the same
        if size is None or abs(size.slots - shape.slots) > max(1, size.slots // 50):
            return None
        if shape.file_bytes > self.memory.bytes:
            return None
        if size.shortened:  # by frames that were larger then?
            fresh = self.extent(frames.rate, self._slot_bytes(frames))
            if fresh is not None and fresh.history > size.history:
                return None
        history = min(size.history, shape.slots - 1)
        return Extent(history, shape.slots - history, size.shortened)

    def _slot_bytes(self, frames: Format) -> int:
        """One ring for all sizes, unless that costs history: what was told ahead may be wrong."""
        if frames.largest > frames.frame_bytes:
            roomy = self.extent(frames.rate, frames.largest)
            if roomy is not None and not roomy.shortened:
                return frames.largest
        return frames.frame_bytes
