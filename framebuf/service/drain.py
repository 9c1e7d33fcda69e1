"""What it takes to answer a whole history at once, reckoned from what a model was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.plan import next_size

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    def of(
        cls,
        frames: int,
        headroom: int,
        rate: float,
        ms_per_batch: Mapping[int, float],
        runtimes: int,
    ) -> Drain:
        """Drain `frames` in batches as they are planned; slots are free once in a tensor.

        `ms_per_batch` is measured with one runtime at work; `runtimes` share the batches.
        """
        left, seconds, dropped = frames, 0.0, 0
        while left > 0:
            size = next_size(left, sorted(ms_per_batch))
            taken = min(size, left)
            left -= taken
            seconds += ms_per_batch[size] / 1e3 / runtimes
            free = headroom + frames - left
            dropped = max(dropped, math.ceil(rate * seconds) - free)
        return cls(frames, seconds, math.ceil(rate * seconds), dropped)
