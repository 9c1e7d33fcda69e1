"""What NanoDet's outputs mean (RangiLyu/nanodet, the GFL head).

A head has two outputs: scores (batch, cells, classes), 0 to 1, and the sides of the boxes (batch,
cells, 4 · bins), distributions as `Grid.boxes` reads them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from framebuf.models.tasks.candidates import Scored, likely
from framebuf.models.tasks.grid import Grid
from framebuf.models.tasks.rows import Output, require_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec

NAME = re.compile(r"(cls|reg|dis)\D*(\d+)", re.IGNORECASE)
"""`cls8`, `reg8`, and NanoDet's own `cls_pred_stride_8`, `dis_pred_stride_8`."""

STRIDES = (8, 16, 32, 64)
SIDES = (32, 44)
"""4 · bins of NanoDet-plus and NanoDet, by which unnamed outputs are told apart."""

EXPECTED = (
    "cls8 N×cells×classes, reg8 N×cells×44 and so on for strides 16 and 32, named so or of the "
    "cells that cover the input"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One stride's two outputs. A spot is a cell; each of its classes may be a box."""

    grid: Grid
    scores: Output
    sides: Output

    @property
    def classes(self) -> int:
        return self.scores.row[1]

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        scores = self.scores.rows(outputs, count)
        best = scores.max(axis=2)  # NaN wins a maximum
        require_finite(best, self.scores.name)
        slot, cell = np.nonzero(best >= threshold)
        some = likely(scores[slot, cell], self.scores.name)
        pick, class_id = np.nonzero(some >= threshold)
        return Scored(slot[pick], cell[pick], class_id, some[pick, class_id])

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        sides = self.sides.rows(outputs, count)[slot, spot]
        require_finite(sides, self.sides.name, slot)
        return self.grid.boxes(spot, sides)


def find(outputs: tuple[TensorSpec, ...], picture: TensorSpec | None) -> Sequence[Pair]:
    """The heads by their outputs' names or shapes; empty where they are not NanoDet's."""
    pairs = _named(outputs) or _shaped(outputs, picture)
    found = [
        _pair(stride, Output.of(scores, outputs[scores]), Output.of(sides, outputs[sides]), picture)
        for stride, (scores, sides) in sorted(pairs.items())
    ]
    heads = tuple(head for head in found if head is not None)
    if len(heads) != len(found) or len({head.classes for head in heads}) != 1:
        return ()
    return heads


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
        cells = Grid.over(picture, stride).cells
        mine = [at for at, each in enumerate(outputs) if each.shape[1:2] == (cells,)]
        sides = [at for at in mine if outputs[at].shape[-1] in SIDES]
        if len(mine) == 2 and len(sides) == 1:
            (scores,) = set(mine) - set(sides)
            pairs[stride] = (scores, sides[0])
    return pairs


def _pair(stride: int, scores: Output, sides: Output, picture: TensorSpec | None) -> Pair | None:
    """A pair whose shapes agree; without `picture` that must be square."""
    if len(scores.row) != 2 or len(sides.row) != 2:
        return None
    (cells, _), (others, bins) = scores.row, sides.row
    side = math.isqrt(cells)
    grid = Grid(stride, side, side) if picture is None else Grid.over(picture, stride)
    if not cells == others == grid.cells or bins % 4 or not bins:
        return None
    return Pair(grid, scores, sides)
