"""Lane: the backlogs and the contexts of one accelerator, and who runs what next."""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.backlog import Backlog
from framebuf.models.timeline import Run, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.models.backlog import Job
    from framebuf.models.context import Context
    from framebuf.models.filling import Filling
    from framebuf.models.plan import Plan, Step

TENSORS = 2
"""Of a context: one runs, the next is prepared meanwhile."""


@dataclass(slots=True, eq=False)
class _Line:
    """One model's frames, and what runs them."""

    contexts: tuple[Context, ...]
    plan: Plan
    backlog: Backlog
    reserved: int = 0
    """Frames on the backlog that are meant for runs already decided."""

    @property
    def waiting(self) -> int:
        return len(self.backlog) - self.reserved


class Lane:
    """All models of one accelerator. Any thread submits; contexts ask for their next run.

    What runs next is decided as late as the preparation of its tensor allows, and its frames are
    taken one by one as they are prepared, so that a frame that comes late and is urgent still
    joins the next batch. `_lock` guards the backlogs, the timeline and `_closing`; the conditions,
    two a context, are on it. A backlog holds no more jobs than there are leased frames.
    """

    def __init__(
        self, name: str, contexts: Sequence[Context], plans: Mapping[str, Plan], cores: int = 1
    ) -> None:
        """`plans` by model; `cores` is how many the contexts are spread over."""
        self.name = name
        self.cores = cores
        self.contexts = tuple(contexts)
        self._lock = threading.Lock()
        self._timeline = Timeline(cores, hands=len(os.sched_getaffinity(0)))
        places = itertools.count(1)  # models take turns as the requests of one do
        self._lines = {
            model: _Line(tuple(c for c in contexts if c.model == model), plan, Backlog(places))
            for model, plan in plans.items()
        }
        self._decided: dict[Context, list[Run]] = {context: [] for context in contexts}
        self._wanted = {context: threading.Condition(self._lock) for context in contexts}
        self._granted = {context: threading.Condition(self._lock) for context in contexts}
        self._due_ns: int | None = None  # when the next decision can be made; monotonic
        self._idle: list[Context] = []  # those that wait for a run
        self._alarm: Context | None = None  # the one of them that wakes when a decision is due
        self._unread = 0  # runs that ended and are not answered yet
        self._closing = False

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
        """How long the longest inference under way has run, beyond what a call over a network may.

        0 while none does.
        """
        begun = [(each.running_since_ns, each.patience_ns) for each in self.contexts]
        over = (now_ns - since - patience for since, patience in begun if since is not None)
        return max([0, *over])

    def close(self, timeout_s: float = 10.0) -> bool:
        """Finish what contexts have begun, then free them. False: one hangs."""
        with self._lock:
            self._closing = True
            for decided in self._decided.values():
                while decided:  # nobody takes them any more, and they stand before others
                    run = decided.pop()
                    self._prepared(run)
                    self._end(run)
            for condition in self._wanted.values():
                condition.notify_all()
        for context in self.contexts:
            context.hurry()
        end = time.monotonic() + timeout_s
        joined = [c.join(max(0.0, end - time.monotonic())) for c in self.contexts]
        return all(joined)

    # for contexts -------------------------------------------------------------------------

    def next_run(self, context: Context) -> Run | None:
        """Block until there is a batch for `context` to prepare; None: the lane is closing.

        A run of another context is one to help with.
        """
        with self._lock:
            while not self._closing:
                if self._due_ns is not None and time.monotonic_ns() >= self._due_ns:
                    self._decide(time.monotonic_ns())
                if self._decided[context]:
                    self._ring()  # the alarm may have been this one's
                    return self._decided[context].pop(0)
                if (run := self._timeline.to_help(context)) is not None:
                    run.hands += 1
                    self._ring()
                    return run
                self._wait(context)
            return None

    def take_up(self, run: Run, filling: Filling) -> None:
        """Block until it is the run's turn to be prepared; others may help from then on."""
        with self._lock:
            # what only waits for its tensor is not held up by what runs later
            while run not in self._timeline.in_hand and not self._timeline.may_begin(run):
                self._wanted[run.context].wait()
            run.filling, run.hands = filling, 1
            self._call_hands()

    def next_job(self, run: Run, context: Context) -> Job | None:
        """The most urgent frame for the next slot of a run; None: it has all it will get.

        Or `context`, that helps, has something better to do.
        """
        with self._lock:
            helps = context is not run.context
            if self._due_ns is not None and time.monotonic_ns() >= self._due_ns:
                self._decide(time.monotonic_ns())  # those who keep the alarm may all be filling
            if helps and (self._decided[context] or self._timeline.free_hands < 0):
                return None
            line = self._lines[run.context.model]
            if run.turn is not None:
                return line.backlog.take_of(run.turn, time.monotonic_ns())
            now_ns = time.monotonic_ns()
            served = not run.reserved and line.waiting <= 0
            if not len(line.backlog) or served or line.backlog.alone(now_ns) is not None:
                self._reserve(line, run, -run.reserved)  # nothing to help with, to wait for
                run.closed |= not helps
                return None
            if run.reserved:
                self._reserve(line, run, -1)
            run.taken += 1
            return line.backlog.take(now_ns)

    def leave(self, run: Run) -> None:
        """A context that helped does so no more."""
        with self._lock:
            run.hands -= 1
            self._call_hands()

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
            while not self._timeline.may_begin(run):
                self._granted[run.context].wait()
            self._timeline.begin(run, time.monotonic_ns())
            self._stir(run.since_ns)

    def end(self, run: Run, following: Run | None = None) -> bool:
        """The inference is over. Whether `following` has begun at once, as by `begin`."""
        with self._lock:
            self._unread += 1
            return self._end(run, following)

    def answered(self) -> None:
        """The frames of a run that ended are answered."""
        with self._lock:
            self._unread -= 1
            if not self._unread and not len(self._timeline):
                self._stir(time.monotonic_ns())  # one that is to run alone may wait for this

    # under the lock -----------------------------------------------------------------------

    def _end(self, run: Run, following: Run | None = None) -> bool:
        now_ns = time.monotonic_ns()
        self._timeline.remove(run)
        begins = following is not None and self._timeline.may_begin(following)
        if begins and following is not None:
            self._timeline.begin(following, now_ns)
        for other in self._timeline.ready():
            self._granted[other.context].notify()
            if not other.hands:
                self._wanted[other.context].notify()
        self._stir(now_ns)
        return begins

    def _stir(self, now_ns: int) -> None:
        """Have somebody decide who has nothing else to do: the accelerator waits for this one."""
        if self._idle:
            self._due_ns = now_ns
            self._ring()
        else:
            self._decide(now_ns)

    @staticmethod
    def _reserve(line: _Line, run: Run, frames: int) -> None:
        run.reserved += frames
        line.reserved += frames

    def _prepared(self, run: Run) -> None:
        """Nothing more is reserved for it, and the host's core is the next one's."""
        self._reserve(self._lines[run.context.model], run, -run.reserved)
        run.prepared = True
        for other in self._timeline.in_hand:
            if not other.hands:
                self._wanted[other.context].notify()
        self._call_hands()

    def _call_hands(self) -> None:
        """Wake those that have nothing to prepare, and may help with what others do."""
        free = self._timeline.free_hands
        for context in self._idle:
            if free > 0 and self._timeline.to_help(context) is not None:
                self._wanted[context].notify()
                free -= 1

    def _decide(self, now_ns: int) -> None:
        """Decide all runs that can be decided now.

        What cannot begin yet counts as if it were decided, so that what is less urgent does not
        take the cores that it waits for: not even in the time that preparing leaves.
        """
        self._due_ns = None
        if self._closing:
            return
        busy = self._timeline.busy(now_ns)
        kept: set[int] = set()
        lines = [line for line in self._lines.values() if line.waiting > 0]
        for line in sorted(lines, key=lambda line: line.backlog.urgency(now_ns)):
            turn = line.backlog.alone(now_ns)
            if turn is not None or self._timeline.alone:
                if turn is not None and not len(self._timeline) and not self._unread:
                    step = line.plan.next(line.backlog.count(turn), busy)
                    self._add(line, self._run(line, step, turn))
                break
            self._fill(line, busy, kept, now_ns)
        self._ring()

    def _fill(self, line: _Line, busy: list[int], kept: set[int], now_ns: int) -> None:
        """Give the cores to one line, as far as it has frames; `kept` are promised already.

        What need not be prepared yet is put off, unless something due stands behind it.
        """
        for run in self._timeline.unprepared:
            if run.context in line.contexts and run.turn is None:
                self._reserve(line, run, min(run.room, line.waiting))
        waiting, put_off = line.waiting, list[Run]()
        prepare_ns = min(context.prepare_ns for context in line.contexts)
        while waiting > 0 and len(kept) < len(busy) and len(put_off) <= len(busy):
            step = line.plan.next(waiting, busy, prepare_ns)
            run = self._run(line, step)
            begins = max(busy[core] for core in run.cores)
            early_ns = begins - run.context.lead_ns(min(step.size, waiting))
            before = [other for other in put_off if not set(other.cores).isdisjoint(run.cores)]
            tensors = self._timeline.of(run.context) + sum(
                other.context is run.context for other in before
            )
            if tensors >= TENSORS or not kept.isdisjoint(run.cores):
                kept.update(run.cores)
            elif early_ns > 0:
                put_off.append(run)
                due = now_ns + early_ns
                self._due_ns = due if self._due_ns is None else min(due, self._due_ns)
            else:
                for other in (*before, run):
                    self._add(line, other)
                put_off = [other for other in put_off if other not in before]
            for core in run.cores:
                busy[core] = begins + run.ns
            waiting -= step.size
        kept.update(core for run in put_off for core in run.cores)

    def _run(self, line: _Line, step: Step, turn: str | None = None) -> Run:
        """A step as a run, in the context that has the least before it."""
        fitting = [c for c in line.contexts if step.size in c.sizes and c.core == step.core]
        context = min(fitting, key=self._timeline.of)
        cores = range(self._timeline.cores) if step.core is None else (step.core,)
        return Run(context, step.size, cores, line.plan.ns(step), turn=turn)

    def _add(self, line: _Line, run: Run) -> None:
        if run.turn is None:
            self._reserve(line, run, min(run.size, line.waiting))
        self._timeline.add(run)
        self._decided[run.context].append(run)
        self._wanted[run.context].notify()

    def _wait(self, context: Context) -> None:
        """Until there is a run for the context. One of those that wait keeps the alarm."""
        keeps = self._alarm is None and self._due_ns is not None
        if keeps:
            self._alarm = context
        self._idle.append(context)
        left_ns = (self._due_ns or 0) - time.monotonic_ns()
        self._wanted[context].wait(max(0.0, left_ns / 1e9) if keeps else None)
        self._idle.remove(context)
        if keeps:
            self._alarm = None

    def _ring(self) -> None:
        """Have somebody wait for the next decision, or wait anew."""
        if self._due_ns is not None and self._idle:
            self._wanted[self._alarm or self._idle[0]].notify()

    def __repr__(self) -> str:
        return (
            f"<Lane {self.name} {self.waiting()} waiting, {self._timeline!r}, "
            f"{len(self.contexts)} contexts>"
        )
