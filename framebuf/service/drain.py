"""What it takes to answer a whole history at once, reckoned from what a model was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.models.plan import Plan


@dataclass(frozen=True, slots=True)
class Drain:
    """One request for many frames, with nothing else to do."""

    frames: int
    seconds: float
    meanwhile: int
    """Frames that the camera gives until the last one is answered."""
    dropped: int
    """How many of those find no slot, for the others are leased."""

    @classmethod
    def of(cls, frames: int, headroom: int, rate: float, plan: Plan) -> Drain:
        """Drain `frames` in batches as they are planned; slots are free once in a tensor."""
        taken, end_ns, dropped = 0, 0, 0
        for batch in plan.schedule(frames):
            # At its beginning the tensor after it is not prepared yet
            came = math.ceil(rate * batch.ends_ns / 1e9)
            taken += batch.frames
            end_ns = max(end_ns, batch.ends_ns)
            dropped = max(dropped, came - headroom - taken)
        return cls(frames, end_ns / 1e9, math.ceil(rate * end_ns / 1e9), dropped)

    def no_sooner(self, seconds: float, rate: float) -> Drain:
        """The same where something else takes so long beside it; so many more frames come."""
        if seconds <= self.seconds:
            return self
        return replace(self, seconds=seconds, meanwhile=math.ceil(rate * seconds))
