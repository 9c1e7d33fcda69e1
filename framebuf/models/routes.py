"""Routes: which frames of a model go to its servers, and which to the fallback."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from framebuf.models.passage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from framebuf.models.backlog import Job
    from framebuf.models.fallback import Fallback
    from framebuf.models.lane import Lane
    from framebuf.models.passage import Passage
    from framebuf.results import Failure, FrameResult

AWAY = "servers_away"
NEVER = 2**63


class Routes:
    """What is on its way to the servers, and whether they are there.

    Not locked: its detour's lock guards it. Lanes' own locks are taken under that.
    """

    def __init__(self, name: str, fallback: Fallback | None, count: Callable[[str], None]) -> None:
        """`count` hears of each answer of the fallback, on its thread."""
        self.up = False
        """Whether frames go to the servers first."""
        self.era = 0
        """How often the servers have come back."""
        self.lane: Lane | None = None
        """The servers'; None: they never answered yet."""
        self._name = name
        self._fallback = fallback
        self._count = count
        self._passages: dict[Job, Passage] = {}  # by the jobs that the lane has

    def open(self, lane: Lane) -> None:
        """The servers have a lane from now on; what waited for it goes there."""
        self.lane = lane
        held = [p for p in self._passages.values() if p.stage is Stage.HELD]
        for passage in held:
            passage.stage = Stage.WAITING
        lane.submit(self._name, [passage.own for passage in held])
        self.come_back()

    def come_back(self) -> None:
        """The servers answer, or again."""
        self.up = True
        self.era += 1

    def set_out(self, passages: Iterable[Passage]) -> None:
        """To the servers, or to wait for them."""
        fresh = {passage.own: passage for passage in passages}
        self._passages |= fresh
        if self.lane is not None:
            self.lane.submit(self._name, fresh)

    def withdraw(self, turn: str) -> list[Job]:
        """Take back what nobody has begun, or has to begin again."""
        mine = [p for p in self._passages.values() if p.job.turn == turn]
        taken = [passage.own for passage in mine if passage.stage is Stage.HELD]
        if self.lane is not None:
            taken += self.lane.withdraw(self._name, turn)
        jobs = [self._passages.pop(own).job for own in taken]
        for passage in mine:
            passage.withdrawn = True  # begun: answered, but by nobody else
        if self._fallback is not None:
            jobs += self._fallback.lane.withdraw(self._fallback.model, turn)
        return jobs

    def sent(self, passage: Passage) -> None:
        """Its pixels are in a tensor: from then on others may have them."""
        passage.stage = Stage.SENT
        if passage.overdue and self._can_move(passage):
            self._move([passage.own])

    def answered(self, passage: Passage, error: Failure | None) -> tuple[bool, str | None]:
        """Whether that is a frame's answer; else the fallback gives it.

        And why the servers are away, where that is what it tells.
        """
        if passage.own not in self._passages:
            return False, None  # the fallback has it
        moves = error is not None and self._can_move(passage)
        why = None
        # a call that hung since before they came back says nothing of them now
        news = self.up and passage.era == self.era
        if error is not None and news and (moves or error.code == AWAY):
            why = error.message
            self._go_away(silent=error.code == AWAY)
        if moves and passage.own in self._passages:
            self._move([passage.own])
        self._passages.pop(passage.own, None)
        return not moves, why

    def overtake(self, now_ns: int) -> tuple[list[Job], bool]:
        """What is overdue goes to the fallback; returns what there is none for.

        And whether the servers are away with that.
        """
        passages = self._passages.values()
        late = [p for p in passages if p.due_ns <= now_ns and not p.overdue]
        for passage in late:
            passage.overdue = True
        if self._fallback is None:
            held = [passage.own for passage in late if passage.stage is Stage.HELD]
            return [self._passages.pop(own).job for own in held], False
        self._move([p.own for p in late if p.stage is Stage.SENT and self._can_move(p)])
        news = self.up and any(passage.era == self.era for passage in late)
        if news:
            self._go_away(silent=True)
        return [], news

    @property
    def due_ns(self) -> int:
        """When the next frame is overdue; monotonic."""
        left = (passage.due_ns for passage in self._passages.values() if not passage.overdue)
        return min(left, default=NEVER)

    def fall_back(self, jobs: Iterable[Job]) -> None:
        """Straight to the fallback, which there must be."""
        self._to_fallback(_moved(job, self._count, begun=False) for job in jobs)

    def _to_fallback(self, moved: Iterable[Job]) -> None:
        if self._fallback is None:
            raise RuntimeError(f"{self!r} has no fallback")
        self._fallback.lane.submit(self._fallback.model, moved)

    def _can_move(self, passage: Passage) -> bool:
        there = passage.own in self._passages
        return self._fallback is not None and not passage.withdrawn and there

    def _move(self, own: Iterable[Job]) -> None:
        """To the fallback, in the order in which they came."""
        passages = [self._passages.pop(each) for each in own]
        self._to_fallback(_moved(p.job, self._count, begun=p.begun) for p in passages)

    def _go_away(self, *, silent: bool) -> None:
        """The servers are away: what waits for them goes to the fallback.

        `silent`: so does what other calls have sent, which would hang as long.
        """
        self.up = False
        if self._fallback is None or self.lane is None:
            return
        passages = list(self._passages.values())
        if silent:
            self._move([p.own for p in passages if p.stage is Stage.SENT and self._can_move(p)])
            for passage in passages:  # what is being prepared, as soon as it is
                passage.overdue = True
        turns = dict.fromkeys(p.job.turn for p in passages if p.stage is Stage.WAITING)
        self._move([own for turn in turns for own in self.lane.withdraw(self._name, turn)])

    def __len__(self) -> int:
        return len(self._passages)

    def __repr__(self) -> str:
        state = "up" if self.up else "away"
        return f"<Routes {state}, {len(self)} on their way>"


def _moved(job: Job, count: Callable[[str], None], *, begun: bool) -> Job:
    """A job as the fallback gets it; `begun` by the servers before."""
    again = _nothing if begun else job.begun
    return replace(job, begun=again, answered=partial(_fell_back, job, count))


def _fell_back(job: Job, count: Callable[[str], None], result: FrameResult) -> None:
    if result.findings is not None:
        count("fallbacks")
    job.answered(result)


def _nothing() -> None:
    """It was begun before."""
