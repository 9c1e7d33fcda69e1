"""A context at work: one runtime, its thread, and the thread that prepares its next tensor."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from framebuf.errors import InferenceError
from framebuf.models.batch import Batch
from framebuf.results import BatchPlace, Failure, FrameResult, Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.backlog import Job
    from framebuf.models.prepare import Placement, Preparer
    from framebuf.models.runtimes import Outputs, Runtime
    from framebuf.models.tasks import Task
    from framebuf.results import Findings

    Next = Callable[["Context"], "tuple[int, list[Job]] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class _Filled:
    """A tensor ready to run. Of two per context, one is here or running, one being prepared."""

    memory: Batch
    batch: Batch
    jobs: list[Job]
    taken_ns: int
    prepared_ns: int


class Context:
    """One runtime that belongs to the thread NAME for ever; NAME-prepare fills its tensors.

    Two tensors: the next is prepared while the last one runs, so the queues between the threads
    hold at most two. What `next_jobs` hands out is answered, come what may, unless the process
    dies; an unexpected exception ends the thread, and with it the process.
    """

    def __init__(
        self, name: str, model: str, runtime: Runtime, sizes: Sequence[int],
        preparer: Preparer, task: Task,
    ) -> None:  # fmt: skip
        self.name = name
        self.model = model
        self.sizes = tuple(sorted(sizes))
        self.runs = 0
        self.beat_ns = time.monotonic_ns()
        """When the runtime last came back; monotonic."""
        self.running_since_ns: int | None = None
        """When the inference under way began; monotonic."""
        self.input = runtime.input
        self._runtime = runtime
        self._task = task
        self._memories = [Batch(runtime.input, self.sizes[-1], preparer) for _ in range(2)]
        self._free: SimpleQueue[Batch] = SimpleQueue()
        self._ready: SimpleQueue[_Filled | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, next_jobs: Next, next_run: Callable[[], int]) -> None:
        """Start both threads. `next_jobs` blocks for work; None ends the context."""
        for memory in self._memories:
            self._free.put(memory)
        self._threads = [
            threading.Thread(target=self._prepare, args=(next_jobs,), name=f"{self.name}-prepare"),
            threading.Thread(target=self._run, args=(next_run,), name=self.name),
        ]
        for thread in self._threads:
            thread.daemon = True  # a hung NPU call must not keep a dying process alive
            thread.start()

    def measure(self, size: int, picture: NDArray[np.uint8], runs: int = 3) -> tuple[float, float]:
        """Milliseconds to prepare and to run a full batch of `picture`: the best of `runs`.

        For whoever does not `start` it; the first run is slower, and a warm-up.

        Raises:
            InferenceError: the runtime failed.
        """
        batch = self._memories[0].sized(size)
        prepare, run = [], []
        for _ in range(runs):
            begun = time.perf_counter()
            batch.clear()
            for _ in range(size):
                batch.add(picture)
            prepared = time.perf_counter()
            self._read(self._runtime.infer(batch.tensor), batch.placements)
            prepare.append(prepared - begun)
            run.append(time.perf_counter() - prepared)
        return min(prepare) * 1e3, min(run) * 1e3

    def join(self, timeout_s: float) -> bool:
        """Wait for both threads to end, then free the runtime. False: it hangs, and is left."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return False
        self._runtime.close()
        for memory in self._memories:
            memory.close()
        return True

    def _prepare(self, next_jobs: Next) -> None:
        while True:
            memory = self._free.get()
            work = next_jobs(self)
            if work is None:
                self._ready.put(None)
                return
            size, jobs = work
            taken = time.monotonic_ns()
            batch = memory.sized(size)
            batch.clear()
            for job in jobs:
                job.begun()
            for job in jobs:
                pixels, part = job.frame.pixels, job.part
                if part is None:
                    batch.add(pixels)
                else:
                    batch.add(part.of(pixels), (part.x, part.y))
                job.prepared()
            self._ready.put(_Filled(memory, batch, jobs, taken, time.monotonic_ns()))

    def _run(self, next_run: Callable[[], int]) -> None:
        while (filled := self._ready.get()) is not None:
            self.running_since_ns = started = time.monotonic_ns()
            found: list[Findings | Failure]
            try:
                outputs = self._runtime.infer(filled.batch.tensor)
                inferred = time.monotonic_ns()
                found = self._read(outputs, filled.batch.placements)
            except InferenceError as error:
                inferred = time.monotonic_ns()
                found = [Failure(error.code, str(error))] * len(filled.jobs)
            self.beat_ns = ended = time.monotonic_ns()
            self.running_since_ns = None
            self.runs += 1
            self._answer(filled, found, (started, inferred, ended), next_run())
            self._free.put(filled.memory)

    def _read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings | Failure]:
        """What each frame gave; one that cannot be read does not take the others with it."""
        try:
            return list(self._task.read(outputs, placements))
        except InferenceError as error:
            if len(placements) == 1:
                return [Failure(error.code, str(error))]
        found: list[Findings | Failure] = []
        for slot, place in enumerate(placements):
            row = tuple(output[slot : slot + 1] for output in outputs)
            found += self._read(row, [place])
        return found

    def _answer(
        self, filled: _Filled, found: list[Findings | Failure],
        times: tuple[int, int, int], run: int,
    ) -> None:  # fmt: skip
        started, inferred, ended = times
        count = len(filled.jobs)
        for slot, job in enumerate(filled.jobs):
            ms = Timings(
                wait=_ms(filled.taken_ns - job.ready_ns),
                prepare=_ms((filled.prepared_ns - filled.taken_ns) // count),
                infer=_ms(inferred - started),
                post=_ms((ended - inferred) // count),
            )
            place = BatchPlace(filled.batch.size, slot, count)
            said = found[slot]
            failure = said if isinstance(said, Failure) else None
            findings = None if isinstance(said, Failure) else said
            job.answered(FrameResult(self.model, findings, failure, place, ms, run))

    def __repr__(self) -> str:
        state = "idle" if self.running_since_ns is None else "running"
        return f"<Context {self.name} {state}, {self.runs} runs>"


def _ms(ns: int) -> float:
    return round(max(0, ns) / 1e6, 3)
