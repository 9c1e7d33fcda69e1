"""Frames that wait for one model, in the contract's order of work."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from framebuf.frames import Frame, Part
    from framebuf.results import FrameResult

    LetGo = Callable[[], None]
    Developed = Callable[[Frame, Callable[[], LetGo]], None]


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One frame to be answered by one model."""

    frame: Frame
    turn: str
    """Whose it is: turns are served one after the other."""
    ready_ns: int
    """Monotonic; when it could first have been run."""
    prepared: Callable[[], None]
    """Called once its pixels are needed no more: they are in a tensor. As a rule on a prepare
    thread; a Chain calls it on any that ends the need."""
    answered: Callable[[FrameResult], None]
    """Called once, with findings or an error. On a context's thread, or that of who withdraws."""
    priority: int = 0
    deadline_ns: int = 2**63
    """Monotonic."""
    part: Part | None = None
    """What of the frame the model sees, within it; None: all."""
    alone: bool = False
    """Its turn shares a batch, and the accelerator, with no other."""
    begun: Callable[[], None] = _nothing
    """Called before anything is done with it. On a prepare thread."""
    paused: Callable[[], None] = _nothing
    """Called where it waits again, as after it was decoded: `begun` is then called once more."""
    developed: Developed | None = None
    """Where the frame is wanted as a whole and beyond its way into a tensor: called once it is
    decoded, with it and a maker of what is to be called when its pixels are needed no more."""
    downstream: bool = False
    """A part that another model has found: it goes before all that is not."""
    until_ns: int = 2**63
    """Monotonic: a call over a network may be given up then."""


class Entrance(Protocol):
    """Where frames for a model are put: its lane, or its detour. Any thread."""

    def submit(self, model: str, jobs: Iterable[Job]) -> None:
        """Put frames on the model's backlog."""
        ...

    def withdraw(self, model: str, turn: str) -> list[Job]:
        """Take back what nobody has begun."""
        ...


@dataclass(slots=True)
class _Turn:
    """The frames of one request."""

    place: int
    """In the round: it goes to the end on coming and on being served; lower goes first."""
    alone: bool = False
    served_ns: int = 0
    """Monotonic."""
    jobs: deque[Job] = field(default_factory=deque)


class Backlog:
    """Not locked: its lane's lock guards it.

    What another model has found goes first: it ends what is begun, and without that more and more
    frames would be held. Then by priority, one more for each second since the request was last
    served; then by deadline, by what frames were allowed when they became ready, in powers of two,
    so that requests with the same setting take turns however old they are; then turn by turn.
    """

    def __init__(self, places: Iterator[int] | None = None) -> None:
        """`places`: of the round that several backlogs share; each its own where it is None."""
        self._turns: dict[str, _Turn] = {}
        self._places = itertools.count(1) if places is None else places
        self._waiting = 0

    def add(self, job: Job) -> None:
        turn = self._turns.get(job.turn)
        if turn is None:
            # Not first of all: a request whose frames come singly, and a flood of small ones,
            # would always go before one that waits
            turn = self._turns[job.turn] = _Turn(next(self._places), job.alone)
        turn.jobs.append(job)
        self._waiting += 1

    def take(self, now_ns: int) -> Job | None:
        """The most urgent job of all; None: there is none, or its turn shares nothing."""
        first = self._first(now_ns)
        return None if first is None or self._turns[first].alone else self.take_of(first, now_ns)

    def take_of(self, turn: str, now_ns: int) -> Job | None:
        """The next job of one turn; None: it has none."""
        found = self._turns.get(turn)
        if found is None:
            return None
        job = found.jobs.popleft()
        self._waiting -= 1
        found.place = next(self._places)
        found.served_ns = now_ns
        if not found.jobs:
            del self._turns[turn]
        return job

    def urgency(self, now_ns: int) -> tuple[bool, int, int, int]:
        """How urgent the most urgent job is; lower goes first. There must be one."""
        return min(_rank(turn, now_ns) for turn in self._turns.values())

    def alone(self, now_ns: int) -> str | None:
        """The most urgent turn, where that is to share nothing with others."""
        first = self._first(now_ns)
        return first if first is not None and self._turns[first].alone else None

    def count(self, turn: str) -> int:
        """Jobs of one turn."""
        return len(self._turns[turn].jobs) if turn in self._turns else 0

    def withdraw(self, turn: str) -> list[Job]:
        """Every job of one turn that has not been taken."""
        withdrawn = self._turns.pop(turn, None)
        if withdrawn is None:
            return []
        self._waiting -= len(withdrawn.jobs)
        return list(withdrawn.jobs)

    def _first(self, now_ns: int) -> str | None:
        ranks = ((_rank(turn, now_ns), name) for name, turn in self._turns.items())
        return min(ranks, default=(None, None))[1]

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<Backlog {self._waiting} frames of {len(self._turns)} requests>"


def _rank(turn: _Turn, now_ns: int) -> tuple[bool, int, int, int]:
    return rank(turn.jobs[0], now_ns, turn.served_ns, turn.place)


def rank(job: Job, now_ns: int, served_ns: int, place: int) -> tuple[bool, int, int, int]:
    """How urgent a turn's first job is; lower goes first. The rest is of the turn."""
    waited_s = (now_ns - max(job.ready_ns, served_ns)) // SECOND_NS
    allowed_ms = max(0, job.deadline_ns - job.ready_ns) // 10**6
    return (not job.downstream, -(job.priority + waited_s), allowed_ms.bit_length(), place)
