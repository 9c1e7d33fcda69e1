"""Pictures that no network takes for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.tensor import TensorSpec

CELLS = 6
"""Of a picture: so many random colours across and down, blended."""


def patterns(count: int, spec: TensorSpec) -> NDArray[Any]:
    """(count, …) in the dtype and layout of an input, always the same."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (count, CELLS, CELLS, 3), np.uint8)
    size = (spec.width, spec.height)
    blended = [cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in colours]
    pictures: NDArray[Any] = np.stack(blended)
    if spec.layout == "NCHW":
        pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    if spec.dtype != "uint8":
        pictures = (pictures / 127.5 - 1).astype(spec.dtype)
    return pictures
