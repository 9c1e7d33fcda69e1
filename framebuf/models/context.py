"""A context at work: one runtime, and the threads that prepare for it, run it, and read it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from queue import Empty, Full, Queue, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from framebuf.errors import InferenceError
from framebuf.models.batch import Batch
from framebuf.models.filling import Filling
from framebuf.models.runtimes import Distant
from framebuf.models.work import Work
from framebuf.results import BatchPlace, Failure, FrameResult, Timings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.backlog import Job
    from framebuf.models.prepare import Placement, Preparer
    from framebuf.models.runtimes import Outputs, Runtime
    from framebuf.models.tasks import Task
    from framebuf.models.timeline import Run
    from framebuf.results import Findings

SPARE_NS = 2 * 10**6
"""A tensor is to be ready this much before its turn, and half of what it takes to prepare.

More, and an urgent frame misses the next batch too often: see tests/bench/single.py."""


PATIENCE_NS = 35 * 10**9
"""Of a call over a network, which waits for others, and ends by itself before."""


class Line(Protocol):
    """Where a context gets its work, and the cores for it: its lane."""

    def next_run(self, context: Context) -> Run | None: ...

    def take_up(self, run: Run, filling: Filling) -> None: ...

    def next_job(self, run: Run, context: Context) -> Job | None: ...

    def leave(self, run: Run) -> None: ...

    def prepared(self, run: Run) -> None: ...

    def abandon(self, run: Run) -> None: ...

    def begin(self, run: Run) -> None: ...

    def end(self, run: Run, following: Run | None = None) -> bool: ...

    def answered(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Filled:
    """A tensor ready to run. Of two per context, one is here or running, one being prepared."""

    run: Run
    memory: Batch
    batch: Batch
    tensor: NDArray[Any]
    jobs: list[Job]
    taken_ns: list[int]
    prepared_ns: int
    """Nanoseconds that preparing took."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ran:
    """A tensor that has run; its memory is the next one's."""

    filled: _Filled
    placements: tuple[Placement, ...]
    outputs: Outputs | Failure
    infer_ns: int
    answered: threading.Event = field(default_factory=threading.Event)
    """Set once its frames are answered."""


class Measured(NamedTuple):
    """What one full batch takes, in milliseconds."""

    prepare_ms: float
    infer_ms: float
    read_ms: float


class Context:
    """One runtime that belongs to the thread NAME for ever.

    NAME-prepare fills its two tensors: the next is prepared while the last one runs; where it has
    nothing to fill, it helps another context of the model to fill a large one. NAME-results
    reads what came out, so that the accelerator does not wait for that; one batch may wait to be
    read. What the lane hands out is answered, come what may, unless the process dies; an
    unexpected exception ends its thread, and with it the process.
    """

    def __init__(
        self, name: str, model: str, runtime: Runtime, sizes: Sequence[int],
        preparer: Preparer, task: Task, core: int | None = 0, *, simulated: bool = False,
    ) -> None:  # fmt: skip
        """`core` is the one of its lane's that it runs on; None: all of them at once."""
        self.name = name
        self.model = model
        self.core = core
        self.sizes = tuple(sorted(sizes))
        self.simulated = simulated
        self.runs = 0
        self.work = Work()
        self.running_since_ns: int | None = None
        """When the inference under way began; monotonic."""
        self.prepare_ns = SPARE_NS
        """What preparing a frame takes, of the slower ones of late; nanoseconds."""
        self.input = runtime.input
        self.outputs = runtime.outputs
        self.versions = runtime.versions
        self.patience_ns = PATIENCE_NS if isinstance(runtime, Distant) else 0
        """How long a run may take that does not hang; nanoseconds."""
        self._runtime = runtime
        self._distant = runtime if isinstance(runtime, Distant) else None
        self._task = task
        self._memories = [Batch(runtime.input, self.sizes[-1], preparer) for _ in range(2)]
        self._free: SimpleQueue[Batch] = SimpleQueue()
        self._ready: SimpleQueue[_Filled | None] = SimpleQueue()
        self._ran: Queue[_Ran | None] = Queue(1)
        self._threads: list[threading.Thread] = []

    def start(self, line: Line) -> None:
        """Start the threads; they end when the line has no next run."""
        for memory in self._memories:
            self._free.put(memory)
        self._threads = [
            threading.Thread(target=self._prepare, args=(line,), name=f"{self.name}-prepare"),
            threading.Thread(target=self._run, args=(line,), name=self.name),
            threading.Thread(target=self._answer, args=(line,), name=f"{self.name}-results"),
        ]
        for thread in self._threads:
            thread.daemon = True  # a hung NPU call must not keep a dying process alive
            thread.start()

    def lead_ns(self, frames: int) -> int:
        """How long before its turn a tensor of so many frames is begun; nanoseconds."""
        return SPARE_NS + 3 * self.prepare_ns * frames // 2

    def measure(self, size: int, picture: NDArray[np.uint8], runs: int = 3) -> Measured:
        """Time a full batch of `picture`: of each part the best of `runs`.

        For whoever does not `start` it; the first run is slower, and a warm-up.

        Raises:
            InferenceError: the runtime failed.
        """
        batch = self._memories[0].sized(size)
        found = []
        for _ in range(runs):
            begun = time.perf_counter()
            batch.clear()
            for _ in range(size):
                batch.add(picture)
            prepared = time.perf_counter()
            outputs = self._runtime.infer(batch.tensor)
            inferred = time.perf_counter()
            self._read(outputs, batch.placements)
            found.append((prepared - begun, inferred - prepared, time.perf_counter() - inferred))
        best = Measured(*(min(part) * 1e3 for part in zip(*found, strict=True)))
        self.prepare_ns = round(best.prepare_ms * 1e6 / size)
        return best

    def hurry(self) -> None:
        """Wait for nobody else any more than must be: the lane closes. Any thread."""
        if self._distant is not None:
            self._distant.hurry()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end, then free the runtime. False: it hangs, and is left."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return False
        self._runtime.close()
        for memory in self._memories:
            memory.close()
        return True

    def _prepare(self, line: Line) -> None:
        while (run := line.next_run(self)) is not None:
            if run.context is self:
                self._fill(run, line)
            elif run.filling is not None:
                run.filling.fill(line, self)
                line.leave(run)
        self._ready.put(None)

    def _fill(self, run: Run, line: Line) -> None:
        memory = self._free.get()
        filling = Filling(run, memory)
        line.take_up(run, filling)
        begun = time.monotonic_ns()
        filling.fill(line, self)
        filling.close()
        line.prepared(run)
        if not filling.jobs:
            line.abandon(run)
            self._free.put(memory)
            return
        took_ns = time.monotonic_ns() - begun
        each_ns = took_ns // len(filling.jobs)  # late is dear, early costs nothing
        self.prepare_ns = max(each_ns, (self.prepare_ns + each_ns) // 2)
        batch = filling.batch
        self._ready.put(
            _Filled(run, memory, batch, batch.tensor, filling.jobs, filling.taken_ns, took_ns)
        )

    def _run(self, line: Line) -> None:
        filled = self._ready.get()
        begun = False
        while filled is not None:
            if not begun:
                line.begin(filled.run)
            ran = self._infer(filled)
            # What is ready begins in the same step: the accelerator waits for nothing else
            ready = self._peek()
            if filled.run.turn is None:
                read = self._hand_over(ran)
            else:  # to be alone is to be alone until the answer
                self._ran.put(ran)
                read = ran.answered.wait()
            begun = line.end(filled.run, ready[0].run if read and ready and ready[0] else None)
            self._free.put(filled.memory)
            if not read:
                self._ran.put(ran)
            filled = ready[0] if ready else self._ready.get()
        self._ran.put(None)

    def _infer(self, filled: _Filled) -> _Ran:
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
        self.work.busy_ns += infer_ns * len(filled.run.cores)
        return _Ran(filled, filled.batch.placements, outputs, infer_ns)

    def _peek(self) -> tuple[_Filled | None, ...]:
        """The next tensor, where it is ready; in it None: there are no more."""
        try:
            return (self._ready.get_nowait(),)
        except Empty:
            return ()

    def _hand_over(self, ran: _Ran) -> bool:
        """Give what came out to be read; False: the reader is behind."""
        try:
            self._ran.put_nowait(ran)
        except Full:
            return False
        return True

    def _answer(self, line: Line) -> None:
        while (ran := self._ran.get()) is not None:
            begun = time.monotonic_ns()
            filled, count = ran.filled, len(ran.filled.jobs)
            found: list[Findings | Failure]
            if isinstance(ran.outputs, Failure):
                found = [ran.outputs] * count
            else:
                found = self._read(ran.outputs, ran.placements)
            post_ns = time.monotonic_ns() - begun
            self._count(ran, post_ns)
            for slot, job in enumerate(filled.jobs):
                ms = Timings(
                    wait=_ms(filled.taken_ns[slot] - job.ready_ns),
                    prepare=_ms(filled.prepared_ns // count),
                    infer=_ms(ran.infer_ns),
                    post=_ms(post_ns // count),
                )
                place = BatchPlace(filled.batch.size, slot, count)
                said = found[slot]
                failure = said if isinstance(said, Failure) else None
                findings = None if isinstance(said, Failure) else said
                job.answered(
                    FrameResult(
                        self.model, findings, failure, place, ms, filled.run.number, self.simulated
                    )
                )
            ran.answered.set()
            line.answered()

    def _count(self, ran: _Ran, post_ns: int) -> None:
        filled, work, count = ran.filled, self.work, len(ran.filled.jobs)
        work.filled.add(count)
        work.padded += filled.batch.size - count
        work.failed += isinstance(ran.outputs, Failure)
        work.infer.add(ran.infer_ns / 1e9)
        for job, taken_ns in zip(filled.jobs, filled.taken_ns, strict=True):
            work.wait.add(max(0, taken_ns - job.ready_ns) / 1e9)
            work.prepare.add(filled.prepared_ns / count / 1e9)
            work.post.add(post_ns / count / 1e9)

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

    def __repr__(self) -> str:
        state = "idle" if self.running_since_ns is None else "running"
        return f"<Context {self.name} {state}, {self.runs} runs>"


def _ms(ns: int) -> float:
    return round(max(0, ns) / 1e6, 3)
