"""Where a frame lies in the tensor: letterbox, stretch and crop, and boxes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.frames import Part

Resize = Literal["letterbox", "stretch", "center-crop"]

CROP = 224 / 256
"""The part that center-crop keeps: 224 of a short side resized to 256."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame lies in the tensor: frame pixel = tensor pixel · scale + offset.

    Of a part of a frame, its size and place: boxes stay in that part, in pixels of the frame.
    """

    frame_width: int
    """Of the frame, or of the part of it that the model sees."""
    frame_height: int
    scale_x: float
    """Frame pixels in one pixel of the tensor."""
    scale_y: float
    offset_x: float
    """Frame pixels; below zero where a border is left of the frame."""
    offset_y: float
    left: int = 0
    """Frame pixels: where the part begins."""
    top: int = 0

    def shifted(self, x: int, y: int) -> Placement:
        """The same for a part of a frame whose upper left corner is `x`, `y`."""
        return replace(
            self,
            offset_x=self.offset_x + x,
            offset_y=self.offset_y + y,
            left=self.left + x,
            top=self.top + y,
        )

    def boxes_to_frame(self, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 4) float32 corners in tensor pixels to frame pixels, clipped to what is seen."""
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        start = np.array([self.left, self.top] * 2, np.float32)
        end = start + np.array([self.frame_width, self.frame_height] * 2, np.float32)
        boxes: NDArray[np.float32] = np.clip(xyxy * scale + offset, start, end)
        return boxes


@dataclass(frozen=True, slots=True)
class Fit:
    """Which part of a frame goes to which part of the tensor."""

    rows: slice
    """Of the frame."""
    columns: slice
    x: int
    """Left edge in the tensor, pixels."""
    y: int
    width: int
    """Size in the tensor, pixels."""
    height: int
    placement: Placement

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part, of the frame or of a smaller picture of it; a view."""
        place = self.placement
        high, wide = pixels.shape[:2]
        if (high, wide) == (place.frame_height, place.frame_width):
            return pixels[self.rows, self.columns]
        rows = _scaled(self.rows, high, place.frame_height)
        return pixels[rows, _scaled(self.columns, wide, place.frame_width)]


def halvings(
    resize: Resize, frame: tuple[int, int], part: Part | None, tensor: tuple[int, int]
) -> int:
    """How often a frame's sides may be halved, three times at most, and still cover the tensor.

    `part`: what the model sees of the frame; it keeps its edges. Sizes are width, height.
    """
    x, y, width, height = (
        (0, 0, *frame) if part is None else (part.x, part.y, part.width, part.height)
    )
    fitted = fit(resize, (width, height), tensor)
    seen_w = fitted.columns.stop - fitted.columns.start
    seen_h = fitted.rows.stop - fitted.rows.start
    for times in (3, 2, 1):
        parts = 2**times
        covers = seen_w >= parts * fitted.width and seen_h >= parts * fitted.height
        if covers and not (x % parts or y % parts):
            return times
    return 0


def _scaled(part: slice, pixels: int, of: int) -> slice:
    start = part.start * pixels // of
    return slice(start, max(start + 1, -(-part.stop * pixels // of)))


def fit(resize: Resize, frame: tuple[int, int], tensor: tuple[int, int]) -> Fit:
    """Place a frame in a tensor; both sizes are width, height in pixels.

    Letterbox rounds the resized size and puts the odd border pixel to the right and bottom, as
    rknn_model_zoo does.
    """
    (frame_w, frame_h), (width, height) = frame, tensor
    if resize == "letterbox":
        scale = min(width / frame_w, height / frame_h)
        new_w = min(width, max(1, round(frame_w * scale)))
        new_h = min(height, max(1, round(frame_h * scale)))
        x, y = (width - new_w) // 2, (height - new_h) // 2
        scale_x, scale_y = frame_w / new_w, frame_h / new_h
        place = Placement(frame_w, frame_h, scale_x, scale_y, -x * scale_x, -y * scale_y)
        return Fit(slice(0, frame_h), slice(0, frame_w), x, y, new_w, new_h, place)
    crop_w, crop_h = frame_w, frame_h
    if resize == "center-crop":
        scale = min(frame_w / width, frame_h / height) * CROP
        crop_w = min(frame_w, max(1, round(width * scale)))
        crop_h = min(frame_h, max(1, round(height * scale)))
    x, y = (frame_w - crop_w) // 2, (frame_h - crop_h) // 2
    place = Placement(frame_w, frame_h, crop_w / width, crop_h / height, x, y)
    return Fit(slice(y, y + crop_h), slice(x, x + crop_w), 0, 0, width, height, place)
