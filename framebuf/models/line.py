"""Line: the frames that wait for one model, and the contexts that run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.backlog import Backlog, Job
    from framebuf.models.context import Context
    from framebuf.models.plan import Plan
    from framebuf.models.timeline import Timeline


@dataclass(slots=True, eq=False)
class Line:
    """Not locked: its lane's lock guards it."""

    contexts: tuple[Context, ...]
    plan: Plan
    backlog: Backlog
    reserved: int = 0
    """Frames on the backlog that are meant for runs already decided."""

    @property
    def waiting(self) -> int:
        """Frames that are not; below 0 where some were withdrawn that are."""
        return len(self.backlog) - self.reserved

    @property
    def prepare_ns(self) -> int:
        """What the quickest of its contexts takes to prepare a frame."""
        return min(context.prepare_ns for context in self.contexts)

    def propose(
        self, timeline: Timeline, waiting: int, busy: Sequence[int],
        prepare_ns: int = 0, turn: str | None = None,
    ) -> Run:  # fmt: skip
        """The run that its plan says is next, in the context that has the least before it."""
        step = self.plan.next(waiting, busy, prepare_ns)
        fitting = [c for c in self.contexts if step.size in c.sizes and c.core == step.core]
        context = min(fitting, key=timeline.of)
        cores = range(timeline.cores) if step.core is None else (step.core,)
        return Run(context, step.size, cores, self.plan.ns(step), turn=turn)

    def reserve(self, run: Run) -> None:
        """Have as many waiting frames meant for a run as it has room for.

        Not where `waiting` is below 0: there are none to give, nor any to take away.
        """
        self._reserve(run, min(run.room, self.waiting))

    def release(self, run: Run) -> None:
        """Have no more frames meant for a run."""
        self._reserve(run, -run.reserved)

    def take(self, run: Run, now_ns: int, *, helps: bool) -> Job | None:
        """The most urgent frame for a run's next slot; None: it has all it will get.

        `helps`: it is not the run's own context that asks, and that may still take some.
        """
        if run.turn is not None:
            return self.backlog.take_of(run.turn, now_ns)
        served = not run.reserved and self.waiting <= 0
        job = None if served else self.backlog.take(now_ns)
        if job is None:
            self.release(run)  # nothing to help with, to wait for
            run.closed |= not helps
            return None
        if run.reserved:
            self._reserve(run, -1)
        run.taken += 1
        return job

    def _reserve(self, run: Run, frames: int) -> None:
        run.reserved += frames
        self.reserved += frames

    def __repr__(self) -> str:
        return f"<Line {self.backlog!r}, {self.reserved} reserved, {len(self.contexts)} contexts>"
