"""Context: one runtime, and the threads that prepare for it, run it, and read it."""

from __future__ import annotations

import threading
import time
from queue import Empty, Full, Queue, SimpleQueue
from typing import TYPE_CHECKING

from framebuf.models.batch import Batch
from framebuf.models.filling import Filling
from framebuf.models.inference import Inference
from framebuf.models.measured import measure
from framebuf.models.reader import Reader
from framebuf.models.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.filling import Filled
    from framebuf.models.inference import Ran
    from framebuf.models.lane import Lane
    from framebuf.models.measured import Measured
    from framebuf.models.prepare import Preparer
    from framebuf.models.run import Run
    from framebuf.models.runtimes import Runtime
    from framebuf.models.tasks import Task

SPARE_NS = 2 * 10**6
"""A tensor is to be ready this much before its turn, and half of what it takes to prepare.

More, and an urgent frame misses the next batch too often: see tests/bench/single.py."""


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
        self.work = Work()
        self.inference = Inference(runtime, self.work)
        self.prepare_ns = SPARE_NS
        """What preparing a frame takes, of the slower ones of late; nanoseconds."""
        self.input = runtime.input
        self.outputs = runtime.outputs
        self.versions = runtime.versions
        self._runtime = runtime
        self._reader = Reader(model, task, self.work, simulated=simulated)
        self._memories = [Batch(runtime.input, self.sizes[-1], preparer) for _ in range(2)]
        self._free: SimpleQueue[Batch] = SimpleQueue()
        self._ready: SimpleQueue[Filled | None] = SimpleQueue()
        self._ran: Queue[Ran | None] = Queue(1)
        self._threads: list[threading.Thread] = []

    def start(self, lane: Lane) -> None:
        """Start the threads; they end when the lane has no next run."""
        for memory in self._memories:
            self._free.put(memory)
        self._threads = [
            threading.Thread(target=self._prepare, args=(lane,), name=f"{self.name}-prepare"),
            threading.Thread(target=self._run, args=(lane,), name=self.name),
            threading.Thread(target=self._read, args=(lane,), name=f"{self.name}-results"),
        ]
        for thread in self._threads:
            thread.daemon = True  # a hung NPU call must not keep a dying process alive
            thread.start()

    def lead_ns(self, frames: int) -> int:
        """How long before its turn a tensor of so many frames is begun; nanoseconds."""
        return SPARE_NS + 3 * self.prepare_ns * frames // 2

    def measure(self, size: int, picture: NDArray[np.uint8]) -> Measured:
        """Time a full batch of `picture`, for whoever has not yet started it.

        Raises:
            InferenceError: the runtime failed.
        """
        batch = self._memories[0].sized(size)
        best = measure(self._runtime, batch, self._reader, picture)
        self.prepare_ns = round(best.prepare_ms * 1e6 / size)
        return best

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

    def _prepare(self, lane: Lane) -> None:
        while (run := lane.next_run(self)) is not None:
            if run.context is self:
                self._fill(run, lane)
            elif run.filling is not None:
                run.filling.fill(lane, self)
                lane.leave(run)
        self._ready.put(None)

    def _fill(self, run: Run, lane: Lane) -> None:
        memory = self._free.get()
        filling = Filling(run, memory)
        lane.take_up(run, filling)
        begun = time.monotonic_ns()
        filling.fill(lane, self)
        filling.close()
        lane.prepared(run)
        if not filling.jobs:
            lane.abandon(run)
            self._free.put(memory)
            return
        took_ns = time.monotonic_ns() - begun
        each_ns = took_ns // len(filling.jobs)  # late is dear, early costs nothing
        self.prepare_ns = max(each_ns, (self.prepare_ns + each_ns) // 2)
        self._ready.put(filling.filled(took_ns))

    def _run(self, lane: Lane) -> None:
        filled = self._ready.get()
        begun = False
        while filled is not None:
            if not begun:
                lane.begin(filled.run)
            ran = self.inference.run(filled)
            # What is ready begins in the same step: the accelerator waits for nothing else
            ready = self._peek()
            if filled.run.turn is None:
                read = self._hand_over(ran)
            else:  # to be alone is to be alone until the answer
                self._ran.put(ran)
                read = ran.answered.wait()
            begun = lane.end(filled.run, ready[0].run if read and ready and ready[0] else None)
            self._free.put(filled.memory)
            if not read:
                self._ran.put(ran)
            filled = ready[0] if ready else self._ready.get()
        self._ran.put(None)

    def _peek(self) -> tuple[Filled | None, ...]:
        """The next tensor, where it is ready; in it None: there are no more."""
        try:
            return (self._ready.get_nowait(),)
        except Empty:
            return ()

    def _hand_over(self, ran: Ran) -> bool:
        """Give what came out to be read; False: the reader is behind."""
        try:
            self._ran.put_nowait(ran)
        except Full:
            return False
        return True

    def _read(self, lane: Lane) -> None:
        while (ran := self._ran.get()) is not None:
            self._reader.answer(ran)
            lane.answered()

    def __repr__(self) -> str:
        state = "idle" if self.inference.running_since_ns is None else "running"
        return f"<Context {self.name} {state}, {self.inference.runs} runs>"
