"""How many frames a camera's memory holds: history, and headroom beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.buffer.layout import SLOT, STAMP, Shape
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.units import Size, Span

ASSUMED_RATE = 25.0
"""Frames a second of a source that does not say."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many slots a camera gets."""

    history: int
    """Frames that a trigger can reach back to."""
    headroom: int
    """More slots, so that the camera goes on while frames are leased."""
    shortened: bool
    """The memory bound took some of the history asked for."""

    @property
    def slots(self) -> int:
        return self.history + self.headroom

    def shape(self, frame_bytes: int) -> Shape:
        """The ring that holds them, with stamps for twice as many frames."""
        return _shape(self.slots, frame_bytes)


def extent(span: Span, memory: Size, rate: float, frame_bytes: int) -> Extent | None:
    """History and headroom (a quarter of the history, at least a second) in one file of `memory`.

    None: not even one frame and one to write fit.
    """
    asked = span.frames if span.frames is not None else -(-round(span.ns * rate) // SECOND_NS)
    second = max(1, round(rate))
    history = max(1, asked)
    headroom = max(-(-history // 4), second)
    fit = _fit(memory.bytes, frame_bytes)
    if fit < 2:
        return None
    if history + headroom <= fit:
        return Extent(history, headroom, shortened=False)
    headroom = min(max(fit // 5, min(second, fit // 2)), fit - 1)
    held = min(history, fit - headroom)
    return Extent(held, fit - held, shortened=held < history)


def smallest(frame_bytes: int) -> int:
    """Bytes of the smallest memory that has an extent."""
    return _shape(2, frame_bytes).file_bytes


def _shape(slots: int, frame_bytes: int) -> Shape:
    return Shape(slots, frame_bytes, 2 * slots)


def _fit(memory: int, frame_bytes: int) -> int:
    """The most slots whose file, with all that stands beside the pixels, is within `memory`."""
    fit = memory // (_shape(1, frame_bytes).stride + SLOT.itemsize + 2 * STAMP.itemsize)
    while fit and _shape(fit, frame_bytes).file_bytes > memory:  # header, and whole pages
        fit -= 1
    return fit
