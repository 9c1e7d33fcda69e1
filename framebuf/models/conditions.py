"""Where the threads of a lane's contexts wait, and who is woken by what."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.models.context import Context
    from framebuf.models.run import Run
    from framebuf.models.timeline import Timeline


class Conditions:
    """Two a context, on the lane's lock, which guards all else here too: held by who calls.

    The thread that prepares waits on the first while it is idle, and while its run is not to be
    prepared yet; the one that runs waits on the second for cores. One of those that are idle keeps
    the alarm: it wakes when the next decision is due.
    """

    def __init__(
        self, lock: threading.Lock, contexts: Iterable[Context], timeline: Timeline
    ) -> None:
        self._timeline = timeline
        self._wanted = {context: threading.Condition(lock) for context in contexts}
        self._granted = {context: threading.Condition(lock) for context in self._wanted}
        self._idle: list[Context] = []  # those that wait for a run
        self._alarm: Context | None = None

    @property
    def idle(self) -> bool:
        """Whether some context waits for a run."""
        return bool(self._idle)

    def wait(self, context: Context, due_ns: int | None) -> None:
        """Until somebody wakes the idle context, or it keeps the alarm and a decision is due."""
        keeps = self._alarm is None and due_ns is not None
        if keeps:
            self._alarm = context
        self._idle.append(context)
        left_ns = (due_ns or 0) - time.monotonic_ns()
        self._wanted[context].wait(max(0.0, left_ns / 1e9) if keeps else None)
        self._idle.remove(context)
        if keeps:
            self._alarm = None

    def wait_to_prepare(self, run: Run) -> None:
        """Until it is the run's turn."""
        # what only waits for its tensor is not held up by what runs later
        while run not in self._timeline.in_hand and not self._timeline.may_begin(run):
            self._wanted[run.context].wait()

    def wait_to_begin(self, run: Run) -> None:
        """Until the run's cores are free."""
        while not self._timeline.may_begin(run):
            self._granted[run.context].wait()

    def ring(self, due_ns: int | None) -> None:
        """Have one that is idle wait for the next decision, or wait anew."""
        if due_ns is not None and self._idle:
            self._wanted[self._alarm or self._idle[0]].notify()

    def call(self, context: Context) -> None:
        """Wake it, if it is idle: a run of its own was decided."""
        self._wanted[context].notify()

    def call_next(self) -> None:
        """A tensor is prepared: wake those whose turn has come, and those that may help."""
        for run in self._timeline.in_hand:
            if not run.hands:
                self._wanted[run.context].notify()
        self.call_hands()

    def call_ready(self) -> None:
        """Wake those whose cores are free now."""
        for run in self._timeline.ready():
            self._granted[run.context].notify()
            if not run.hands:
                self._wanted[run.context].notify()

    def call_hands(self) -> None:
        """Wake those that have nothing to prepare, and may help with what others do."""
        free = self._timeline.free_hands
        for context in self._idle:
            if free > 0 and self._timeline.to_help(context) is not None:
                self._wanted[context].notify()
                free -= 1

    def call_all(self) -> None:
        """The lane closes: wake all that are idle."""
        for condition in self._wanted.values():
            condition.notify_all()

    def __repr__(self) -> str:
        alarm = "none" if self._alarm is None else self._alarm.name
        return f"<Conditions {len(self._idle)}/{len(self._wanted)} contexts idle, alarm {alarm}>"
