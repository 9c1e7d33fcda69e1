"""What a trigger asks for, before it is known which frames those are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.units import Span


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """`[moment − before, moment + after]`, every `stride`-th frame, at most `max_frames`."""

    moment_ns: int
    """Monotonic."""
    before: Span | None
    """None: the whole history."""
    after: Span
    stride: int = 1
    max_frames: int = 2**31
    give_up_ns: int = 2**63
    """Monotonic; no frame is waited for beyond."""

    @property
    def is_moment(self) -> bool:
        """No length: the one frame nearest before."""
        return self.before is not None and self.before.is_zero and self.after.is_zero

    @property
    def counts_from_moment(self) -> bool:
        """Its first frame is known only once the moment is past."""
        counted = self.before is None or self.before.frames is not None
        return counted or self.stride > 1 or self.is_moment

    @property
    def end_ns(self) -> int | None:
        """When it ends; None: after a number of frames."""
        return None if self.after.frames else self.moment_ns + self.after.ns
