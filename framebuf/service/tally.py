"""What the frames of a request came to, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.contract import Reason


@dataclass(slots=True)
class Tally:
    """Counts of frames with a result, and without one."""

    published: int = 0
    failed: int = 0
    """Of those published, with an error."""
    missing: Counter[Reason] = field(default_factory=Counter)
    summary: Counter[str] = field(default_factory=Counter)
    """Frames by label."""
    earlier_ms: float = 0.0
    """Of inference, in starts before this one."""
    runs: dict[tuple[str, int], float] = field(default_factory=dict)
    """Milliseconds of each batch that answered a frame."""

    @property
    def infer_ms(self) -> float:
        return round(self.earlier_ms + sum(self.runs.values()), 3)
