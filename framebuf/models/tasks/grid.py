"""The cells that a detector's head lays over the picture, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.tensor import TensorSpec

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""The strides that YOLO heads have together: as usual, and with P6 or P2."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of `stride` pixels."""

    stride: int
    columns: int
    lines: int

    @classmethod
    def over(cls, picture: TensorSpec, stride: int) -> Grid:
        """The cells that cover a picture; the last ones may reach outside."""
        return cls(stride, -(-picture.width // stride), -(-picture.height // stride))

    @property
    def cells(self) -> int:
        return self.columns * self.lines

    def corner(self, cell: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n,) cells to (n, 2) column and row."""
        row, column = np.divmod(cell, self.columns)
        return np.stack([column, row], axis=1).astype(np.float32)

    def boxes(self, cell: NDArray[np.intp], sides: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) cells and (n, 4 · bins) logits to (n, 4) corners in pixels of the picture.

        The sides are left, top, right and bottom; each is a distribution: the mean of 0, 1, …
        under its softmax, times the stride, is the distance from the cell's centre (Generalized
        Focal Loss, arXiv 2006.04388).
        """
        logits = sides.reshape(len(sides), 4, sides.shape[1] // 4)
        powers = np.exp(logits - logits.max(axis=2, keepdims=True))
        bins = np.arange(logits.shape[2], dtype=np.float32)
        distance = powers @ bins / powers.sum(axis=2) * np.float32(self.stride)
        centre = (self.corner(cell) + np.float32(0.5)) * np.float32(self.stride)
        return np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], axis=1)


def of_maps(picture: TensorSpec, output: TensorSpec) -> Grid | None:
    """The grid of an output (batch, channels, lines, columns); None where no stride makes it so."""
    if len(output.shape) != 4:
        return None
    _, _, lines, columns = output.shape
    if not lines or picture.height % lines:
        return None
    grid = Grid.over(picture, picture.height // lines)
    return grid if (grid.lines, grid.columns) == (lines, columns) else None


def cells(picture: TensorSpec) -> tuple[int, ...]:
    """How many cells the heads of YOLO have together, for each of PYRAMIDS."""
    return tuple(sum(Grid.over(picture, s).cells for s in strides) for strides in PYRAMIDS)
