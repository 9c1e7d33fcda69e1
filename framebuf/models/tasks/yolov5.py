"""What YOLOv5's outputs mean (ultralytics/yolov5), as two exports give them.

At each cell of each stride stand three anchors; each has a box, its objectness and one score a
class; objectness times the best of them is the box's score.

rknn_model_zoo: one output a stride, (batch, 3 · (5 + classes), lines, columns), all in a sigmoid.
With x, y, w, h of it, the centre is (2 x − 0.5 + column, 2 y − 0.5 + line) · stride, the size
(4 w², 4 h²) times the anchor's. The anchors are not in the file: those of COCO are taken.

Ultralytics: one output, (batch, 3 · cells, 5 + classes), boxes as centre and size in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from framebuf.models.tasks.candidates import Scored, corners, likely
from framebuf.models.tasks.grid import Grid, cells, of_maps
from framebuf.models.tasks.rows import Output, require_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tasks.candidates import Head
    from framebuf.models.tensor import TensorSpec

EXPECTED = (
    "one output N×255×lines×columns for each of the strides 8, 16 and 32 (rknn_model_zoo), or one "
    "N×25200×85 (Ultralytics); 255 is 3 · (5 + 80 classes), 25200 the anchors of 640×640"
)

ANCHORS = {
    (8, 16, 32): (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
    (8, 16, 32, 64): (
        ((19, 27), (44, 40), (38, 94)),
        ((96, 68), (86, 152), (180, 137)),
        ((140, 301), (303, 264), (238, 542)),
        ((436, 615), (739, 380), (925, 792)),
    ),
}
"""Width and height in pixels, by the strides: models/yolov5s.yaml, hub/yolov5s6.yaml."""

EACH = 3
"""Anchors at a cell."""


@dataclass(frozen=True, slots=True)
class AnchorMaps:
    """One stride's maps. A spot is an anchor and a cell, anchors first."""

    output: Output
    grid: Grid
    anchors: tuple[tuple[int, int], ...]

    @property
    def classes(self) -> int:
        return self.output.row[0] // EACH - 5

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        objectness = self._maps(outputs, count)[:, :, 4].reshape(count, EACH * self.grid.cells)
        slot, spot = _objects(objectness, self.output.name, threshold)
        return _scored(slot, spot, self._values(outputs, count, slot, spot), self.output, threshold)

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        values = self._values(outputs, count, slot, spot)[:, :4]
        require_finite(values, self.output.name, slot)
        anchor, cell = np.divmod(spot, self.grid.cells)
        twice = values * np.float32(2)
        centre = (twice[:, :2] - np.float32(0.5) + self.grid.corner(cell)) * self.grid.stride
        size = twice[:, 2:] ** 2 * np.array(self.anchors, np.float32)[anchor]
        return corners(np.concatenate([centre, size], axis=1).astype(np.float32))

    def _maps(self, outputs: Outputs, count: int) -> NDArray[np.float32]:
        """(count, 3, 5 + classes, cells)."""
        return self.output.rows(outputs, count).reshape(
            count, EACH, 5 + self.classes, self.grid.cells
        )

    def _values(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """(n, 5 + classes)."""
        anchor, cell = np.divmod(spot, self.grid.cells)
        return self._maps(outputs, count)[slot, anchor, :, cell]


@dataclass(frozen=True, slots=True)
class AnchorRows:
    """All strides in one output. A spot is a row of it."""

    output: Output

    @property
    def classes(self) -> int:
        return self.output.row[1] - 5

    def scored(self, outputs: Outputs, count: int, threshold: float) -> Scored:
        """As `Head.scored`."""
        rows = self.output.rows(outputs, count)
        slot, spot = _objects(rows[:, :, 4], self.output.name, threshold)
        return _scored(slot, spot, rows[slot, spot], self.output, threshold)

    def boxes(
        self, outputs: Outputs, count: int, slot: NDArray[np.intp], spot: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """As `Head.boxes`."""
        xywh = self.output.rows(outputs, count)[slot, spot, :4]
        require_finite(xywh, self.output.name, slot)
        return corners(xywh)


def find(outputs: tuple[TensorSpec, ...], picture: TensorSpec | None) -> Sequence[Head]:
    """The heads by their outputs' shapes; empty where they are not YOLOv5's."""
    if picture is None:
        return ()
    if len(outputs) == 1:
        output = Output.of(0, outputs[0])
        spots = [EACH * each for each in cells(picture)]
        fits = len(output.row) == 2 and output.row[0] in spots and output.row[1] > 5
        return (AnchorRows(output),) if fits else ()
    maps = {
        grid.stride: (Output.of(at, spec), grid)
        for at, spec in enumerate(outputs)
        if (grid := of_maps(picture, spec)) is not None
    }
    strides = tuple(sorted(maps))
    channels = {output.row[0] for output, _ in maps.values()}
    if strides not in ANCHORS or len(maps) != len(outputs) or len(channels) != 1:
        return ()
    (each,) = channels
    if each % EACH or each // EACH < 6:
        return ()
    return tuple(
        AnchorMaps(*maps[stride], anchors)
        for stride, anchors in zip(strides, ANCHORS[strides], strict=True)
    )


def _objects(
    objectness: NDArray[np.float32], name: str, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Slot and spot of what may reach the threshold: no score is above its objectness."""
    require_finite(objectness, name)
    slot, spot = np.nonzero(objectness >= threshold)
    return slot, spot


def _scored(
    slot: NDArray[np.intp],
    spot: NDArray[np.intp],
    values: NDArray[np.float32],
    output: Output,
    threshold: float,
) -> Scored:
    """Of (n, 5 + classes) values, what reaches the threshold."""
    require_finite(values, output.name, slot)
    probable = likely(values[:, 4:], output.name)
    class_id = probable[:, 1:].argmax(axis=1)
    score = probable[:, 0] * probable[np.arange(len(probable)), 1 + class_id]
    above = score >= threshold
    return Scored(slot[above], spot[above], class_id[above], score[above])
