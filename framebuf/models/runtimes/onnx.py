"""ONNX files on the CPU, by onnxruntime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

# Since 1.32 an import alone makes a device id and a database of events in the user's cache, to be
# sent to its maker. A camera's machine reports to its owner, and to nobody else.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from framebuf.errors import InferenceError, ModelError
from framebuf.models.runtimes.pictureinput import picture_input
from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import Layout

INPUT_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
DTYPES = {"float": "float32", "double": "float64"}
"""numpy's names where onnxruntime has its own."""
ERRORS_ONLY = 3
"""onnxruntime's log severity."""


class OnnxRuntime:
    """One onnxruntime session. Belongs to one thread at a time."""

    def __init__(
        self, path: Path, session: Any, picture: TensorSpec, outputs: tuple[TensorSpec, ...]
    ) -> None:
        self.path = path
        self.input = picture
        self.outputs = outputs
        self.versions = f"onnxruntime {onnxruntime.__version__}"
        self._session: Any = session
        self._names = [output.name for output in outputs]

    @classmethod
    def open(
        cls, path: Path, *, threads: int, layout: Literal["nchw", "nhwc"] | None = None
    ) -> OnnxRuntime:
        """Load a file; `threads` work on one call, `layout` overrides what its input's shape says.

        Raises:
            ModelError: the file is missing or broken, or its input is not one picture.
        """
        session = _session(path, threads)
        outputs = tuple(_output(path, output) for output in session.get_outputs())
        return cls(path, session, _input(path, session.get_inputs(), layout), outputs)

    def infer(self, tensor: NDArray[np.generic]) -> Outputs:
        """Run once: (batch, …) of the input's dtype to (batch, …) float32, one per output.

        Raises:
            InferenceError: the tensor does not fit the input, or onnxruntime failed.
        """
        if self._session is None:
            raise InferenceError(f"{self.path.name} is closed; open it again")
        self.input.require(tensor, self.path.name)
        try:
            outputs = self._session.run(self._names, {self.input.name: tensor})
        except Exception as error:
            raise InferenceError(f"{self.path.name}: onnxruntime: {_line(error)}") from error
        return tuple(np.asarray(output, np.float32) for output in outputs)

    def close(self) -> None:
        """Free the session. Safe to call twice."""
        self._session = None

    def __repr__(self) -> str:
        closed = " closed" if self._session is None else ""
        return f"<OnnxRuntime {self.path.name} {self.input}{closed}>"


def onnx_ends(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What goes into a file's network and comes out, whether framebuf runs it or not.

    dtypes are what the file stores; what is no tensor has onnxruntime's word for it.

    Raises:
        ModelError: the file is missing or broken.
    """
    session = _session(path, 1)
    try:
        inputs = tuple(_end(each, picture=True) for each in session.get_inputs())
        return inputs, tuple(_end(each, picture=False) for each in session.get_outputs())
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: a tensor has a name that is no text: {error}") from error


def _session(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; correct the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # threads that spin while they wait take the cores from cameras and other sessions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no root of their own
        raise ModelError(f"{path}: onnxruntime cannot load it: {_line(error)}") from error


def _end(given: Any, *, picture: bool) -> TensorSpec:
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    shape = _shape(given.shape)
    layout: Layout = "other"
    if picture and len(shape) == 4 and (shape[1] == 3) != (shape[3] == 3):
        layout = "NCHW" if shape[1] == 3 else "NHWC"
    return TensorSpec(given.name, shape, DTYPES.get(kind, kind), layout)


def _input(path: Path, inputs: list[Any], layout: Literal["nchw", "nhwc"] | None) -> TensorSpec:
    """The one picture that goes in."""
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs) or "none"
        raise ModelError(f"{path}: expected one input, it has {len(inputs)}: {names}")
    (given,) = inputs
    dtype = INPUT_DTYPES.get(given.type)
    return picture_input(path, given.name, _shape(given.shape), dtype, given.type, layout)


def _output(path: Path, given: Any) -> TensorSpec:
    if not given.type.startswith("tensor("):
        raise ModelError(f"{path}: expected tensors out, output {given.name} is {given.type}")
    shape = _shape(given.shape)
    if not shape:
        raise ModelError(
            f"{path}: expected a row for each picture, output {given.name} is a number"
        )
    return TensorSpec(given.name, shape, "float32")


def _shape(axes: list[Any]) -> tuple[int | None, ...]:
    """A free axis is a name or None in onnxruntime."""
    return tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in axes)


def _line(error: Exception) -> str:
    """The first line of a vendor's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
