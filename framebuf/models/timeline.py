"""The runs that an accelerator's cores have before them, in the order in which they begin."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framebuf.models.context import Context
    from framebuf.models.run import Run


class Timeline:
    """Runs in order; each begins when those before it on its cores have ended.

    Not locked: its lane's lock guards it.
    """

    def __init__(self, cores: int, hands: int) -> None:
        """`hands` is how many threads may prepare tensors at once: as many as the host has cores.

        More would keep each other from being ready in time for the run that is next.
        """
        self.cores = cores
        self.hands = hands
        self._runs: list[Run] = []
        self._begun = 0

    def add(self, run: Run) -> None:
        self._runs.append(run)

    def begin(self, run: Run, now_ns: int) -> None:
        self._begun += 1
        run.number, run.since_ns = self._begun, now_ns

    def end(self, run: Run, following: Run | None, now_ns: int) -> bool:
        """It is over. Begins `following` at once where that may; whether it did."""
        self._runs.remove(run)
        if following is None or not self.may_begin(following):
            return False
        self.begin(following, now_ns)
        return True

    def may_begin(self, run: Run) -> bool:
        """Whether all of its cores are free for it now."""
        before = self._runs[: self._runs.index(run)]
        return not any(set(other.cores) & set(run.cores) for other in before)

    def ready(self) -> list[Run]:
        """Those that have not begun and may."""
        return [run for run in self._runs if not run.number and self.may_begin(run)]

    @property
    def unprepared(self) -> Iterator[Run]:
        """Those whose tensors are not prepared yet."""
        return (run for run in self._runs if not run.prepared)

    @property
    def in_hand(self) -> list[Run]:
        """Those to be prepared now."""
        return list(itertools.islice(self.unprepared, self.hands))

    @property
    def free_hands(self) -> int:
        """How many more threads may help to prepare; below 0: so many are too many."""
        return self.hands - sum(max(1, run.hands) for run in self.in_hand)

    def to_help(self, context: Context) -> Run | None:
        """The first one that the thread of another context of its model may help to prepare."""
        if self.free_hands <= 0:
            return None
        return next((run for run in self.in_hand if run.may_be_helped(context)), None)

    def of(self, context: Context) -> int:
        """How many runs a context has before it, the one under way included."""
        return sum(run.context is context for run in self._runs)

    def busy(self, now_ns: int) -> list[int]:
        """For each core, how many nanoseconds it will be busy, as far as can be foreseen."""
        free = [0] * self.cores
        for run in self._runs:
            begins = run.since_ns - now_ns if run.number else max(free[core] for core in run.cores)
            for core in run.cores:
                free[core] = max(0, begins + run.ns)
        return free

    @property
    def alone(self) -> bool:
        """Whether a run is under way or to come that wants the accelerator for itself."""
        return any(run.turn is not None for run in self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        begun = sum(1 for run in self._runs if run.number)
        return f"<Timeline {begun} running, {len(self._runs) - begun} to come>"
