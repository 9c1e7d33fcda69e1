"""A lane whose contexts are played: one thread, a clock that is set, nothing that waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framebuf.frames import Frame
from framebuf.models import lane as lane_module
from framebuf.models.backlog import Job
from framebuf.models.context import Context
from framebuf.models.lane import Lane
from framebuf.models.plan import Cost, Plan
from framebuf.units import Moment

MS = 1_000_000
FOREVER_MS = 1e9


class Clock:
    """Stands for `time`."""

    def __init__(self) -> None:
        self.ns = 10**12

    def monotonic_ns(self) -> int:
        return self.ns


@dataclass(eq=False)
class Seat:
    """What a lane sees of a context."""

    name: str
    model: str
    sizes: tuple[int, ...]
    core: int | None
    prepare_ns: int

    def lead_ns(self, frames: int) -> int:
        return Context.lead_ns(self, frames) if self.prepare_ns else 0  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ran:
    """A run that is over; milliseconds since the play began."""

    model: str
    size: int
    cores: tuple[int, ...]
    begins: float
    ends: float
    turns: tuple[str, ...]
    """Of its frames."""


class Play:
    """Models by name: milliseconds by batch size, singles on `pinned` cores, the others on all."""

    def __init__(self, monkeypatch: Any, cores: int, prepare_ms: float = 0, **models: Any) -> None:
        self.clock = Clock()
        monkeypatch.setattr(lane_module, "time", self.clock)
        self.plans, self.seats = {}, []
        for model, (pinned, times) in models.items():
            costs = [Cost(n, round(ms * MS), takes_all=n > 1) for n, ms in times.items()]
            self.plans[model] = Plan(costs, cores, pinned)
            for size in times:
                for core in range(pinned) if size == 1 else (None,):
                    name = f"{model}-b{size}-{core}"
                    self.seats.append(Seat(name, model, (size,), core, round(prepare_ms * MS)))
        self.lane = Lane("play", self.seats, self.plans, cores)  # type: ignore[arg-type]
        self.ran: list[Ran] = []
        self._began_ns = self.clock.ns
        self._held: dict[Seat, list[Any]] = {seat: [] for seat in self.seats}
        """Runs whose tensors are filled, with when they are ready, and the frames."""
        self._running: dict[Seat, tuple[int, Any, list[Job]]] = {}

    @property
    def ms(self) -> float:
        return (self.clock.ns - self._began_ns) / MS

    def submit(self, model: str, count: int, turn: str = "a", **more: Any) -> None:
        now = self.clock.ns
        self.lane.submit(
            model,
            [
                Job(Frame(n, Moment(now, now), None), turn, now, print, print, **more)  # type: ignore[arg-type]
                for n in range(count)
            ],
        )

    def play(self, until_ms: float = FOREVER_MS) -> list[Ran]:
        """Until nothing is left to do, or so long; what has ended, in the order of beginning."""
        while True:
            while any(self._advance(seat) for seat in self.seats):
                pass
            moments = [end for end, *_ in self._running.values()]
            moments += [held[0][0] for held in self._held.values() if held]
            moments.append(self.lane._schedule.due_ns or 0)
            later = [moment for moment in moments if moment > self.clock.ns]
            until_ns = self._began_ns + round(until_ms * MS)
            if not later:
                assert not self.lane.waiting(), f"{self.lane!r} does nothing"
            if not later or min(later) > until_ns:
                self.clock.ns = until_ns if until_ms < FOREVER_MS else self.clock.ns
                return sorted(self.ran, key=lambda ran: (ran.begins, ran.cores))
            self.clock.ns = min(later)
            for seat, (end, run, jobs) in list(self._running.items()):
                if end <= self.clock.ns:
                    del self._running[seat]
                    self._note(run, end, jobs)
                    self.lane.end(run)
                    self.lane.answered()
            with self.lane._lock:
                if self.lane._schedule.is_due(self.clock.ns):
                    self.lane._decide(self.clock.ns)

    def _advance(self, seat: Seat) -> bool:
        """Do what the threads of a context would; whether there was something."""
        held = self._held[seat]
        if self.lane._schedule._decided[seat] and len(held) + (seat in self._running) < 2:  # type: ignore[index]
            run = self.lane.next_run(seat)  # type: ignore[arg-type]
            assert run is not None
            jobs: list[Job] = []
            while len(jobs) < run.size and (job := self.lane.next_job(run, seat)) is not None:
                jobs.append(job)
            self.lane.prepared(run)
            if jobs:
                held.append((self.clock.ns + seat.prepare_ns * len(jobs), run, jobs))
            else:
                self.lane.abandon(run)
            return True
        if seat in self._running or not held or held[0][0] > self.clock.ns:
            return False
        if not self.lane._timeline.may_begin(held[0][1]):
            return False
        _, run, jobs = held.pop(0)
        self.lane.begin(run)
        self._running[seat] = (self.clock.ns + run.ns, run, jobs)
        return True

    def _note(self, run: Any, end_ns: int, jobs: list[Job]) -> None:
        end = (end_ns - self._began_ns) / MS
        begin = (run.since_ns - self._began_ns) / MS
        turns = tuple(job.turn for job in jobs)
        self.ran.append(Ran(run.context.model, run.size, tuple(run.cores), begin, end, turns))
