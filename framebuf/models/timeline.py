"""The runs that an accelerator's cores have before them, in the order in which they begin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from framebuf.models.context import Context
    from framebuf.models.filling import Filling


@dataclass(slots=True, eq=False)
class Run:
    """One batch that a context is to run. Guarded by its lane's lock."""

    context: Context
    size: int
    """Rows of the tensor."""
    cores: Sequence[int]
    ns: int
    """Nanoseconds that it is expected to take."""
    reserved: int = 0
    """Frames of the backlog that are meant for it and not taken yet."""
    filling: Filling | None = None
    """Its tensor, from when it may be filled."""
    hands: int = 0
    """Threads that fill it."""
    taken: int = 0
    """Frames that are in its tensor, or on the way there."""
    closed: bool = False
    """Its context takes no more frames for it."""
    turn: str | None = None
    """It runs alone, for this request only."""
    prepared: bool = False
    """Its tensor is."""
    number: int = 0
    """Counts the runs of a lane, from 1; 0 while it has not begun."""
    since_ns: int = 0
    """Monotonic, when it began."""

    @property
    def room(self) -> int:
        """Rows that no frame is meant for yet."""
        return 0 if self.closed else self.size - self.taken - self.reserved

    def may_be_helped(self, context: Context) -> bool:
        """Whether it has frames left for the thread of this other context."""
        return bool(self.hands and self.reserved) and self.context.model == context.model


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

    def remove(self, run: Run) -> None:
        self._runs.remove(run)

    def begin(self, run: Run, now_ns: int) -> None:
        self._begun += 1
        run.number, run.since_ns = self._begun, now_ns

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
