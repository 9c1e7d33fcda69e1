"""Lane: the models of one accelerator, and who runs what next."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

from framebuf.models.backlog import Backlog
from framebuf.models.conditions import Conditions
from framebuf.models.line import Line
from framebuf.models.schedule import Schedule
from framebuf.models.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.models.backlog import Job
    from framebuf.models.context import Context
    from framebuf.models.filling import Filling
    from framebuf.models.plan import Plan
    from framebuf.models.run import Run


class Lane:
    """All models of one accelerator. Any thread submits; contexts ask for their next run.

    Frames come onto the line of their model; the schedule decides runs for them; each run stands
    on the timeline from then until it has ended, and its frames are taken one by one as its tensor
    is prepared. `_lock` guards all of these, and the conditions are on it. A backlog holds no more
    jobs than there are leased frames.
    """

    def __init__(
        self, name: str, contexts: Sequence[Context], plans: Mapping[str, Plan], cores: int = 1
    ) -> None:
        """`plans` by model; `cores` is how many the contexts are spread over."""
        self.name = name
        self.cores = cores
        self.contexts = tuple(contexts)
        self._lock = threading.Lock()
        places = itertools.count(1)  # models take turns as the requests of one do
        self._lines = {
            model: Line(tuple(c for c in contexts if c.model == model), plan, Backlog(places))
            for model, plan in plans.items()
        }
        self._timeline = Timeline(cores, hands=len(os.sched_getaffinity(0)))
        self._schedule = Schedule(self._lines, self._timeline)
        self._conditions = Conditions(self._lock, contexts, self._timeline)

    def start(self) -> None:
        for context in self.contexts:
            context.start(self)

    def submit(self, model: str, jobs: Iterable[Job]) -> None:
        """Put frames on a model's backlog; each is answered on a context's thread."""
        with self._lock:
            for job in jobs:
                self._lines[model].backlog.add(job)
            self._decide(time.monotonic_ns())

    def withdraw(self, model: str, turn: str) -> list[Job]:
        """Take back what no context has begun."""
        with self._lock:
            jobs = self._lines[model].backlog.withdraw(turn)
            self._decide(time.monotonic_ns())  # fewer frames may be another plan
            return jobs

    def waiting(self) -> int:
        """Frames on the backlogs."""
        with self._lock:
            return sum(len(line.backlog) for line in self._lines.values())

    def longest_run_ns(self, now_ns: int) -> int:
        """The longest `overrun_ns` of its contexts; 0 while none runs."""
        return max([0, *(context.inference.overrun_ns(now_ns) for context in self.contexts)])

    def close(self, timeout_s: float = 10.0) -> bool:
        """Finish what contexts have begun, then free them. False: one hangs."""
        with self._lock:
            for run in self._schedule.close():  # nobody takes them, and they stand before others
                self._prepared(run)
                self._end(run)
            self._conditions.call_all()
        for context in self.contexts:
            context.inference.hurry()
        end = time.monotonic() + timeout_s
        joined = [c.join(max(0.0, end - time.monotonic())) for c in self.contexts]
        return all(joined)

    # for contexts, as a run goes along ------------------------------------------------------

    def next_run(self, context: Context) -> Run | None:
        """Block until there is a batch for `context` to prepare; None: the lane is closing.

        A run of another context is one to help with.
        """
        with self._lock:
            while not self._schedule.closed:
                if self._schedule.is_due(now_ns := time.monotonic_ns()):
                    self._decide(now_ns)
                if (run := self._schedule.next_run(context)) is not None:
                    self._conditions.ring(self._schedule.due_ns)  # it may have kept the alarm
                    return run
                self._conditions.wait(context, self._schedule.due_ns)
            return None

    def take_up(self, run: Run, filling: Filling) -> None:
        """Block until it is the run's turn to be prepared; others may help from then on."""
        with self._lock:
            self._conditions.wait_to_prepare(run)
            run.filling, run.hands = filling, 1
            self._conditions.call_hands()

    def next_job(self, run: Run, context: Context) -> Job | None:
        """The most urgent frame for the next slot of a run; None: it has all it will get.

        Or `context`, that helps, has something better to do.
        """
        with self._lock:
            now_ns = time.monotonic_ns()
            if self._schedule.is_due(now_ns):
                self._decide(now_ns)  # those who keep the alarm may all be filling
            helps = context is not run.context
            if helps and not self._schedule.may_help_on(context):
                return None
            return self._lines[run.context.model].take(run, now_ns, helps=helps)

    def leave(self, run: Run) -> None:
        """A context that helped does so no more."""
        with self._lock:
            run.hands -= 1
            self._conditions.call_hands()

    def prepared(self, run: Run) -> None:
        """Its tensor is full, or there are no more frames for it."""
        with self._lock:
            self._prepared(run)

    def abandon(self, run: Run) -> None:
        """There were no frames left for it, though it is `prepared`."""
        with self._lock:
            self._end(run)

    def begin(self, run: Run) -> None:
        """Block until the cores are free for the run."""
        with self._lock:
            self._conditions.wait_to_begin(run)
            self._timeline.begin(run, time.monotonic_ns())
            self._stir(run.since_ns)

    def end(self, run: Run, following: Run | None = None) -> bool:
        """The inference is over. Whether `following` has begun at once, as by `begin`."""
        with self._lock:
            self._schedule.unread += 1
            return self._end(run, following)

    def answered(self) -> None:
        """The frames of a run that ended are answered."""
        with self._lock:
            self._schedule.unread -= 1
            if not self._schedule.unread and not len(self._timeline):
                self._stir(time.monotonic_ns())  # one that is to run alone may wait for this

    # under the lock -----------------------------------------------------------------------

    def _prepared(self, run: Run) -> None:
        """Nothing more is reserved for it, and the host's core is the next one's."""
        self._lines[run.context.model].release(run)
        run.prepared = True
        self._conditions.call_next()

    def _end(self, run: Run, following: Run | None = None) -> bool:
        now_ns = time.monotonic_ns()
        begins = self._timeline.end(run, following, now_ns)
        self._conditions.call_ready()
        self._stir(now_ns)
        return begins

    def _stir(self, now_ns: int) -> None:
        """Have somebody decide who has nothing else to do: the accelerator waits for this one."""
        if self._conditions.idle:
            self._schedule.due_ns = now_ns
            self._conditions.ring(now_ns)
        else:
            self._decide(now_ns)

    def _decide(self, now_ns: int) -> None:
        """Decide what can be decided now, and wake those who prepare it."""
        for run in self._schedule.decide(now_ns):
            self._conditions.call(run.context)
        self._conditions.ring(self._schedule.due_ns)

    def __repr__(self) -> str:
        contexts = f"{len(self.contexts)} contexts"
        return f"<Lane {self.name} {self.waiting()} waiting, {self._timeline!r}, {contexts}>"
