"""Many pictures on one sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from framebuf.service.drawing import FONT, drawn, plain, text_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.results import Detection
    from framebuf.service.drawing import Picture

_TILE = (440, 330)
"""Width, height of a picture on the sheet."""
_GAP, _CAPTION = 16, 34
_PAPER, _INK, _PALE = (30, 28, 26), (245, 245, 245), (150, 150, 150)


def sheet(tiles: Sequence[tuple[Picture, Sequence[Detection], str, str]]) -> Picture:
    """All on one page: each a picture, its detections, its name and what was found."""
    columns = max(1, min(3, len(tiles)))
    rows = max(1, math.ceil(len(tiles) / columns))
    across, down = _TILE[0] + _GAP, _TILE[1] + _CAPTION + _GAP
    page = np.full((rows * down + _GAP, columns * across + _GAP, 3), _PAPER, np.uint8)
    for at, (picture, detections, name, found) in enumerate(tiles):
        row, column = divmod(at, columns)
        _place(page, _GAP + column * across, _GAP + row * down, picture, detections)
        left, base = _GAP + column * across, _GAP + row * down + _TILE[1] + 23
        cv2.putText(page, plain(name), (left, base), FONT, 0.5, _PALE, 1, cv2.LINE_AA)
        room = _TILE[0] - text_size(plain(name) + "  ", 0.5, 1)[0]
        shown = _shortened(plain(found), room, 0.5)
        right = left + _TILE[0] - text_size(shown, 0.5, 1)[0]
        cv2.putText(page, shown, (right, base), FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return page


def _place(
    page: Picture, x: int, y: int, picture: Picture, detections: Sequence[Detection]
) -> None:
    height, width = picture.shape[:2]
    # Scaled before it is drawn on: the labels of every tile have one size
    tile = drawn(picture, detections, min(_TILE[0] / width, _TILE[1] / height))
    high, wide = min(tile.shape[0], _TILE[1]), min(tile.shape[1], _TILE[0])
    x, y = x + (_TILE[0] - wide) // 2, y + (_TILE[1] - high) // 2
    page[y : y + high, x : x + wide] = tile[:high, :wide]


def _shortened(text: str, room: int, scale: float) -> str:
    while len(text) > 1 and text_size(text, scale, 1)[0] > room:
        text = text[:-4] + "..."
    return text
