"""What NanoDet's outputs mean (RangiLyu/nanodet, the GFL head).

A head looks at the picture in cells of `stride` pixels, row by row. It has two outputs: scores
(batch, cells, classes), 0 to 1, and sides (batch, cells, 4 · bins). The sides are left, top, right
and bottom; each is a distribution as logits: the mean of 0, 1, … under its softmax, times the
stride, is the distance in pixels from the cell's centre, ((column + 0.5) · stride, …).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import ModelError
from framebuf.models.tasks.rows import Output, require_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec

NAME = re.compile(r"(cls|reg|dis)\D*(\d+)", re.IGNORECASE)
"""`cls8`, `reg8`, and NanoDet's own `cls_pred_stride_8`, `dis_pred_stride_8`."""

STRIDES = (8, 16, 32, 64)
SIDES = (32, 44)
"""4 · bins of NanoDet-plus and NanoDet, by which unnamed outputs are told apart."""

CANDIDATES = 1000
"""Boxes a frame that go on, best scores first: NanoDet's `nms_pre`."""


@dataclass(frozen=True, slots=True)
class Head:
    """One stride's pair of outputs."""

    stride: int
    """Pixels."""
    columns: int
    """Cells in a row."""
    scores: Output
    sides: Output


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before suppression: by slot, the best score first. One entry an axis-0 index."""

    slot: NDArray[np.intp]
    class_id: NDArray[np.intp]
    score: NDArray[np.float32]
    xyxy: NDArray[np.float32]
    """(n, 4), corners in pixels of the tensor; they may reach outside."""


def find_heads(
    outputs: tuple[TensorSpec, ...], picture: TensorSpec | None = None
) -> tuple[tuple[Head, ...], int]:
    """The heads by their outputs' names or shapes, the smallest stride first, and the classes.

    Raises:
        ModelError: the outputs are not NanoDet's.
    """
    pairs = _named(outputs) or _shaped(outputs, picture)
    found = [
        _head(stride, Output.of(scores, outputs[scores]), Output.of(sides, outputs[sides]), picture)
        for stride, (scores, sides) in sorted(pairs.items())
    ]
    heads = tuple(head for head in found if head is not None)
    classes = {head.scores.row[1] for head in heads}
    if len(heads) != len(found) or len(classes) != 1:
        raise ModelError(
            "expected NanoDet's outputs, cls8 N×cells×classes, reg8 N×cells×44 and so on for "
            f"strides 16 and 32, got {'; '.join(map(str, outputs))}; check decoder and the export"
        )
    return heads, classes.pop()


def decode(outputs: Outputs, heads: tuple[Head, ...], count: int, threshold: float) -> Candidates:
    """Boxes of the first `count` rows whose score reaches the threshold, one a cell and class.

    Raises:
        InferenceError: a score, or a side of such a box, is NaN or infinite; rows are missing.
    """
    scored = [_above(head.scores, outputs, count, threshold) for head in heads]
    slot, cell, class_id, score = (np.concatenate(each) for each in zip(*scored, strict=True))
    head_of = np.repeat(np.arange(len(heads)), [len(each[0]) for each in scored])
    # sides are dear: only of the best, and only once the threshold has thinned them
    order = np.lexsort((-score, slot))
    rank = np.arange(len(order)) - np.searchsorted(slot[order], slot[order])
    order = order[rank < CANDIDATES]
    slot, cell, class_id, score = slot[order], cell[order], class_id[order], score[order]
    xyxy = np.empty((len(order), 4), np.float32)
    for at, head in enumerate(heads):
        mine = head_of[order] == at
        sides = head.sides.rows(outputs, count)[slot[mine], cell[mine]]
        require_finite(sides, head.sides.name, slot[mine])
        xyxy[mine] = _boxes(sides, cell[mine], head)
    return Candidates(slot, class_id, score, xyxy)


def _above(
    output: Output, outputs: Outputs, count: int, threshold: float
) -> tuple[NDArray[Any], ...]:
    """Slot, cell, class and score of what reaches the threshold."""
    scores = output.rows(outputs, count)
    best = scores.max(axis=2)  # NaN wins a maximum
    require_finite(best, output.name)
    slot, cell = np.nonzero(best >= threshold)
    some = scores[slot, cell]
    pick, class_id = np.nonzero(some >= threshold)
    # a quantised sigmoid may reach a little past 1
    return slot[pick], cell[pick], class_id, np.minimum(some[pick, class_id], np.float32(1))


def _boxes(sides: NDArray[np.float32], cell: NDArray[np.intp], head: Head) -> NDArray[np.float32]:
    """(n, 4 · bins) logits of n cells to (n, 4) corners in pixels of the tensor."""
    logits = sides.reshape(len(sides), 4, head.sides.row[1] // 4)
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    bins = np.arange(logits.shape[2], dtype=np.float32)
    distance = powers @ bins / powers.sum(axis=2) * np.float32(head.stride)
    row, column = np.divmod(cell, head.columns)
    centre = (np.stack([column, row], axis=1).astype(np.float32) + np.float32(0.5)) * head.stride
    return np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], axis=1)


def _named(outputs: tuple[TensorSpec, ...]) -> dict[int, tuple[int, int]]:
    """Stride to its two outputs, by name; empty where the names do not tell."""
    found: dict[tuple[bool, int], int] = {}
    for at, output in enumerate(outputs):
        if match := NAME.fullmatch(output.name):
            found[match[1].lower() == "cls", int(match[2])] = at
    strides = {stride for _, stride in found}
    if 0 in strides or len(found) != 2 * len(strides):
        return {}
    return {stride: (found[True, stride], found[False, stride]) for stride in strides}


def _shaped(
    outputs: tuple[TensorSpec, ...], picture: TensorSpec | None
) -> dict[int, tuple[int, int]]:
    """The same by shape: the stride that gives the picture so many cells."""
    pairs: dict[int, tuple[int, int]] = {}
    if picture is None:
        return pairs
    for stride in STRIDES:
        cells = math.prod(_cells(picture, stride))
        mine = [at for at, each in enumerate(outputs) if each.shape[1:2] == (cells,)]
        sides = [at for at in mine if outputs[at].shape[-1] in SIDES]
        if len(mine) == 2 and len(sides) == 1:
            (scores,) = set(mine) - set(sides)
            pairs[stride] = (scores, sides[0])
    return pairs


def _cells(picture: TensorSpec, stride: int) -> tuple[int, int]:
    """Columns and lines of cells that cover the picture."""
    return -(-picture.width // stride), -(-picture.height // stride)


def _head(stride: int, scores: Output, sides: Output, picture: TensorSpec | None) -> Head | None:
    """A pair whose shapes agree; without `picture` that must be square."""
    if len(scores.row) != 2 or len(sides.row) != 2:
        return None
    (cells, _), (others, bins) = scores.row, sides.row
    side = math.isqrt(cells)
    columns, lines = (side, side) if picture is None else _cells(picture, stride)
    if not cells == others == columns * lines or bins % 4 or not bins:
        return None
    return Head(stride, columns, scores, sides)
