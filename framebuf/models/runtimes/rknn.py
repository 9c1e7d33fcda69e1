"""Rockchip's NPUs, by rknn-toolkit-lite2.

RKNNLite says 0, -1 or None and logs the rest; it checks neither the batch nor the picture's size,
and loses the code of rknn_run. So its parts are called one by one, and every answer is looked at.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import InferenceError, ModelError
from framebuf.models import board
from framebuf.models.runtimes.rknnfault import cannot_open, code_name
from framebuf.models.runtimes.rknnfile import RknnFile
from framebuf.models.runtimes.rknnfit import agreed, check_chip, core_mask
from framebuf.models.runtimes.rknngarbage import sweep
from framebuf.models.runtimes.vendorlog import VendorLog, take_over

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec

_log = logging.getLogger(__name__)

GREY = 114


class RknnRuntime:
    """One model context of the NPU. Belongs to one thread at a time."""

    def __init__(
        self, path: Path, lite: Any, picture: TensorSpec, outputs: tuple[TensorSpec, ...],
        said: VendorLog, library: str, driver: str,
    ) -> None:  # fmt: skip
        self.path = path
        self.input = picture
        self.outputs = outputs
        self.versions = (
            f"rknn-toolkit-lite2 {board.wheel_version() or '?'}, librknnrt {library}, "
            f"driver {driver}"
        )
        self._driver = driver
        self._lite: Any = lite
        self._said = said
        self._calls = 0

    @classmethod
    def open(cls, path: Path, platform: str, *, core: int | None = None) -> RknnRuntime:
        """Load a file and run it once. `core`, from 0, pins a model of batch 1 to one core.

        A model of a larger batch takes all cores while it runs, whatever `core` says.

        Raises:
            ModelError: the file is broken, or for another chip; there is no NPU, driver, library
                or permission; or it does not run here. The message says what to do.
        """
        file = RknnFile.read(path)
        picture = file.runtime_input
        # the runtime dequantises, yet what it gives comes in these steps
        outputs = tuple(
            replace(spec, scale=stored.scale, zero_point=stored.zero_point)
            for spec, stored in zip(file.runtime_outputs, file.outputs, strict=True)
        )
        check_chip(file, platform)
        mask = core_mask(path, platform, file.batch, core)
        said = VendorLog(path.name)
        lite = _loaded(path, file, mask, said)
        try:
            library, driver = agreed(path, lite.rknn_runtime, picture)
            runtime = cls(path, lite, picture, outputs, said, library, driver)
            runtime._prove(file.batch, core)
        except BaseException:
            with said.listening():
                lite.release()
            raise
        return runtime

    def infer(self, tensor: NDArray[np.generic]) -> Outputs:
        """Run once: (batch, height, width, 3) uint8 RGB to (batch, …) float32, one per output.

        The arrays are new in every call.

        Raises:
            InferenceError: the tensor is not the input's, or the NPU or its library failed.
        """
        if self._lite is None:
            raise InferenceError(f"{self.path.name} is closed; open it again")
        self.input.require(tensor, self.path.name)
        self._said.clear()
        with self._said.listening():
            outputs = self._run(np.ascontiguousarray(tensor))
        self._calls += 1
        sweep(tensor.nbytes)
        return self._checked(outputs)

    def _run(self, tensor: NDArray[np.generic]) -> Any:
        """RKNNLite.inference in its three parts, whose errors it would swallow."""
        runtime = self._lite.rknn_runtime
        try:
            runtime.set_inputs([tensor], None, None, inputs_pass_through=None)
            code = runtime.run(False)
            outputs = None if code else runtime.get_outputs(False)
        except Exception as error:  # the vendor raises nothing more exact
            raise InferenceError(f"{self.path.name}: {error}{self._also()}") from error
        if code:
            raise InferenceError(
                f"{self.path.name}: the NPU failed the run: {code_name(code)}{self._also()}"
            )
        return outputs

    def _checked(self, outputs: Any) -> Outputs:
        """The arrays, if they are what the file says."""
        wanted = [spec.shape for spec in self.outputs]
        got = [np.shape(output) for output in outputs or ()]
        if got != wanted:
            raise InferenceError(
                f"{self.path.name}: expected outputs of shapes {wanted}, the runtime gave {got}; "
                "the file and the library do not fit: convert the model again"
            )
        return tuple(np.asarray(output, np.float32) for output in outputs)

    def _also(self) -> str:
        """What was logged about a call that failed, and what is known to help."""
        also = "" if self._said.errors == "nothing" else f"; the vendor says: {self._said.errors}"
        if board.is_old(self._driver):
            also += f"; its driver {self._driver} is old: update the kernel, for driver 0.9.8"
        return also

    def _prove(self, batch: int, core: int | None) -> None:
        """Run once.

        Raises:
            ModelError: it does not run, or gives other outputs than the file says.
        """
        try:
            self.infer(np.full(self.input.rows(batch), GREY, np.uint8))
        except InferenceError as error:
            raise ModelError(f"{self.path}: its first inference failed: {error}") from error
        if board.is_old(self._driver) and (core or batch > 1):
            _log.warning(
                "%s: driver %s is older than 0.9.6, with which other cores than the first fail; "
                "update the kernel", self.path.name, self._driver,
            )  # fmt: skip

    def close(self) -> None:
        """Free the NPU. Safe to call twice."""
        lite, self._lite = self._lite, None
        if lite is not None:
            with self._said.listening():
                lite.release()

    def __repr__(self) -> str:
        closed = " closed" if self._lite is None else ""
        return f"<RknnRuntime {self.path.name} {self.input}, {self._calls} calls{closed}>"


def _loaded(path: Path, file: RknnFile, mask: int, said: VendorLog) -> Any:
    """An RKNNLite with the model in the NPU.

    Raises:
        ModelError: why it is not.
    """
    with said.opening():
        try:
            from rknnlite.api import RKNNLite  # noqa: PLC0415 - only boards have it
        except ImportError as error:
            raise ModelError(
                f"{path}: needs rknn-toolkit-lite2, which cannot be imported ({error}): "
                "pip install 'framebuf[rknn]' on the board; elsewhere "
                f'platform = "sim:{file.platforms[0]}" plays one'
            ) from error
        take_over()
        lite = RKNNLite()
        take_over()  # its first object lays out the log
        try:
            if lite.load_rknn(str(path)) == 0 and lite.init_runtime(core_mask=mask) == 0:
                return lite
        except BaseException:
            lite.release()
            raise
        lite.release()
    if (interrupt := said.swallowed) is not None:
        raise interrupt
    raise cannot_open(path, file, said)
