"""Lane: the backlog and the contexts of one accelerator."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from framebuf.models.backlog import Backlog
from framebuf.models.plan import next_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from framebuf.models.backlog import Job
    from framebuf.models.context import Context


class Lane:
    """All models of one accelerator. Any thread submits; contexts pull when they are free.

    `_changed` guards the backlogs and `_closing`. A backlog holds no more jobs than there are
    leased frames, which the rings bound.
    """

    def __init__(self, name: str, contexts: Sequence[Context]) -> None:
        self.name = name
        self.contexts = tuple(contexts)
        self._changed = threading.Condition()
        self._backlogs = {context.model: Backlog() for context in contexts}
        self._sizes = {
            model: sorted({s for c in contexts if c.model == model for s in c.sizes})
            for model in self._backlogs
        }
        self._closing = False
        self._runs = 0

    def start(self) -> None:
        for context in self.contexts:
            context.start(self._next_jobs, self._next_run)

    def submit(self, model: str, jobs: Iterable[Job]) -> None:
        """Put frames on a model's backlog; each is answered on a context's thread."""
        with self._changed:
            backlog = self._backlogs[model]
            for job in jobs:
                backlog.add(job)
            self._changed.notify_all()

    def withdraw(self, model: str, turn: str) -> list[Job]:
        """Take back what no context has begun."""
        with self._changed:
            jobs = self._backlogs[model].withdraw(turn)
            self._changed.notify_all()  # fewer frames may be another context's size
            return jobs

    def waiting(self) -> int:
        """Frames on the backlogs."""
        with self._changed:
            return sum(len(backlog) for backlog in self._backlogs.values())

    def longest_run_ns(self, now_ns: int) -> int:
        """How long the longest inference under way has run; 0 while none does."""
        begun = [context.running_since_ns for context in self.contexts]
        return max((now_ns - since for since in begun if since is not None), default=0)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Finish what contexts have begun, then free them. False: one hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        joined = [c.join(max(0.0, end - time.monotonic())) for c in self.contexts]
        return all(joined)

    def _next_jobs(self, context: Context) -> tuple[int, list[Job]] | None:
        """Block until there is work for `context`: the batch size to run, and its frames."""
        backlog, sizes = self._backlogs[context.model], self._sizes[context.model]
        with self._changed:
            while not self._closing:
                if len(backlog):
                    size = next_size(len(backlog), sizes)
                    if size in context.sizes:
                        jobs = backlog.take(size, time.monotonic_ns())
                        self._changed.notify_all()  # the rest may be another context's size
                        return size, jobs
                self._changed.wait()
            return None

    def _next_run(self) -> int:
        with self._changed:
            self._runs += 1
            return self._runs

    def __repr__(self) -> str:
        return f"<Lane {self.name} {self.waiting()} waiting, {len(self.contexts)} contexts>"
