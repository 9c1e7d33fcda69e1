"""A frame into one slot of a tensor, and boxes back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from framebuf.errors import ModelError
from framebuf.models.placement import Fit, Placement, Resize, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.tensor import TensorSpec

__all__ = ["Placement", "Preparer", "open_preparer", "require_picture"]

Channels = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

MOST_BYTES = 2**31
"""OpenCV counts in 32 bits: larger pictures end the process."""

GREY = 114
"""The letterbox's border, in every channel, before normalisation."""


class _Scratch(threading.local):
    """A thread's picture on the way to a slot that is not (height, width, 3) uint8."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.picture = np.empty((*shape, 3), np.uint8)
        self.plane = np.empty(shape, np.uint8)


class Preparer:
    """Writes frames into slots of one network's input.

    Any thread may write, each into slots of its own; a thread has a scratch picture of its own.
    """

    def __init__(
        self,
        spec: TensorSpec,
        resize: Resize = "letterbox",
        channels: Channels = "rgb",
        mean: Triple | None = None,
        std: Triple | None = None,
    ) -> None:
        """A float32 input gets (pixel − mean) / std, on the scale of 0 to 255, in `channels` order.

        Raises:
            ModelError: the input is no picture of uint8 or float32, or mean or std is for uint8.
        """
        if spec.layout == "other" or spec.dtype not in ("uint8", "float32"):
            raise ModelError(f"expected a picture of uint8 or float32, the input is {spec}")
        if spec.dtype == "uint8" and (mean or std):
            raise ModelError(f"mean and std are for a float32 input, this one is {spec}", "mean")
        self.spec = spec
        self.resize: Resize = resize
        self.channels: Channels = channels
        self._slot = spec.rows(1)[1:]
        self._size = (spec.width, spec.height)
        self._fit: Fit | None = None
        self._direct = spec.dtype == "uint8" and spec.layout == "NHWC"
        self._tables = _tables(mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0))
        self._scratch = _Scratch((0, 0) if self._direct else (spec.height, spec.width))

    def write(
        self, pixels: NDArray[np.uint8], row: NDArray[Any], size: tuple[int, int] | None = None
    ) -> Placement:
        """Write a frame into a slot, in place.

        `pixels` is (height, width, 3) uint8, BGR, of any size; `row` is one slot of the tensor,
        such as `tensor[3]`, without the batch axis, of the input's dtype. `size`, width and height:
        the pixels are a smaller picture of a frame of that size, which the placement is for.

        Raises:
            TypeError: `pixels` or `row` has another dtype; nothing was written.
            ValueError: `pixels` or `row` has another shape, or OpenCV cannot write into `row`.
        """
        require_picture(pixels)
        if row.shape != self._slot:
            raise ValueError(f"expected a slot of {self._slot}, got {row.shape}")
        if row.dtype != self.spec.dtype:
            raise TypeError(f"expected a slot of {self.spec.dtype}, got {row.dtype}")
        frame_w, frame_h = size or (pixels.shape[1], pixels.shape[0])
        fitted = self._fit
        if (
            fitted is None
            or fitted.placement.frame_width != frame_w
            or fitted.placement.frame_height != frame_h
        ):
            fitted = self._fit = fit(self.resize, (frame_w, frame_h), self._size)
        try:
            if self._direct:
                self._draw(pixels, fitted, row)
            else:
                self._draw(pixels, fitted, self._scratch.picture)
                self._spread(row)
        except cv2.error as error:
            raise ValueError(f"OpenCV cannot write into this slot: {error}") from error
        return fitted.placement

    def _draw(self, pixels: NDArray[np.uint8], fitted: Fit, canvas: NDArray[Any]) -> None:
        """Resize onto (height, width, 3) uint8, with border and channel order."""
        x, y, width, height = fitted.x, fitted.y, fitted.width, fitted.height
        part = canvas[y : y + height, x : x + width]
        _in_place(
            cv2.resize(
                fitted.of(pixels),
                (width, height),
                dst=part,
                interpolation=cv2.INTER_LINEAR,
            ),
            part,
        )
        if self.channels == "rgb":
            _in_place(cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=part), part)
        # the border alone: painting the whole slot first would cost 10 % of the resizing
        if height < canvas.shape[0]:
            canvas[:y] = canvas[y + height :] = GREY
        if width < canvas.shape[1]:
            canvas[:, :x] = canvas[:, x + width :] = GREY

    def _spread(self, row: NDArray[Any]) -> None:
        """The scratch into a slot that is NCHW, or float32, or both."""
        picture, plane = self._scratch.picture, self._scratch.plane
        if self.spec.layout == "NHWC":
            _in_place(cv2.LUT(picture, self._tables, dst=row), row)
            return
        for channel in range(3):
            target = row[channel]
            if self.spec.dtype == "uint8":
                _in_place(cv2.extractChannel(picture, channel, dst=target), target)
                continue
            cv2.extractChannel(picture, channel, dst=plane)
            _in_place(cv2.LUT(plane, self._tables[0, :, channel], dst=target), target)


def require_picture(pixels: NDArray[np.uint8]) -> None:
    """Let nothing pass that is no frame: (height, width, 3) uint8.

    Raises:
        TypeError: it has another dtype, or is no array.
        ValueError: it has another shape.
    """
    if not isinstance(pixels, np.ndarray):
        raise TypeError(f"expected a frame as a numpy array, got {type(pixels).__name__}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"expected a frame of (height, width, 3), got {pixels.shape}")
    if pixels.dtype != np.uint8:
        raise TypeError(f"expected a frame of uint8, got {pixels.dtype}")
    if pixels.size >= MOST_BYTES:
        raise ValueError(f"expected a frame of less than 2 GiB, got {pixels.shape}")


def open_preparer(model: Model, spec: TensorSpec) -> Preparer:
    """The Preparer that the configuration asks for.

    Raises:
        ModelError: a float input has no mean and std, or a uint8 input has some.
    """
    if spec.dtype == "float32" and (model.mean is None or model.std is None):
        raise ModelError(
            f"model {model.name}: float input {spec} needs mean and std, e.g. "
            "mean = [123.675, 116.28, 103.53], std = [58.395, 57.12, 57.375]",
            "mean",
        )
    try:
        return Preparer(spec, resize_of(model), model.channels, model.mean, model.std)
    except ModelError as error:
        raise ModelError(f"model {model.name}: {error}", error.key) from error


def resize_of(model: Model) -> Resize:
    """As configured; else what is usual for the model's task."""
    if model.resize is not None:
        return model.resize
    return "center-crop" if model.task in ("classify", "embed") else "letterbox"


def _tables(mean: Triple, std: Triple) -> NDArray[np.float32]:
    """(1, 256, 3) float32: each pixel value normalised, once and for all."""
    values = np.arange(256, dtype=np.float64)[:, None]
    table: NDArray[np.float32] = ((values - mean) / std).astype(np.float32)[None]
    return table


def _in_place(result: object, wanted: NDArray[Any]) -> None:
    # OpenCV returns a new array, silently, where it cannot write into the given one
    if result is not wanted:
        raise RuntimeError("OpenCV did not write into the slot; its picture is not in the tensor")
