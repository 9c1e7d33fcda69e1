"""The one picture that goes into a network, as far as its shape shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from framebuf.errors import ModelError
from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from framebuf.models.tensor import Layout


def picture_input(
    where: object,
    name: str,
    shape: tuple[int | None, ...],
    dtype: str | None,
    said: str,
    layout: Literal["nchw", "nhwc"] | None,
) -> TensorSpec:
    """An input as framebuf fills it; `layout` overrides what its shape says.

    `where` is the model's place, `dtype` numpy's name of it, None where that is not filled, `said`
    the model's own word for it.

    Raises:
        ModelError: it is not one picture of uint8 or float32.
    """
    shown = f"{name} {'×'.join('N' if size is None else str(size) for size in shape)}"
    if dtype is None:
        raise ModelError(f"{where}: expected an input of uint8 or float, {shown} is {said}")
    if len(shape) != 4:
        raise ModelError(f"{where}: expected an input of four axes, got {shown}")
    possible: tuple[Layout, ...] = ("NCHW", "NHWC")
    if layout is not None:
        possible = ("NCHW",) if layout == "nchw" else ("NHWC",)
    fitting = [each for each in possible if shape[1 if each == "NCHW" else 3] == 3]
    if not fitting:
        raise ModelError(f"{where}: expected 3 channels in {' or '.join(possible)}, got {shown}")
    if len(fitting) > 1:
        raise ModelError(
            f'{where}: {shown} may be NCHW or NHWC; say layout = "nchw" or "nhwc"', "layout"
        )
    if None in shape[1:]:
        raise ModelError(f"{where}: expected a fixed height and width, got {shown}; export it so")
    return TensorSpec(name, shape, dtype, fitting[0])
