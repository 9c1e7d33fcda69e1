"""What the outputs of YOLOv8, v9 and v11 mean (ultralytics), as two exports give them.

rknn_model_zoo: for each stride the sides of a box, (batch, 4 · 16, lines, columns), distributions
as `Grid.boxes` reads them; one score a class, (batch, classes, lines, columns), in a sigmoid; and
perhaps their sum, (batch, 1, lines, columns), which is not needed here. v10's are read as they are.

Ultralytics: one output, (batch, 4 + classes, cells), boxes as centre and size in pixels, scores in
a sigmoid; or the same with its axes turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.tasks.candidates import Scored, best_class, corners
from framebuf.models.tasks.grid import Grid, cells, of_maps
from framebuf.models.tasks.rows import Output, require_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tasks.candidates import Head
    from framebuf.models.tensor import TensorSpec

EXPECTED = (
    "for each of the strides 8, 16 and 32 one output N×64×lines×columns and one "
    "N×80×lines×columns, perhaps with their sums N×1×lines×columns (rknn_model_zoo), or one output "
    "N×84×8400, N×8400×84 (Ultralytics) or N×300×6 (the same with suppression, and v10); 80 are "
    "the classes, 84 is 4 + 80, 8400 the cells of 640×640"
)

SIDES = 64
"""Channels of a box: four distributions of 16 bins."""


@dataclass(frozen=True, slots=True)
class SideMaps:
    """One stride's maps. A spot is a cell."""

    sides: Output
    scores: Output
    grid: Grid

    @property
    def classes(self) -> int:
        return self.scores.row[0]

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        maps = self.scores.rows(outputs, count).reshape(count, self.classes, self.grid.cells)
        return best_class(maps.swapaxes(1, 2), self.scores.name, threshold)

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        maps = self.sides.rows(outputs, count).reshape(count, SIDES, self.grid.cells)
        sides = maps[slot, :, spot]
        require_finite(sides, self.sides.name, slot)
        return self.grid.boxes(spot, sides)


@dataclass(frozen=True, slots=True)
class BoxRows:
    """All strides in one output. A spot is a cell of one of them."""

    output: Output
    turned: bool
    """The axes are (cells, 4 + classes)."""

    @property
    def classes(self) -> int:
        return self.output.row[1 if self.turned else 0] - 4

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        return best_class(self._rows(outputs, count)[:, :, 4:], self.output.name, threshold)

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        xywh = self._rows(outputs, count)[slot, spot, :4]
        require_finite(xywh, self.output.name, slot)
        return corners(xywh)

    def _rows(self, outputs: Outputs, count: int) -> NDArray[np.float32]:
        """(count, cells, 4 + classes)."""
        rows = self.output.rows(outputs, count)
        return rows if self.turned else rows.swapaxes(1, 2)


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """Boxes that the model chose itself, (batch, 300, 6): corners, score, class id; v10's export.

    A spot is a row.
    """

    output: Output

    @property
    def classes(self) -> None:
        return None

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        rows = self.output.rows(outputs, count)
        found = best_class(rows[:, :, 4:5], self.output.name, threshold)
        class_id = rows[found.slot, found.spot, 5]
        require_finite(class_id, self.output.name, found.slot)
        return found._replace(class_id=class_id.round().astype(found.class_id.dtype))

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        xyxy = self.output.rows(outputs, count)[slot, spot, :4]
        require_finite(xyxy, self.output.name, slot)
        return xyxy


def find(outputs: tuple[TensorSpec, ...], picture: TensorSpec | None) -> Sequence[Head]:
    """The heads by their outputs' shapes; empty where they are not YOLOv8's."""
    if picture is None:
        return ()
    if len(outputs) == 1:
        return _of_rows(Output.of(0, outputs[0]), cells(picture))
    strides: dict[Grid, list[Output]] = {}
    for at, spec in enumerate(outputs):
        if (grid := of_maps(picture, spec)) is None:
            return ()
        strides.setdefault(grid, []).append(Output.of(at, spec))
    found = [_of_maps(grid, strides[grid]) for grid in sorted(strides, key=lambda g: g.stride)]
    heads = tuple(head for head in found if head is not None)
    if len(heads) != len(found) or len({head.classes for head in heads}) != 1:
        return ()
    return heads


def _of_maps(grid: Grid, maps: list[Output]) -> SideMaps | None:
    """One stride's two or three outputs: sides, scores, and perhaps their sum."""
    sides = next((each for each in maps if each.row[0] == SIDES), None)
    # of two with one channel the first is the scores, as the export has them
    others = sorted((each for each in maps if each is not sides), key=lambda each: -each.row[0])
    if sides is None or not others or any(each.row[0] != 1 for each in others[1:]):
        return None
    return SideMaps(sides, others[0], grid) if len(maps) <= 3 else None


def _of_rows(output: Output, spots: tuple[int, ...]) -> Sequence[Head]:
    if len(output.row) != 2:
        return ()
    lines, columns = output.row
    if columns in spots and lines > 4:
        return (BoxRows(output, turned=False),)
    if lines in spots and columns > 4:
        return (BoxRows(output, turned=True),)
    return (EndToEnd(output),) if columns == 6 else ()
