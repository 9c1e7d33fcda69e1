"""Tensors of the Open Inference Protocol: what a server says of them, and what it sends.

Types and names as in the KServe v2 specification, "Tensor Data Types" and "Model Metadata".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from framebuf.errors import ModelError
from framebuf.models.runtimes.oiperrors import NoAnswerError, words
from framebuf.models.runtimes.pictureinput import picture_input
from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.runtimes import Outputs

INPUT_DTYPES = {"UINT8": "uint8", "FP32": "float32"}
DATATYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""numpy's name of what is made to float32; BYTES and BF16 are not."""

MOST_OUTPUTS = 64
MOST_AXES = 8
MOST_NAME = 256
MOST_BYTES = 2**30
"""Of one answer: more is no network's."""


class End(msgspec.Struct, frozen=True):
    """One input or output, as a server tells it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """−1 where an axis is free."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a server says of one model."""

    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    server: str
    """Its name and version, for people."""
    largest: int | None = None
    """The largest batch that it takes; None where it does not tell."""

    @classmethod
    def told(
        cls, inputs: tuple[End, ...], outputs: tuple[End, ...],
        name: object, version: object, largest: int,
    ) -> Held:  # fmt: skip
        """As it came: the server's own name and version, and 0 or less where it tells no batch."""
        server = f"{words(name)} {words(version)}"
        return cls(inputs, outputs, server, largest if largest > 0 else None)

    def differs(self, other: Held) -> bool:
        """Whether it is another network than that of the other server."""
        return (self.inputs, self.outputs) != (other.inputs, other.outputs)


class Answered(NamedTuple):
    """One output as it came."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any
    """Bytes, little-endian, row by row: any object with a buffer."""


def specs(
    where: object, held: Held, layout: Literal["nchw", "nhwc"] | None
) -> tuple[TensorSpec, tuple[TensorSpec, ...]]:
    """The picture that goes in, and what comes out as float32.

    Raises:
        ModelError: the model is none that framebuf runs, or what was told of it is no model.
    """
    if not held.inputs or not held.outputs:
        raise ModelError(
            f"{where}: {held.server} tells no {'inputs' if not held.inputs else 'outputs'} of it; "
            "declare them in the server's settings of the model"
        )
    if len(held.inputs) != 1:
        names = words(", ".join(each.name for each in held.inputs))
        raise ModelError(f"{where}: expected one input, it has {len(held.inputs)}: {names}")
    if len(held.outputs) > MOST_OUTPUTS:
        raise ModelError(
            f"{where}: expected at most {MOST_OUTPUTS} outputs, it has {len(held.outputs)}"
        )
    (given,) = held.inputs
    shape = _shape(where, given)
    dtype = INPUT_DTYPES.get(given.datatype)
    picture = picture_input(where, given.name, shape, dtype, words(given.datatype), layout)
    outputs = tuple(_output(where, each) for each in held.outputs)
    told = [each.name for each in outputs]
    for at, name in enumerate(told):
        if name in told[:at]:
            raise ModelError(f"{where}: two of its outputs have the name {name}")
    return picture, outputs


def dtype_of(end: End) -> str:
    """What a server sends, by numpy's name."""
    return np.dtype(DATATYPES[end.datatype]).name


def most_bytes(held: Held, rows: int) -> int:
    """Of what comes out for so many rows; a bound where an axis is free."""
    total = 0
    for end in held.outputs:
        if any(axis < 0 for axis in end.shape[1:]):
            return MOST_BYTES
        total += rows * math.prod(end.shape[1:]) * np.dtype(DATATYPES[end.datatype]).itemsize
    return min(total, MOST_BYTES)


def read(specs: Sequence[TensorSpec], rows: int, answered: Sequence[Answered]) -> Outputs:
    """What came for `rows` rows, as (rows, …) float32, one per output in their order.

    Raises:
        NoAnswerError: an output is missing, twice there, or not what was told of it.
    """
    came = {each.name: each for each in answered}
    if len(came) != len(answered):
        raise NoAnswerError("it sends an output twice")
    outputs = []
    for spec in specs:
        if spec.name not in came:
            others = words(", ".join(came) or "none")
            raise NoAnswerError(f"it sends no output {spec.name}, but {others}")
        outputs.append(_array(spec, rows, came[spec.name]))
    return tuple(outputs)


def _array(spec: TensorSpec, rows: int, came: Answered) -> np.ndarray[Any, np.dtype[np.float32]]:
    shown = words(f"{'×'.join(map(str, came.shape))} {came.datatype}")
    dtype = DATATYPES.get(came.datatype)
    if dtype is None:
        raise NoAnswerError(f"output {spec.name} is {shown}; expected numbers")
    wanted = (rows, *spec.shape[1:])
    fits = len(came.shape) == len(wanted) and all(
        want in (None, got) and got >= 0 for want, got in zip(wanted, came.shape, strict=True)
    )
    if not fits:
        expected = "×".join("N" if size is None else str(size) for size in wanted)
        raise NoAnswerError(f"output {spec.name} is {shown}; expected {expected}")
    size = math.prod(came.shape) * np.dtype(dtype).itemsize
    got = memoryview(came.data).nbytes
    if got != size:
        raise NoAnswerError(f"output {spec.name}, {shown}, has {got} bytes; expected {size}")
    array = np.frombuffer(came.data, dtype).reshape(came.shape)
    return np.asarray(array, np.float32)


def _shape(where: object, end: End) -> tuple[int | None, ...]:
    sizes = end.shape
    if not end.name.isprintable() or not 0 < len(end.name) <= MOST_NAME:
        raise ModelError(f"{where}: expected names of tensors, got {words(end.name)}")
    if len(sizes) > MOST_AXES or any(size == 0 or size < -1 or size >= 2**31 for size in sizes):
        raise ModelError(
            f"{where}: {end.name} has the shape {list(sizes)[: MOST_AXES + 1]}; expected at most "
            f"{MOST_AXES} axes, each -1 or above 0"
        )
    return tuple(None if size < 0 else size for size in sizes)


def _output(where: object, end: End) -> TensorSpec:
    shape = _shape(where, end)
    if end.datatype not in DATATYPES:
        raise ModelError(
            f"{where}: expected numbers out, output {end.name} is {words(end.datatype)}"
        )
    if not shape:
        raise ModelError(f"{where}: expected a row for each picture, output {end.name} is a number")
    row = math.prod(size or 1 for size in shape[1:])
    if row * np.dtype(DATATYPES[end.datatype]).itemsize > MOST_BYTES:
        raise ModelError(f"{where}: output {end.name} has {row} numbers a row; that is no network")
    return TensorSpec(end.name, shape, "float32")
