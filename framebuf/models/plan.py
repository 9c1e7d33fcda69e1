"""Which batches to run, and in what order, so that a backlog is finished soonest.

A size takes one core (a context pinned to it) or all of them at once. In a best schedule those that
take all stand together, for what runs on single cores before, between and after them can be moved
together without loss. So with waiting frames `n` and cores that are busy for a while:

    finish(n) = the least over k of  max(k frames on single cores, all cores free) + together(n - k)

where together(n) is the best for n frames from a moment at which all cores are free, beginning with
a batch that takes all of them. Both sides come out of small tables, made once and grown as needed.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from framebuf.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER = 2**62
"""Nanoseconds of what cannot be done."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one batch size costs."""

    size: int
    """Rows of the tensor."""
    ns: int
    """Nanoseconds that a batch runs, full or not."""
    takes_all: bool = False
    """It needs all cores at once; else one."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to run next."""

    size: int
    core: int | None
    """None: all cores. Until they are free, none of them begins anything else."""


class Planned(NamedTuple):
    """One batch of a plan; nanoseconds from its beginning."""

    begins_ns: int
    ends_ns: int
    frames: int


class Plan:
    """The planner of one model. Not locked: its lane's lock guards it.

    Costs decide, no rule of thumb. It is made anew for each decision, so frames that come, and
    batches that take longer than they should, are taken into account at the next one.
    """

    def __init__(self, costs: Sequence[Cost], cores: int = 1, pinned: int | None = None) -> None:
        """`pinned`: how many of the cores, the first ones, have contexts of their own.

        Raises:
            ModelError: there are no costs, or none of them can be run.
        """
        self._cores = cores
        self._one = {c.size: c.ns for c in costs if not c.takes_all}
        self._all = {c.size: c.ns for c in costs if c.takes_all}
        self._pinned = min(cores, cores if pinned is None else pinned) if self._one else 0
        if not self._all and not self._pinned:
            raise ModelError("expected the cost of at least one batch size, got none")
        # By number of frames: the least to run them on one core; the least from a moment when all
        # cores are free; the same where a batch on all comes first
        self._alone = [0]
        self._free = [0]
        self._together = [NEVER]

    def next(self, waiting: int, busy: Sequence[int], prepare_ns: int = 0) -> Step:
        """What to run next for `waiting` frames, at least 1.

        `busy` is for each core how many nanoseconds it will still be busy; `prepare_ns` is what
        preparing one frame takes, which the first batch waits for and the others do not.
        """
        self._grow(waiting)
        core = min(range(self._pinned), key=busy.__getitem__, default=0)
        best, chosen = (NEVER, NEVER, 0.0, 0), Step(0, None)
        for size, ns in self._one.items() if self._pinned else ():
            rows = min(size, waiting)
            begins = max(busy[core], prepare_ns * rows)
            after = [*busy[:core], begins + ns, *busy[core + 1 :]]
            end = max(begins + ns, self._finish(waiting - rows, after))
            # Of equal ends the one that begins first, then the one that works least for a frame
            this = (end, begins, ns / rows, -rows)
            if this < best:
                best, chosen = this, Step(size, core)
        for size, ns in self._all.items():
            rows = min(size, waiting)
            begins = max(*busy, prepare_ns * rows)
            end = begins + ns + self._free[waiting - rows]
            this = (end, begins, ns * self._cores / rows, -rows)
            if this < best:
                best, chosen = this, Step(size, None)
        return chosen

    def ns(self, step: Step) -> int:
        """How long a step's batch runs."""
        return (self._all if step.core is None else self._one)[step.size]

    def schedule(self, waiting: int) -> list[Planned]:
        """All of the plan for `waiting` frames while nothing else comes, as it begins."""
        busy, planned = [0] * self._cores, []
        while waiting > 0:
            step = self.next(waiting, busy)
            cores = range(self._cores) if step.core is None else (step.core,)
            begins = max(busy[core] for core in cores)
            for core in cores:
                busy[core] = begins + self.ns(step)
            planned.append(Planned(begins, begins + self.ns(step), min(step.size, waiting)))
            waiting -= step.size
        return planned

    def _finish(self, waiting: int, busy: Sequence[int]) -> int:
        """When the last of `waiting` frames is done at best, preparation apart."""
        if not waiting:
            return 0
        free_ns = max(busy)
        best = min(
            (
                max(end, free_ns) + self._together[waiting - count]
                for count, end in enumerate(self._ends(waiting, busy, free_ns))
            ),
            default=NEVER,
        )
        # All on single cores: no quicker than their work shared evenly, which most often settles it
        if sum(busy[: self._pinned]) + self._alone[waiting] < self._pinned * best:
            best = min(best, self._singly(waiting, busy))
        return best

    def _grow(self, waiting: int) -> None:
        """The tables up to so many frames."""
        for n in range(len(self._free), waiting + 1):
            alone = min(
                (ns + self._alone[max(0, n - size)] for size, ns in self._one.items()),
                default=NEVER,
            )
            self._alone.append(min(alone, NEVER))
            together = min(
                (ns + self._free[max(0, n - size)] for size, ns in self._all.items()),
                default=NEVER,
            )
            self._together.append(min(together, NEVER))
            singly = self._alone[-(-n // self._pinned)] if self._pinned else NEVER
            self._free.append(min(together, singly))

    def _share(self, ns: int) -> int:
        """How many frames one core runs within `ns`."""
        return bisect_right(self._alone, ns) - 1

    def _singly(self, waiting: int, busy: Sequence[int]) -> int:
        """When the last of `waiting` frames is done, all of them on single cores."""
        if not self._pinned or not waiting:
            return NEVER if waiting else 0
        cores = sorted(busy[: self._pinned])
        # No quicker than the work shared evenly by some of them
        level = min(
            (sum(cores[:count]) + self._alone[waiting]) // count
            for count in range(1, len(cores) + 1)
        )
        # The least end of any core by which all cores together have run them all
        best = NEVER
        for core in cores:
            count = min(waiting, max(1, self._share(level - core)))
            while count <= waiting and (end := core + self._alone[count]) < best:
                if sum(self._share(end - other) for other in cores if end >= other) >= waiting:
                    best = end
                count = bisect_right(self._alone, self._alone[count])
        return best

    def _ends(self, waiting: int, busy: Sequence[int], free_ns: int) -> list[int]:
        """When 0, 1, 2 … frames on single cores are done, as far as waiting for them may pay."""
        ends = [0]
        if not self._all:
            return []
        if not self._pinned:
            return ends
        # Beyond one round after all cores are free nothing is gained over running them later
        limit = free_ns + max(self._one.values())
        heap = [(busy[core] + self._alone[1], busy[core], 1) for core in range(self._pinned)]
        heapq.heapify(heap)
        while len(ends) < waiting and heap[0][0] <= limit:
            end, since, count = heap[0]
            ends.append(end)
            heapq.heapreplace(
                heap, (since + self._alone[min(count + 1, waiting)], since, count + 1)
            )
        return ends

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, sorted(self._one | self._all)))
        return f"<Plan {sizes} on {self._cores} cores, {self._pinned} of them pinned>"
