"""Inference: the calls of one runtime, and how long the one under way has run."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from framebuf.errors import InferenceError
from framebuf.models.runtimes import Distant
from framebuf.results import Failure

if TYPE_CHECKING:
    from framebuf.models.filling import Filled
    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs, Runtime
    from framebuf.models.work import Work

PATIENCE_NS = 35 * 10**9
"""Of a call over a network, which waits for others, and ends by itself before."""


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """A tensor that has run; its memory is the next one's."""

    filled: Filled
    placements: tuple[Placement, ...]
    outputs: Outputs | Failure
    infer_ns: int
    answered: threading.Event = field(default_factory=threading.Event)
    """Set once its frames are answered."""


class Inference:
    """`run` belongs to one thread for ever, as the runtime does; any thread calls the others."""

    def __init__(self, runtime: Runtime, work: Work) -> None:
        """`work` counts how long the accelerator is busy."""
        self.runs = 0
        self.running_since_ns: int | None = None
        """When the inference under way began; monotonic."""
        self._runtime = runtime
        self._distant = runtime if isinstance(runtime, Distant) else None
        self._patience_ns = PATIENCE_NS if self._distant is not None else 0
        self._work = work

    def run(self, filled: Filled) -> Ran:
        """Run a tensor; what fails comes out as a failure."""
        self.running_since_ns = started = time.monotonic_ns()
        outputs: Outputs | Failure
        try:
            if self._distant is None:
                outputs = self._runtime.infer(filled.tensor)
            else:
                until_ns = max(job.until_ns for job in filled.jobs)
                outputs = self._distant.infer_until(filled.tensor, until_ns)
        except InferenceError as error:
            outputs = Failure(error.code, str(error))
        infer_ns = time.monotonic_ns() - started
        self.running_since_ns = None
        self.runs += 1
        self._work.busy_ns += infer_ns * len(filled.run.cores)
        return Ran(filled, filled.batch.placements, outputs, infer_ns)

    def overrun_ns(self, now_ns: int) -> int:
        """How long the one under way has run, beyond what a call over a network may.

        0 while none does.
        """
        since_ns = self.running_since_ns
        return 0 if since_ns is None else now_ns - since_ns - self._patience_ns

    def hurry(self) -> None:
        """Wait for nobody else any more than must be: the lane closes."""
        if self._distant is not None:
            self._distant.hurry()

    def __repr__(self) -> str:
        state = "idle" if self.running_since_ns is None else "running"
        return f"<Inference {state}, {self.runs} runs>"
