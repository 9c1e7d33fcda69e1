"""RuntimePool: one model, or two in a row, as a library: frames in, results out, in order."""

from __future__ import annotations

import operator
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from framebuf.errors import ModelError
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.batch import Batch
from framebuf.models.chain import Chain
from framebuf.models.family import family_of
from framebuf.models.inflight import InFlight
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.prepare import open_preparer, require_picture
from framebuf.models.runner import Runner
from framebuf.models.second import check_row
from framebuf.results import Failure, FrameResult
from framebuf.units import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.lane import Lane
    from framebuf.models.network import Network
    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec

QUICK_S = 0.001
"""A frame that comes sooner than this after the last is submitted together with the next ones."""

AHEAD_BYTES = 256 * 2**20
"""Of pixels that wait; a photograph may have 100 MB."""


class RuntimePool:
    """One model on a pool of runtimes, or two in a row. Any thread may map, in an order of its own.

    Use it with `with`, or close it: contexts hold memory of the accelerator. `_lock` guards
    `_closed` and `_turns`, `_opening` the runners.
    """

    def __init__(self, model: Model, network: Network, chain: Chain, lanes: Sequence[Lane]) -> None:
        """`model` and `network` see the frames."""
        self._model = model
        self._network = network
        self._chain = chain
        self._lanes = tuple(lanes)
        self._lock = threading.Lock()
        self._closed = False
        self._turns: set[str] = set()
        self._maps = 0
        self._opening = threading.Lock()
        self._runners: dict[int | None, Runner] = {}

    @classmethod
    def open(cls, model: Model, then: Model | None = None) -> RuntimePool:
        """Load the model, and start its contexts' threads; `then` sees what that one finds.

        Raises:
            ModelError: a file is missing or broken, or does not fit its configuration.
            InferenceError: the first batch failed.
        """
        if then is None and model.only is not None:
            raise ModelError(f"model {model.name}: only is for a second model; give it in then")
        models = [model] if then is None else [model, then]
        check_row(models)
        with ExitStack() as opened:
            networks = []
            for each in models:
                networks.append(open_network(each))
                opened.callback(networks[-1].close)
            lanes = open_lanes(networks)
            chain = Chain.of(models, {each.name: lanes[each.lane] for each in networks})
            opened.pop_all()
        for lane in lanes.values():
            lane.start()
        return cls(model, networks[0], chain, tuple(lanes.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that there are, ascending."""
        return self._network.sizes

    @property
    def input(self) -> TensorSpec:
        """The picture that goes in."""
        return self._network.input

    def map(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        """A result for each (height, width, 3) uint8 BGR array, in the order given.

        Frames are pulled as they are needed, and must not be changed until their result has come.
        A frame that fails is a result with an error; so are those that a `close` overtakes.

        Raises:
            ValueError: an array has another shape, or the pool is closed.
            TypeError: an array has another dtype, or is none.
            ModelError: a runtime hangs.
        """
        with self._lock:
            self._require_open()
            self._maps += 1
            turn = f"map-{self._maps}"
        return self._results(turn, frames)

    def new_batch(self, size: int) -> Batch:
        """An empty batch of this model's input, to be filled by hand, and `run`.

        The first run of a size loads its file once more, for a runtime that no `map` is using.

        Raises:
            ValueError: the model has no such batch size, or the pool is closed.
            TypeError: `size` is no whole number.
        """
        size = operator.index(size)
        with self._lock:
            self._require_open()
        if size not in self.sizes:
            remedy = "" if self.input.batch else f"; open it with batch_sizes=[{size}]"
            raise ValueError(
                f"expected a batch size of the model, {', '.join(map(str, self.sizes))}, "
                f"got {size}{remedy}"
            )
        return Batch(self.input, size, open_preparer(self._model, self.input), infer=self._infer)

    def close(self) -> None:
        """Finish what has begun, and free the runtimes. Safe to call twice.

        Raises:
            ModelError: a runtime hangs; it is left behind.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            turns = tuple(self._turns)
        why = Failure("closed", "the pool was closed before the frame's turn")
        for turn in turns:
            for job in self._chain.withdraw(turn):
                job.answered(FrameResult(self._model.name, error=why))
        with self._opening:
            runners = tuple(self._runners.values())
        ended = [runner.close() for runner in runners]
        ended += [lane.close() for lane in self._lanes]
        if not all(ended):
            raise ModelError(f"model {self._model.name}: a runtime hangs and was left behind")

    def _results(self, turn: str, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        largest = self.sizes[-1]
        # two full tensors a context, and as many frames waiting to be put into them
        most = 4 * largest * len(self._network.contexts)
        flight = InFlight(most, largest, AHEAD_BYTES)
        jobs: list[Job] = []
        asked = time.monotonic()
        try:
            for seq, pixels in enumerate(frames):
                slow = time.monotonic() - asked > QUICK_S
                jobs.append(_job(turn, seq, pixels, flight))
                if flight.full or flight.answered or slow:
                    self._submit(turn, jobs)
                    jobs = []
                while flight.full or flight.answered:
                    yield flight.next()
                asked = time.monotonic()
            if jobs:
                self._submit(turn, jobs)
            while flight:
                yield flight.next()
        finally:
            with self._lock:
                self._turns.discard(turn)
            self._chain.withdraw(turn)

    def _submit(self, turn: str, jobs: list[Job]) -> None:
        with self._lock:  # a close that comes now finds the turn
            self._require_open()
            self._turns.add(turn)
            self._chain.submit(jobs)

    def _infer(self, tensor: NDArray[Any]) -> Outputs:
        """Run a batch that was filled by hand."""
        files = family_of(self._model).files
        member = len(tensor) if len(tensor) in files else None
        with self._opening:
            with self._lock:
                self._require_open()
            if member not in self._runners:
                self._runners[member] = Runner.open(self._model, files[member])
            runner = self._runners[member]
        return runner.infer(tensor)

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"the pool of model {self._model.path} is closed; open another")

    def __enter__(self) -> RuntimePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<RuntimePool {self._model.name} closed>"
        return f"<RuntimePool {self._chain!r} {' '.join(map(repr, self._lanes))}>"


def _job(turn: str, seq: int, pixels: NDArray[np.uint8], flight: InFlight) -> Job:
    require_picture(pixels)
    now = Moment(time.monotonic_ns(), time.time_ns())
    frame = Frame(seq, now, pixels)
    return Job(frame, turn, now.mono_ns, _nothing, flight.add(pixels.nbytes))


def _nothing() -> None:
    """The library's frames have no lease to weaken."""
