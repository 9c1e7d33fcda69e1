"""The objects in each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from framebuf.errors import InferenceError
from framebuf.models.tasks.candidates import decode
from framebuf.results import Detection, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs
    from framebuf.models.tasks.candidates import Head


class Detect:
    """Boxes above a threshold, the best of overlapping ones of a class. Any thread may call it."""

    def __init__(
        self, heads: Sequence[Head], labels: tuple[str, ...] | None, threshold: float, iou: float
    ) -> None:
        """Without `labels` the class ids are told as text."""
        self._heads = heads
        self.labels = labels
        self._threshold = threshold
        self._iou = iou

    def retune(self, threshold: float, iou: float) -> None:
        """From the next batch on. Any thread: what is read now keeps what it began with."""
        self._threshold = threshold
        self._iou = iou

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings]:
        """As `Task.read`: `detections`, best score first, in pixels of the frame."""
        found = decode(self._heads, outputs, len(placements), self._threshold)
        ends = np.searchsorted(found.slot, np.arange(len(placements) + 1))
        findings = []
        for slot, placement in enumerate(placements):
            mine = slice(ends[slot], ends[slot + 1])
            # clipped first, so that what is published overlaps no more than iou says
            boxes = placement.boxes_to_frame(found.xyxy[mine])
            score, class_id = found.score[mine], found.class_id[mine]
            kept = suppress(boxes, score, class_id, self._iou)
            each = (self._detection(boxes[i], int(class_id[i]), float(score[i])) for i in kept)
            findings.append(Findings(detections=tuple(one for one in each if one is not None)))
        return findings

    def _detection(
        self, xyxy: NDArray[np.float32], class_id: int, score: float
    ) -> Detection | None:
        """Rounded to a tenth of a pixel; None where nothing of the box is in the frame."""
        left, top, right, bottom = (round(float(edge), 1) for edge in xyxy)
        box = (left, top, round(right - left, 1), round(bottom - top, 1))
        if box[2] <= 0 or box[3] <= 0:
            return None
        return Detection(self._label(class_id), class_id, round(score, 4), box)

    def _label(self, class_id: int) -> str:
        if self.labels is None:
            return str(class_id)
        if not 0 <= class_id < len(self.labels):
            raise InferenceError(
                f"expected a class of the {len(self.labels)} labels, the model found class "
                f"{class_id}; give the list that the model was trained with"
            )
        return self.labels[class_id]


def suppress(
    xyxy: NDArray[np.float32],
    score: NDArray[np.float32],
    class_id: NDArray[np.intp],
    iou: float,
) -> NDArray[np.intp]:
    """Non-maximum suppression within a class: the rows that stay, in their order.

    Boxes are (n, 4) corners, not below zero, best score first.
    """
    if not len(score):
        return np.empty(0, np.intp)
    xywh = xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), score.tolist(), class_id.tolist(), 0.0, iou)
    # OpenCV gives () for nothing, and columns in some versions
    return np.sort(np.asarray(kept, np.intp).reshape(-1))
