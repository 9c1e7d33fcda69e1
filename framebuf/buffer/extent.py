"""How many frames a camera's memory holds: history, and headroom beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.buffer.layout import Shape
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


def extent(span: Span, memory: Size, rate: float, frame_bytes: int) -> Extent | None:
    """History and headroom (a quarter of the history, at least a second) within `memory`.

    None: not even one frame and one to write fit.
    """
    asked = span.frames if span.frames is not None else -(-round(span.ns * rate) // SECOND_NS)
    second = max(1, round(rate))
    history = max(1, asked)
    headroom = max(-(-history // 4), second)
    room = Shape(1, frame_bytes, 1).stride
    fit = memory.bytes // room
    if fit < 2:
        return None
    if history + headroom <= fit:
        return Extent(history, headroom, shortened=False)
    headroom = min(max(fit // 5, min(second, fit // 2)), fit - 1)
    return Extent(fit - headroom, headroom, shortened=fit - headroom < history)
