"""RuntimePool: a lane as a library: frames in, results out, in order."""

from __future__ import annotations

import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from framebuf.errors import ModelError
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.batch import Batch
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.prepare import open_preparer
from framebuf.units import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.lane import Lane
    from framebuf.results import FrameResult

ANSWER_S = 120.0
"""Longer than any inference: no answer by then is a runtime that hangs."""


class RuntimePool:
    """One model on a pool of runtimes. Any thread may map; each `map` has its own order.

    Use it with `with`, or close it: contexts hold memory of the accelerator.
    """

    def __init__(self, model: Model, lane: Lane, ahead: int) -> None:
        self._model = model
        self._lane = lane
        self._ahead = ahead
        self._maps = 0

    @classmethod
    def open(cls, model: Model) -> RuntimePool:
        """Load the model, and start its contexts' threads.

        Raises:
            ModelError: a file is missing or broken, or does not fit its configuration.
            InferenceError: the first batch failed.
        """
        network = open_network(model)
        (lane,) = open_lanes([network]).values()
        lane.start()
        # two full tensors a context, and as many frames waiting to be put into them
        return cls(model, lane, 4 * network.sizes[-1] * len(network.contexts))

    def map(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        """A result for each (height, width, 3) uint8 BGR array, in the order given.

        Frames are pulled as they are needed, and must not be changed until their result has come.
        A frame that fails is a result with an error.

        Raises:
            ValueError, TypeError: an array is no such frame.
            ModelError: a runtime hangs.
        """
        self._maps += 1
        turn = f"map-{self._maps}"
        under_way: deque[SimpleQueue[FrameResult]] = deque()
        try:
            for seq, pixels in enumerate(frames):
                under_way.append(self._submit(turn, seq, pixels))
                if len(under_way) >= self._ahead:
                    yield _wait(under_way)
            while under_way:
                yield _wait(under_way)
        finally:
            self._lane.withdraw(self._model.name, turn)

    def new_batch(self, size: int) -> Batch:
        """An empty batch of this model's input, to be filled by hand."""
        context = self._lane.contexts[0]
        return Batch(context.input, size, open_preparer(self._model, context.input))

    def close(self) -> None:
        """Finish what has begun, and free the runtimes.

        Raises:
            ModelError: a runtime hangs; it is left behind.
        """
        if not self._lane.close():
            raise ModelError(f"model {self._model.name}: a runtime hangs and was left behind")

    def _submit(self, turn: str, seq: int, pixels: NDArray[np.uint8]) -> SimpleQueue[FrameResult]:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(f"expected a frame of (height, width, 3), got {pixels.shape}")
        if pixels.dtype != "uint8":
            raise TypeError(f"expected a frame of uint8, got {pixels.dtype}")
        answer: SimpleQueue[FrameResult] = SimpleQueue()
        now = Moment(time.monotonic_ns(), time.time_ns())
        frame = Frame(seq, now, pixels)
        self._lane.submit(self._model.name, [Job(frame, turn, now.mono_ns, _nothing, answer.put)])
        return answer

    def __enter__(self) -> RuntimePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RuntimePool {self._model.name} {self._lane!r}>"


def _wait(under_way: deque[SimpleQueue[FrameResult]]) -> FrameResult:
    try:
        return under_way.popleft().get(timeout=ANSWER_S)
    except Empty:
        raise ModelError(f"no answer within {ANSWER_S:g} s: a runtime hangs") from None


def _nothing() -> None:
    """The library's frames have no lease to weaken."""
