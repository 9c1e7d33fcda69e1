"""Histogram: how often values fell below which bounds; cheap to add to."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds for what one frame or one request takes: a decade in three steps, as is usual."""
FRAMES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Bounds for how many frames a batch holds: the usual batch sizes."""


class Distribution(msgspec.Struct, frozen=True):
    """What a histogram held at one moment."""

    bounds: tuple[float, ...]
    """Upper ends, inclusive; what is above the last is counted too."""
    counts: tuple[int, ...]
    """Of each bound alone, not of all below it; one more than bounds."""
    sum: float
    """Of all values, in their unit."""

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class Histogram:
    """Values since the process started. One thread adds, any thread reads.

    No lock: each count is stored by one thread alone, and a reader that comes between two of them
    sees one value in the sum and not yet among the counts, or the other way round.
    """

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), round(self._sum, 6))

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)}, {self._sum:g} in all>"


def together(distributions: Iterable[Distribution]) -> Distribution:
    """One distribution of all values; the bounds are the same, and there is one at least."""
    all_ = tuple(distributions)
    counts = tuple(map(sum, zip(*(one.counts for one in all_), strict=True)))
    return Distribution(all_[0].bounds, counts, round(sum(one.sum for one in all_), 6))
