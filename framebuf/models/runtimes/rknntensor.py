"""One tensor of a .rknn file: what goes in, or comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from framebuf.models.runtimes.flatbuffer import Table
    from framebuf.models.tensor import Layout

DTYPE, SHAPE, NAME, SCALE, ZERO_POINT = 0, 4, 5, 10, 11
"""Fields of its table."""

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
"""ONNX's numbers for element types (onnx.proto, TensorProto.DataType)."""

MOST_NAME = 1024
MOST_AXES = 16
"""RKNN_MAX_DIMS of the vendor's rknn_api.h."""
MOST_CHANNELS = 2**16
"""Scales of one tensor."""
MOST_BYTES = 2**31
"""Of one tensor, in float32: what the runtime gives back."""


@dataclass(frozen=True, slots=True)
class RknnTensor(TensorSpec):
    """One end of the network as the file stores it; what the runtime takes is another dtype."""

    mean: tuple[float, ...] | None = None
    """Of an input, a channel: the NPU itself computes (pixel − mean) / std. None: not told."""

    std: tuple[float, ...] | None = None


def rknn_tensor(
    table: Table, batch: int, told: dict[str, Any], attributes: Any, *, picture: bool
) -> RknnTensor:
    """Read a tensor's table; `told` is what the file says of such ends, `attributes` its maker.

    Raises:
        ModelError: it is broken.
    """
    buffer = table.buffer
    name = table.text(NAME, MOST_NAME)
    number = table.scalar(DTYPE, "<B") or 0
    if number not in DTYPES:
        raise buffer.broken(f"tensor {name!r} has element type {number}; known are {list(DTYPES)}")
    shape = tuple(map(int, table.numbers(SHAPE, "I", MOST_AXES)))
    if not shape or 0 in shape or 4 * batch * math.prod(shape) > MOST_BYTES:
        raise buffer.broken(f"tensor {name!r} of batch {batch} has shape {shape}")
    shape = (batch * shape[0], *shape[1:])
    words = told.get(name)
    layout: Layout = "other"
    if len(shape) == 4:
        layout = "NHWC" if isinstance(words, dict) and words.get("layout") == "NHWC" else "NCHW"
        if picture:  # the file has (1, channels, height, width), the runtime takes NHWC
            shape, layout = (shape[0], *shape[2:], shape[1]), "NHWC"
    scales = table.numbers(SCALE, "f", MOST_CHANNELS)
    zero_points = table.numbers(ZERO_POINT, "i", MOST_CHANNELS)
    one = len(scales) == len(zero_points) == 1 and math.isfinite(scales[0])
    own = attributes.get(name) if isinstance(attributes, dict) else None
    own = own if isinstance(own, dict) else {}
    return RknnTensor(
        name, shape, DTYPES[number], layout,
        scales[0] if one else None, int(zero_points[0]) if one else None,
        _floats(own.get("mean")), _floats(own.get("std")),
    )  # fmt: skip


def _floats(given: Any) -> tuple[float, ...] | None:
    if not isinstance(given, list) or not given:
        return None
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in given):
        return None
    return tuple(float(each) for each in cast("list[float]", given))
