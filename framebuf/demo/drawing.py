"""Boxes and labels on a picture, and many pictures on one sheet."""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""
Colour = tuple[int, int, int]
"""B, G, R."""
Tag = tuple[int, int, int, int]
"""Left, top, right, bottom of a label on a picture."""

SMALLEST = 640
"""Pixels of the longer side; smaller pictures are enlarged, so that the labels can be read."""
_TILE = (440, 330)
"""Width, height of a picture on the sheet."""
_GAP, _CAPTION = 16, 34
_PAPER, _INK, _PALE = (30, 28, 26), (245, 245, 245), (150, 150, 150)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STEP = 0.2360679775
"""√5 − 2, of a turn: hues of different classes never meet, common ones of COCO keep apart."""


def annotated(picture: Picture, detections: Sequence[dict[str, Any]]) -> Picture:
    """A copy with a box, label and score for each detection, the best on top."""
    height, width = picture.shape[:2]
    return _drawn(picture, detections, max(1.0, SMALLEST / max(height, width)))


def sheet(tiles: Sequence[tuple[Picture, Sequence[dict[str, Any]], str, str]]) -> Picture:
    """All on one page: each a picture, its detections, its name and what was found."""
    columns = max(1, min(3, len(tiles)))
    rows = max(1, math.ceil(len(tiles) / columns))
    across, down = _TILE[0] + _GAP, _TILE[1] + _CAPTION + _GAP
    page = np.full((rows * down + _GAP, columns * across + _GAP, 3), _PAPER, np.uint8)
    for at, (picture, detections, name, found) in enumerate(tiles):
        row, column = divmod(at, columns)
        _place(page, _GAP + column * across, _GAP + row * down, picture, detections)
        left, base = _GAP + column * across, _GAP + row * down + _TILE[1] + 23
        cv2.putText(page, _plain(name), (left, base), _FONT, 0.5, _PALE, 1, cv2.LINE_AA)
        room = _TILE[0] - _text_size(_plain(name) + "  ", 0.5, 1)[0]
        shown = _shortened(_plain(found), room, 0.5)
        right = left + _TILE[0] - _text_size(shown, 0.5, 1)[0]
        cv2.putText(page, shown, (right, base), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return page


def colour(class_id: int) -> Colour:
    """The same for the same class, always."""
    red, green, blue = colorsys.hsv_to_rgb((0.34 + class_id * _STEP) % 1.0, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def _place(
    page: Picture, x: int, y: int, picture: Picture, detections: Sequence[dict[str, Any]]
) -> None:
    height, width = picture.shape[:2]
    # Scaled before it is drawn on: the labels of every tile have one size
    tile = _drawn(picture, detections, min(_TILE[0] / width, _TILE[1] / height))
    high, wide = min(tile.shape[0], _TILE[1]), min(tile.shape[1], _TILE[0])
    x, y = x + (_TILE[0] - wide) // 2, y + (_TILE[1] - high) // 2
    page[y : y + high, x : x + wide] = tile[:high, :wide]


def _drawn(picture: Picture, detections: Sequence[dict[str, Any]], scale: float) -> Picture:
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas: Picture = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    line = max(2, round(max(size) / 320))
    for detection in reversed(detections):
        x, y, w, h = (side * scale for side in detection["box"])
        corners = (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)
        cv2.rectangle(canvas, *corners, colour(detection["class_id"]), line, cv2.LINE_AA)
    tags: list[Tag] = []
    for detection in detections:  # after all boxes: a tag covers boxes, no box a tag
        x, y = (round(side * scale) for side in detection["box"][:2])
        tags.append(_tag(canvas, x - line // 2, y, detection, tags))
    return canvas


def _tag(canvas: Picture, x: int, y: int, detection: dict[str, Any], others: Sequence[Tag]) -> Tag:
    """Label and score above the box's upper left corner, or below where there is no room."""
    height, width = canvas.shape[:2]
    text = f"{_plain(detection['label'])} {detection['score']:.2f}"
    scale = max(0.55, min(3.0, max(height, width) / 900))
    thickness = max(1, round(2 * scale))
    wide, high = _text_size(text, scale, thickness)
    pad = max(4, round(high * 0.4))
    x = max(0, min(x, width - wide - 2 * pad))
    top = y - high - 2 * pad
    top = max(0, y) if top < 0 else top
    tag = (x, top, x + wide + 2 * pad, top + high + 2 * pad)
    while (over := next((other for other in others if _overlap(tag, other)), None)) is not None:
        top = over[3]  # always further down, so this ends
        tag = (x, top, tag[2], top + high + 2 * pad)
    fill = colour(detection["class_id"])
    cv2.rectangle(canvas, tag[:2], tag[2:], fill, cv2.FILLED)
    ink = (0, 0, 0) if _bright(fill) else (255, 255, 255)
    origin = (x + pad, top + pad + high)
    cv2.putText(canvas, text, origin, _FONT, scale, ink, thickness, cv2.LINE_AA)
    return tag


def _overlap(a: Tag, b: Tag) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    """Width and height above the base line."""
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    return width, height


def _shortened(text: str, room: int, scale: float) -> str:
    while len(text) > 1 and _text_size(text, scale, 1)[0] > room:
        text = text[:-4] + "..."
    return text


def _plain(text: str) -> str:
    """What OpenCV's fonts can write."""
    return text.encode("ascii", "replace").decode("ascii")


def _bright(fill: Colour) -> bool:
    """Whether black is easier to read on it (ITU-R BT.601 luma)."""
    blue, green, red = fill
    return 0.299 * red + 0.587 * green + 0.114 * blue > 110
