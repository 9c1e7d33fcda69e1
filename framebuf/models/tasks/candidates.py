"""Boxes before suppression, and the face that every detector's outputs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from framebuf.errors import InferenceError
from framebuf.models.tasks.rows import require_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs

CANDIDATES = 1000
"""Boxes a frame that go on, best scores first: NanoDet's `nms_pre`."""

LIKELY = 1.1
"""The highest score that a quantised sigmoid may reach; more was never in one."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before suppression: by slot, the best score first. One entry an axis-0 index."""

    slot: NDArray[np.intp]
    class_id: NDArray[np.intp]
    score: NDArray[np.float32]
    xyxy: NDArray[np.float32]
    """(n, 4), corners in pixels of the tensor; they may reach outside."""


class Scored(NamedTuple):
    """What reaches the threshold, without its boxes. One entry an axis-0 index."""

    slot: NDArray[np.intp]
    spot: NDArray[np.intp]
    """Where a head may have a box, counted in the head's own order: a cell, a cell's anchor."""
    class_id: NDArray[np.intp]
    score: NDArray[np.float32]


class Head(Protocol):
    """Outputs that hold boxes: one stride's, or all. Holds no state between calls."""

    @property
    def classes(self) -> int | None:
        """None where the outputs do not show it."""
        ...

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """What reaches the threshold in the first `count` rows.

        Raises:
            InferenceError: a score is NaN, infinite or was never in a sigmoid; rows are missing.
        """
        ...

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """(n, 4) corners in pixels of the tensor; `slot` and `spot` are (n,).

        Raises:
            InferenceError: one of them is NaN or infinite.
        """
        ...


def decode(heads: Sequence[Head], outputs: Outputs, count: int, threshold: float) -> Candidates:
    """Boxes of the first `count` rows whose score reaches the threshold, the best of each.

    Raises:
        InferenceError: a score, or a side of such a box, is NaN or infinite; rows are missing.
    """
    scored = [head.scored(outputs, count, threshold) for head in heads]
    slot, spot, class_id, score = (np.concatenate(each) for each in zip(*scored, strict=True))
    head_of = np.repeat(np.arange(len(heads)), [len(each.slot) for each in scored])
    # boxes are dear: only of the best, and only once the threshold has thinned them
    order = np.lexsort((-score, slot))
    rank = np.arange(len(order)) - np.searchsorted(slot[order], slot[order])
    order = order[rank < CANDIDATES]
    slot, spot, class_id, score = slot[order], spot[order], class_id[order], score[order]
    xyxy = np.empty((len(order), 4), np.float32)
    for at, head in enumerate(heads):
        mine = head_of[order] == at
        xyxy[mine] = head.boxes(outputs, count, slot[mine], spot[mine])
    return Candidates(slot, class_id, score, xyxy)


def best_class(scores: NDArray[np.float32], name: str, threshold: float) -> Scored:
    """The best class of each spot; `scores` are (count, spots, classes), 0 to 1.

    Raises:
        InferenceError: one is NaN, infinite or was never in a sigmoid.
    """
    best = scores.max(axis=2)  # NaN wins a maximum
    require_finite(best, name)
    slot, spot = np.nonzero(best >= threshold)
    return Scored(slot, spot, scores[slot, spot].argmax(axis=1), likely(best[slot, spot], name))


def likely(scores: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The same, at most 1: a quantised sigmoid may reach a little past it.

    Raises:
        InferenceError: they reach far past it, and the boxes would be anything.
    """
    highest = scores.max(initial=0)
    if highest > LIKELY:
        raise InferenceError(
            f"expected scores of 0 to 1 in output {name}, got {highest:.4g}; "
            "export the model with the sigmoid that belongs before it, or correct decoder"
        )
    return np.minimum(scores, np.float32(1))


def corners(xywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4) centre x, centre y, width, height to (n, 4) corners."""
    half = xywh[:, 2:] / 2
    return np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], axis=1)
