"""Detour: frames for a model on servers, and the way they take when no server answers in time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

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
AWAY = "servers_away"
NEVER = 2**63


class _Where(Enum):
    HELD = auto()
    """There is no lane yet."""
    WAITING = auto()
    """On the lane's backlog, or just taken from it."""
    TAKEN = auto()
    """Its pixels are being put into a tensor."""
    SENT = auto()
    """They are in it."""


@dataclass(slots=True, eq=False)
class _Frame:
    """One job on its way to the servers."""

    job: Job
    own: Job
    """The same as the servers' lane has it."""
    due_ns: int
    where: _Where
    era: int
    """How often the servers had come back when it set out."""
    begun: bool = False
    overdue: bool = False
    withdrawn: bool = False


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
        self._count = count
        self._lock = threading.Lock()
        self._stirred = threading.Condition(self._lock)
        self._lane: Lane | None = None
        self._up = False
        self._era = 0
        self._closing = False
        self._frames: dict[Job, _Frame] = {}  # by the jobs that the lane has
        self._thread = threading.Thread(target=self._watch, name=f"{name}-detour", daemon=True)

    @property
    def up(self) -> bool:
        """Whether frames go to the servers first."""
        return self._up

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
            self._lane = lane
            held = [own for own, frame in self._frames.items() if frame.where is _Where.HELD]
            for own in held:
                self._frames[own].where = _Where.WAITING
            lane.submit(self.name, held)
            self._come_back()

    def back(self) -> None:
        """The servers answer again."""
        with self._lock:
            self._come_back()

    def submit(self, _model: str, jobs: Iterable[Job]) -> None:
        """Put frames on the backlog of whoever is to answer them first."""
        with self._lock:
            if self.fallback is not None and not self._up:
                self.fallback.lane.submit(self.fallback.model, map(self._moved, jobs))
                return
            own = [self._wrapped(job) for job in jobs]
            if self._lane is not None:
                self._lane.submit(self.name, own)
            self._stirred.notify_all()

    def withdraw(self, _model: str, turn: str) -> list[Job]:
        """Take back what nobody has begun."""
        with self._lock:
            mine = [own for own, frame in self._frames.items() if frame.job.turn == turn]
            taken = [own for own in mine if self._frames[own].where is _Where.HELD]
            if self._lane is not None:
                taken += self._lane.withdraw(self.name, turn)
            jobs = [self._frames.pop(own).job for own in taken]
            for own in mine:
                if own in self._frames:
                    self._frames[own].withdrawn = True  # begun: answered, but by nobody else
            if self.fallback is not None:
                jobs += self.fallback.lane.withdraw(self.fallback.model, turn)
            return jobs

    # for the servers' lane ----------------------------------------------------------------

    def _begun(self, frame: _Frame) -> None:
        with self._lock:
            frame.where = _Where.TAKEN
            frame.begun = True
        frame.job.begun()

    def _prepared(self, frame: _Frame) -> None:
        with self._lock:
            frame.where = _Where.SENT
            if frame.overdue and self._can_move(frame):
                self._move([frame.own])
        if self.fallback is None:
            frame.job.prepared()

    def _answered(self, frame: _Frame, result: FrameResult) -> None:
        error = result.error
        with self._lock:
            if frame.own not in self._frames:
                return  # the fallback has it
            moves = error is not None and self._can_move(frame)
            why = None
            # a call that hung since before they came back says nothing of them now
            news = self._up and frame.era == self._era
            if error is not None and news and (moves or error.code == AWAY):
                why = error.message
                self._go_away(silent=error.code == AWAY)
            if moves and frame.own in self._frames:
                self._move([frame.own])
            self._frames.pop(frame.own, None)
        if why is not None:
            self._lost(why)
        if not moves:
            if self.fallback is not None:
                frame.job.prepared()
            frame.job.answered(result)

    # the fallback -------------------------------------------------------------------------

    def _fell_back(self, job: Job, result: FrameResult) -> None:
        if result.findings is not None:
            self._count("fallbacks")
        job.answered(result)

    def _moved(self, job: Job, *, begun: bool = False) -> Job:
        """A job as the fallback gets it."""
        again = job.begun if not begun else _nothing
        return replace(job, begun=again, answered=partial(self._fell_back, job))

    # under the lock -----------------------------------------------------------------------

    def _wrapped(self, job: Job) -> Job:
        """A job as the servers' lane gets it."""
        share = SHARE_ALONE if self.fallback is None else SHARE
        now = time.monotonic_ns()
        left_ns = max(0, job.deadline_ns - now)
        due_ns = NEVER if job.deadline_ns >= NEVER else now + round(left_ns * share)
        where = _Where.HELD if self._lane is None else _Where.WAITING
        frame = _Frame(job, job, due_ns, where, self._era)
        frame.own = replace(
            job,
            until_ns=due_ns,
            begun=partial(self._begun, frame),
            prepared=partial(self._prepared, frame),
            answered=partial(self._answered, frame),
        )
        self._frames[frame.own] = frame
        return frame.own

    def _can_move(self, frame: _Frame) -> bool:
        return self.fallback is not None and not frame.withdrawn and frame.own in self._frames

    def _move(self, own: Iterable[Job]) -> None:
        """To the fallback, in the order in which they came."""
        if self.fallback is None:
            raise RuntimeError(f"{self!r} has no fallback")
        frames = [self._frames.pop(each) for each in own]
        moved = (self._moved(frame.job, begun=frame.begun) for frame in frames)
        self.fallback.lane.submit(self.fallback.model, moved)

    def _come_back(self) -> None:
        self._up = True
        self._era += 1

    def _go_away(self, *, silent: bool) -> None:
        """The servers are away: what waits for them goes to the fallback.

        `silent`: so does what other calls have sent, which would hang as long.
        """
        self._up = False
        if self.fallback is None or self._lane is None:
            return
        frames = list(self._frames.values())
        if silent:
            sent = [f for f in frames if f.where is _Where.SENT and self._can_move(f)]
            self._move(frame.own for frame in sent)
            for frame in frames:  # what is being prepared, as soon as it is
                frame.overdue = True
        waiting = (frame.job.turn for frame in frames if frame.where is _Where.WAITING)
        turns = dict.fromkeys(waiting)
        self._move([own for turn in turns for own in self._lane.withdraw(self.name, turn)])

    def _overtake(self, now_ns: int) -> tuple[list[_Frame], bool]:
        """What is overdue goes to the fallback; returns what there is none for.

        And whether the servers are away with that.
        """
        frames = self._frames.values()
        late = [frame for frame in frames if frame.due_ns <= now_ns and not frame.overdue]
        for frame in late:
            frame.overdue = True
        if self.fallback is None:
            held = [frame.own for frame in late if frame.where is _Where.HELD]
            return [self._frames.pop(own) for own in held], False
        sent = [frame for frame in late if frame.where is _Where.SENT and self._can_move(frame)]
        self._move(frame.own for frame in sent)
        news = self._up and any(frame.era == self._era for frame in late)
        if news:
            self._go_away(silent=True)
        return [], news

    # the thread ---------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            with self._lock:
                if self._closing:
                    return
                failed, lost = self._overtake(time.monotonic_ns())
                if not failed and not lost:
                    left = (f.due_ns for f in self._frames.values() if not f.overdue)
                    due_ns = min(left, default=NEVER)
                    wait_ns = due_ns - time.monotonic_ns()
                    self._stirred.wait(None if due_ns == NEVER else max(0, wait_ns) / 1e9)
                    continue
            if lost:
                self._lost("no answer within its share of the deadline")
            for frame in failed:
                _fail(frame.job, self.name)

    def __repr__(self) -> str:
        then = f" else {self.fallback.model}" if self.fallback else ""
        with self._lock:
            state = "up" if self._up else "away"
            return f"<Detour {self.name}{then}, {state}, {len(self._frames)} on their way>"


def _fail(job: Job, model: str) -> None:
    """No server was there in time, and nobody else takes it."""
    job.begun()
    job.prepared()
    job.answered(FrameResult(model, error=Failure(AWAY, "no server of the model answers")))


def _nothing() -> None:
    """It was begun before."""
