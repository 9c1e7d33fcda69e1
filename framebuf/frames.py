"""A frame, and what it carries besides its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from framebuf.units import Moment


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a file or a folder a frame comes from; both None for a live camera."""

    position: int | None = None
    """Which frame of the file, from 0, the same at every repeat."""

    file: str | None = None
    """The picture's name within its folder."""


LIVE = Origin()


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
