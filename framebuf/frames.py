"""A frame, and what it carries besides its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.units import Moment


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where in a file or a folder a frame comes from; both None for a live camera."""

    position: int | None = None
    """Which frame of the file, from 0, the same at every repeat."""

    file: str | None = None
    """The picture's name within its folder."""


LIVE = Origin()


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a frame, in its pixels; it has an inside."""

    x: int
    y: int
    width: int
    height: int

    def within(self, width: int, height: int) -> Part | None:
        """What of it lies in a frame of this size; None: nothing."""
        left, right = max(self.x, 0), min(self.x + self.width, width)
        top, bottom = max(self.y, 0), min(self.y + self.height, height)
        if left >= right or top >= bottom:
            return None
        return Part(left, top, right - left, bottom - top)

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of a frame's pixels, as a view. It must lie within them."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]

    def __str__(self) -> str:
        return f"{self.width}×{self.height} at {self.x},{self.y}"


NOT_DECODED: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
"""The pixels of a frame that is held encoded: none, so that nobody takes them for a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a camera. Threads may share it while its lease is held."""

    seq: int
    """Counts the frames kept, without gaps but for frames dropped for want of memory."""

    captured: Moment
    """When it was captured: by the clock of a stream that has one, else when it arrived."""

    pixels: NDArray[np.uint8]
    """(height, width, 3) uint8, BGR. A view into its slot: read only under a lease."""

    origin: Origin = LIVE

    error: str | None = None
    """Why the picture could not be decoded; its pixels then mean nothing."""

    full: tuple[int, int] | None = None
    """Height, width of the frame, where `pixels` are a smaller picture of it, or none yet."""

    @property
    def height(self) -> int:
        """Pixels of the frame, whatever `pixels` are."""
        return self.full[0] if self.full else int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return self.full[1] if self.full else int(self.pixels.shape[1])

    def seen(self, part: Part | None) -> NDArray[np.uint8]:
        """The pixels of a part of the frame, or all of them; a view."""
        if part is None:
            return self.pixels
        if self.full is None:
            return part.of(self.pixels)
        high, wide = self.pixels.shape[:2]
        top, left = part.y * high // self.height, part.x * wide // self.width
        bottom = -(-(part.y + part.height) * high // self.height)
        right = -(-(part.x + part.width) * wide // self.width)
        return self.pixels[top:bottom, left:right]

    @property
    def is_decoded(self) -> bool:
        """Whether there are pixels."""
        return self.pixels.size > 0
