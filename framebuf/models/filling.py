"""A tensor that is being filled."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.backlog import Job
    from framebuf.models.batch import Batch
    from framebuf.models.context import Context
    from framebuf.models.lane import Lane
    from framebuf.models.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """A tensor ready to run. Of two per context, one is here or running, one being prepared."""

    run: Run
    memory: Batch
    batch: Batch
    tensor: NDArray[Any]
    jobs: list[Job]
    taken_ns: list[int]
    prepared_ns: int
    """Nanoseconds that preparing took."""


class Filling:
    """The frames of one run, on their way into its tensor by one thread or several.

    Slots are in the order in which frames were taken. `_lock` guards the books of this tensor;
    the lane's lock is taken under it, never the other way round.
    """

    def __init__(self, run: Run, memory: Batch) -> None:
        self.run = run
        self.memory = memory
        self.batch = memory.sized(run.size)
        self.jobs: list[Job] = []
        self.taken_ns: list[int] = []
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._writing = 0
        self._closed = False

    def fill(self, lane: Lane, context: Context) -> None:
        """Write frames into it as long as the lane has some for it, and for `context` to do."""
        while (slot := self._take(lane, context)) is not None:
            job = self.jobs[slot]
            job.begun()
            frame, part = job.frame, job.part
            corner = (0, 0) if part is None else (part.x, part.y)
            size = (frame.width, frame.height) if part is None else (part.width, part.height)
            self.batch.add_at(slot, frame.seen(part), corner, size)
            job.prepared()
            with self._lock:
                self._writing -= 1
                self._written.notify_all()

    def close(self) -> None:
        """Take no more frames, and wait until those that were taken are in the tensor."""
        with self._lock:
            self._closed = True
            while self._writing:
                self._written.wait()

    def filled(self, prepared_ns: int) -> Filled:
        """What came of it, once it is closed; preparing took so long."""
        return Filled(
            self.run, self.memory, self.batch, self.batch.tensor,
            self.jobs, self.taken_ns, prepared_ns,
        )  # fmt: skip

    def _take(self, lane: Lane, context: Context) -> int | None:
        with self._lock:
            if self._closed or len(self.jobs) == self.run.size:
                return None
            job = lane.next_job(self.run, context)
            if job is None:
                return None
            self.jobs.append(job)
            self.taken_ns.append(time.monotonic_ns())
            self._writing += 1
            return len(self.jobs) - 1

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._writing} being written"
        return f"<Filling {len(self.jobs)}/{self.run.size}, {state}>"
