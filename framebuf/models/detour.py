"""Detour: frames for a model on servers, and the way they take when no server answers in time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from framebuf.models.passage import Passage, Stage
from framebuf.models.routes import AWAY, NEVER, Routes
from framebuf.results import Failure, FrameResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from framebuf.models.backlog import Job
    from framebuf.models.fallback import Fallback
    from framebuf.models.lane import Lane

SHARE = 0.5
"""The part of a frame's time that servers have, where a model of this machine may take over."""
SHARE_ALONE = 0.9
"""The same where none does: what is told then still comes in time."""


class Detour:
    """The frames of one model on servers. Any thread submits and withdraws, as with a Lane.

    A frame is answered once: by the servers, or, where they have not answered it within their share
    of its time, or not at all, by the fallback; what they say after that is let go. While they are
    away every frame goes straight to the fallback; without one it waits for them. Until it is
    answered a frame's pixels are kept, for the fallback may need them. The thread NAME-detour looks
    for frames that are overdue, whatever calls hang.

    `_lock` guards all that changes; a lane's own lock is taken under it, never the other way round,
    and nobody is called back under it.
    """

    def __init__(
        self, name: str, fallback: Fallback | None, lost: Callable[[str], None],
        count: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`lost` hears once that the servers went away, and why; `count` of each event."""
        self.name = name
        self.fallback = fallback
        self._lost = lost
        self._lock = threading.Lock()
        self._stirred = threading.Condition(self._lock)
        self._routes = Routes(name, fallback, count)
        self._closing = False
        self._thread = threading.Thread(target=self._watch, name=f"{name}-detour", daemon=True)

    @property
    def up(self) -> bool:
        """Whether frames go to the servers first."""
        return self._routes.up

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Frames that are on their way are answered by whoever has them."""
        with self._lock:
            self._closing = True
            self._stirred.notify_all()
        self._thread.join()

    def opened(self, lane: Lane) -> None:
        """The servers answer, and have a lane from now on; what waited for it goes there."""
        with self._lock:
            self._routes.open(lane)

    def back(self) -> None:
        """The servers answer again."""
        with self._lock:
            self._routes.come_back()

    def submit(self, _model: str, jobs: Iterable[Job]) -> None:
        """Put frames on the backlog of whoever is to answer them first."""
        with self._lock:
            if self.fallback is not None and not self._routes.up:
                self._routes.fall_back(jobs)
                return
            self._routes.set_out([self._passage(job) for job in jobs])
            self._stirred.notify_all()

    def withdraw(self, _model: str, turn: str) -> list[Job]:
        """Take back what nobody has begun, or has to begin again."""
        with self._lock:
            return self._routes.withdraw(turn)

    def _passage(self, job: Job) -> Passage:
        """A frame's, from here on; under the lock."""
        share = SHARE_ALONE if self.fallback is None else SHARE
        now = time.monotonic_ns()
        left_ns = max(0, job.deadline_ns - now)
        due_ns = NEVER if job.deadline_ns >= NEVER else now + round(left_ns * share)
        stage = Stage.HELD if self._routes.lane is None else Stage.WAITING
        passage = Passage(job, job, due_ns, stage, self._routes.era)
        passage.own = replace(
            job,
            until_ns=due_ns,
            begun=partial(self._begun, passage),
            prepared=partial(self._prepared, passage),
            answered=partial(self._answered, passage),
        )
        return passage

    # for the servers' lane ----------------------------------------------------------------

    def _begun(self, passage: Passage) -> None:
        with self._lock:
            passage.stage = Stage.TAKEN
            passage.begun = True
        passage.job.begun()

    def _prepared(self, passage: Passage) -> None:
        with self._lock:
            self._routes.sent(passage)
        if self.fallback is None:
            passage.job.prepared()

    def _answered(self, passage: Passage, result: FrameResult) -> None:
        with self._lock:
            answers, why = self._routes.answered(passage, result.error)
        if why is not None:
            self._lost(why)
        if answers:
            if self.fallback is not None:
                passage.job.prepared()
            passage.job.answered(result)

    # the thread ---------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            with self._lock:
                if self._closing:
                    return
                failed, lost = self._routes.overtake(time.monotonic_ns())
                if not failed and not lost:
                    due_ns = self._routes.due_ns
                    wait_ns = due_ns - time.monotonic_ns()
                    self._stirred.wait(None if due_ns == NEVER else max(0, wait_ns) / 1e9)
                    continue
            if lost:
                self._lost("no answer within its share of the deadline")
            for job in failed:
                _fail(job, self.name)

    def __repr__(self) -> str:
        then = f" else {self.fallback.model}" if self.fallback else ""
        with self._lock:
            state = "up" if self.up else "away"
            return f"<Detour {self.name}{then}, {state}, {len(self._routes)} on their way>"


def _fail(job: Job, model: str) -> None:
    """No server was there in time, and nobody else takes it."""
    job.begun()
    job.prepared()
    job.answered(FrameResult(model, error=Failure(AWAY, "no server of the model answers")))
