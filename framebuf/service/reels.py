"""Reels: frames that wait to be decoded, of one request and one group of pictures each."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from framebuf.models.backlog import rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.group import Group
    from framebuf.models.backlog import Job
    from framebuf.service.codedchain import CodedChain
    from framebuf.service.pixels import Pixels


@dataclass(slots=True, eq=False)
class Reel:
    """Jobs whose frames are decoded one after the other, from one key frame."""

    chain: CodedChain
    turn: str
    group: Group | None
    """None: its frames are gone."""
    jobs: deque[Job] = field(default_factory=deque)
    alone: bool = False
    """It shares the decoders with no other."""
    busy: bool = False
    """A thread has it."""
    withdrawn: bool = False


@dataclass(slots=True, eq=False)
class _Turn:
    """The reels of one request, in the order in which its frames were captured."""

    place: int
    served_ns: int = 0
    """Monotonic."""
    reels: list[Reel] = field(default_factory=list)


class Reels:
    """Not locked: its Decoding's lock guards it. The order of work is that of a Backlog.

    A request's groups may be decoded side by side; one that is to be alone shares the decoders
    with no other.
    """

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}
        self._places = itertools.count(1)
        self._busy: list[Reel] = []

    def add(self, chain: CodedChain, group: Group | None, job: Job) -> None:
        turn = self._turns.get(job.turn)
        if turn is None:
            turn = self._turns[job.turn] = _Turn(next(self._places))
        last = turn.reels[-1] if turn.reels else None
        if last is None or last.group is not group:
            last = Reel(chain, job.turn, group, alone=job.alone)
            turn.reels.append(last)
        last.jobs.append(job)

    def next(
        self, now_ns: int, room: Callable[[Reel], Pixels | None]
    ) -> tuple[Reel, Pixels] | None:
        """The most urgent one that nobody has, and room for its next frame; None: it must wait.

        A model whose most urgent frame finds no room holds up no other model's.
        """
        ranked = []
        for turn in self._turns.values():
            reel = next((reel for reel in turn.reels if reel.jobs and not reel.busy), None)
            if reel is not None:
                ranked.append((rank(reel.jobs[0], now_ns, turn.served_ns, turn.place), reel))
        full: set[str] = set()
        for _, reel in sorted(ranked, key=itemgetter(0)):
            if self._busy and (reel.alone or any(other.alone for other in self._busy)):
                return None
            if reel.chain.model in full:
                continue
            pixels = room(reel)
            if pixels is not None:
                return reel, pixels
            full.add(reel.chain.model)
        return None

    def take(self, reel: Reel, now_ns: int) -> None:
        """A thread has it from now on."""
        reel.busy = True
        self._busy.append(reel)
        turn = self._turns.get(reel.turn)
        if turn is not None:
            turn.place, turn.served_ns = next(self._places), now_ns

    def give_back(self, reel: Reel) -> None:
        """The thread has done with it, for now."""
        reel.busy = False
        self._busy.remove(reel)
        turn = self._turns.get(reel.turn)
        if turn is not None and not reel.jobs and reel in turn.reels:
            turn.reels.remove(reel)
            if not turn.reels:
                del self._turns[reel.turn]

    def withdraw(self, turn: str) -> list[Job]:
        """Every job of one request that has not been begun."""
        gone = self._turns.pop(turn, None)
        jobs: list[Job] = []
        for reel in gone.reels if gone else ():
            reel.withdrawn = True
            jobs += reel.jobs
            reel.jobs.clear()
        return jobs

    def __len__(self) -> int:
        """Frames that wait."""
        return sum(len(reel.jobs) for turn in self._turns.values() for reel in turn.reels)

    def __repr__(self) -> str:
        return f"<Reels {len(self)} frames of {len(self._turns)} requests, {len(self._busy)} busy>"
