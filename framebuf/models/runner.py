"""A runtime for batches that were filled by hand."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import InferenceError, ModelError
from framebuf.models.runtimes import open_runtime, platform_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.family import Source
    from framebuf.models.runtimes import Outputs, Runtime

    Answer = SimpleQueue["Outputs | InferenceError"]

ANSWER_S = 120.0
"""Longer than any inference: no answer by then is a runtime that hangs."""


class Runner:
    """One runtime on the thread NAME, which alone runs it. Any thread may hand it a tensor.

    Tensors run in the order in which they come. Each caller waits for its own, so no more wait
    here than there are callers. `_lock` guards `_closed`: nothing is taken after the last tensor.
    """

    def __init__(self, name: str, runtime: Runtime, answer_s: float = ANSWER_S) -> None:
        """`answer_s`: no answer within so many seconds is a runtime that hangs."""
        self.name = name
        self._runtime = runtime
        self._answer_s = answer_s
        self._tensors: SimpleQueue[tuple[NDArray[Any], Answer] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._lock = threading.Lock()
        self._closed = False
        self._runs = 0

    @classmethod
    def open(cls, model: Model, path: Source) -> Runner:
        """Load one of the model's files, and start its thread.

        Raises:
            ModelError: the file cannot be loaded once more.
        """
        runtime = open_runtime(
            path,
            platform_of(path, model.platform),
            threads=max(1, len(os.sched_getaffinity(0)) // (model.runtimes or 1)),
            layout=model.layout,
        )
        stem = path.stem if isinstance(path, Path) else path.endpoints.model
        runner = cls(f"{model.name}-{stem}-by-hand", runtime)
        runner.start()
        return runner

    def start(self) -> None:
        self._thread.start()

    def infer(self, tensor: NDArray[Any]) -> Outputs:
        """As `Runtime.infer`, but the arrays are the caller's for good.

        Raises:
            InferenceError: the runtime failed.
            ModelError: it hangs.
            ValueError: it is closed.
        """
        answer: Answer = SimpleQueue()
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.name} is closed; open the model again")
            self._tensors.put((tensor, answer))
        try:
            outputs = answer.get(timeout=self._answer_s)
        except Empty:
            raise ModelError(
                f"{self.name}: no answer within {self._answer_s:g} s: its runtime hangs"
            ) from None
        if isinstance(outputs, InferenceError):
            raise outputs
        return outputs

    def close(self, timeout_s: float = 10.0) -> bool:
        """Finish what waits, then free the runtime. False: it hangs, and is left."""
        with self._lock:
            self._closed = True
            self._tensors.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (work := self._tensors.get()) is not None:
            tensor, answer = work
            try:
                # the runtime's own arrays are overwritten by its next call
                answer.put(tuple(np.array(output) for output in self._runtime.infer(tensor)))
            except InferenceError as error:
                answer.put(error)
            self._runs += 1
        self._runtime.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<Runner {self.name} {self._runs} runs{closed}>"
