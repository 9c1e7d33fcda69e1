"""Boxes and labels on a picture."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from framebuf.results import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.results import Findings

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""
Colour = tuple[int, int, int]
"""B, G, R."""
Tag = tuple[int, int, int, int]
"""Left, top, right, bottom of a label on a picture."""

SMALLEST = 640
"""Pixels of the longer side; smaller pictures are enlarged, so that the labels can be read."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
_STEP = 0.2360679775
"""√5 − 2, of a turn: hues of different classes never meet, common ones of COCO keep apart."""


def annotated(picture: Picture, detections: Sequence[Detection]) -> Picture:
    """A copy with a box, label and score for each detection, the best on top."""
    height, width = picture.shape[:2]
    return drawn(picture, detections, max(1.0, SMALLEST / max(height, width)))


def shown(picture: Picture, findings: Findings) -> Picture:
    """A copy with what was found in it: boxes, or the best class in the corner."""
    detections = findings.detections or ()
    if findings.classes:
        best = findings.classes[0]
        detections = (Detection(best.label, best.class_id, best.score, (0.0, 0.0, 0.0, 0.0)),)
    return annotated(picture, detections)


def colour(class_id: int) -> Colour:
    """The same for the same class, always."""
    red, green, blue = colorsys.hsv_to_rgb((0.34 + class_id * _STEP) % 1.0, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def drawn(picture: Picture, detections: Sequence[Detection], scale: float) -> Picture:
    """As `annotated`, at `scale` times the size."""
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas: Picture = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    line = max(2, round(max(size) / 320))
    for detection in reversed(detections):
        x, y, w, h = (side * scale for side in detection.box)
        corners = (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)
        cv2.rectangle(canvas, *corners, colour(detection.class_id), line, cv2.LINE_AA)
    tags: list[Tag] = []
    for detection in detections:  # after all boxes: a tag covers boxes, no box a tag
        x, y = (round(side * scale) for side in detection.box[:2])
        tags.append(_tag(canvas, x - line // 2, y, detection, tags))
    return canvas


def _tag(canvas: Picture, x: int, y: int, detection: Detection, others: Sequence[Tag]) -> Tag:
    """Label and score above the box's upper left corner, or below where there is no room."""
    height, width = canvas.shape[:2]
    text = f"{plain(detection.label)} {detection.score:.2f}"
    scale = max(0.55, min(3.0, max(height, width) / 900))
    thickness = max(1, round(2 * scale))
    wide, high = text_size(text, scale, thickness)
    pad = max(4, round(high * 0.4))
    x = max(0, min(x, width - wide - 2 * pad))
    top = y - high - 2 * pad
    top = max(0, y) if top < 0 else top
    tag = (x, top, x + wide + 2 * pad, top + high + 2 * pad)
    while (over := next((other for other in others if _overlap(tag, other)), None)) is not None:
        top = over[3]  # always further down, so this ends
        tag = (x, top, tag[2], top + high + 2 * pad)
    fill = colour(detection.class_id)
    cv2.rectangle(canvas, tag[:2], tag[2:], fill, cv2.FILLED)
    ink = (0, 0, 0) if _bright(fill) else (255, 255, 255)
    origin = (x + pad, top + pad + high)
    cv2.putText(canvas, text, origin, FONT, scale, ink, thickness, cv2.LINE_AA)
    return tag


def _overlap(a: Tag, b: Tag) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    """Width and height above the base line."""
    (width, height), _ = cv2.getTextSize(text, FONT, scale, thickness)
    return width, height


def plain(text: str) -> str:
    """What OpenCV's fonts can write."""
    return text.encode("ascii", "replace").decode("ascii")


def _bright(fill: Colour) -> bool:
    """Whether black is easier to read on it (ITU-R BT.601 luma)."""
    blue, green, red = fill
    return 0.299 * red + 0.587 * green + 0.114 * blue > 110
