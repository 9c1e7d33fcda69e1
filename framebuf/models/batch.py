"""Frames in, per-frame outputs out."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import InferenceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from framebuf.models.prepare import Placement, Preparer
    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec


class Batch:
    """The slots of one tensor: add frames, run it, read each frame's outputs.

    Belongs to one thread at a time, and so do all batches that share its memory; but several
    threads may call `add_at` at once, each for slots of its own.
    """

    def __init__(
        self,
        spec: TensorSpec,
        size: int,
        preparer: Preparer,
        memory: NDArray[Any] | None = None,
        infer: Callable[[NDArray[Any]], Outputs] | None = None,
    ) -> None:
        """`memory` is (size or more, …) of the input's dtype; its content does not matter.

        `infer` is what `run` calls with the tensor; a pool gives it.

        Raises:
            ValueError: `size` is below 1, or `memory` has another shape.
            TypeError: `memory` has another dtype.
        """
        if size < 1:
            raise ValueError(f"expected a batch of 1 or more, got {size}")
        shape = spec.rows(size)
        if memory is None:
            memory = np.zeros(shape, spec.dtype)
        if memory.shape[1:] != shape[1:] or memory.shape[0] < size:
            raise ValueError(f"expected memory of {shape} or more rows, got {memory.shape}")
        if memory.dtype != spec.dtype:
            raise TypeError(f"expected memory of {spec.dtype}, got {memory.dtype}")
        self.spec = spec
        self.size = size
        self._preparer = preparer
        self._infer = infer
        self._memory: NDArray[Any] | None = memory
        self._placements: list[Placement | None] = [None] * size
        self._outputs: Outputs | None = None
        # shared by all batches on this memory: the one whose frames are in it
        self._holder: list[Batch | None] = [None]

    def sized(self, size: int) -> Batch:
        """An empty batch on the first `size` rows of this one's memory.

        The memory goes to the batch that last began to fill; the one before keeps its outputs
        alone, and refuses to show its tensor.

        Raises:
            ValueError: the memory has fewer rows.
        """
        batch = Batch(self.spec, size, self._preparer, self._rows(), self._infer)
        batch._holder = self._holder
        return batch

    @property
    def filled(self) -> int:
        """Slots that hold a frame."""
        return self.size - self._placements.count(None)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Where each frame lies in the tensor: of the slots that hold one, in their order."""
        return tuple(place for place in self._placements if place is not None)

    @property
    def tensor(self) -> NDArray[Any]:
        """(size, …) of the input's dtype. Slots without a frame are zero, whatever they held.

        Raises:
            ValueError: the batch is closed, or its memory went to another batch.
        """
        tensor = self._rows()[: self.size]
        self._claim()
        for slot, place in enumerate(self._placements):
            if place is None:
                tensor[slot] = 0
        return tensor

    def add(
        self,
        pixels: NDArray[np.uint8],
        corner: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> int:
        """Write a frame, (height, width, 3) uint8 BGR, into the lowest empty slot; returns that.

        `corner` is where the pixels begin, left and top, where they are a part of a frame; `size`,
        width and height, what they are a smaller picture of, if they are one.

        Raises:
            IndexError: the batch is full.
            ValueError, TypeError: as `Preparer.write`; the slot stays empty. Or as `tensor`.
        """
        if None not in self._placements:
            raise IndexError(f"the batch is full: {self.size} of {self.size} slots hold frames")
        slot = self._placements.index(None)
        self.add_at(slot, pixels, corner, size)
        return slot

    def add_at(
        self,
        index: int,
        pixels: NDArray[np.uint8],
        corner: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> None:
        """Write a frame into one slot, over the frame that may be there. The rest as in `add`.

        Raises:
            IndexError: there is no such slot.
            ValueError, TypeError: as `Preparer.write`; the slot is then empty. Or as `tensor`.
        """
        index = self._checked(index)
        row = self._rows()[index]
        self._claim()
        self._outputs = None
        self._placements[index] = None
        placement = self._preparer.write(pixels, row, size)
        self._placements[index] = placement.shifted(*corner) if any(corner) else placement

    def clear(self) -> None:
        """Forget all frames and outputs.

        Raises:
            ValueError: the batch is closed.
        """
        self._rows()
        self._placements = [None] * self.size
        self._outputs = None

    def run(self) -> None:
        """Run the frames on the pool that made this batch; waits until `output` can be read.

        Raises:
            ValueError: there is no frame, the batch or its pool is closed, or it is of no pool.
            InferenceError: the runtime failed.
            ModelError: the runtime hangs.
        """
        self._rows()
        if self._infer is None:
            raise ValueError(f"{self} is of no pool: open_model(…).new_batch makes one that runs")
        if not self.filled:
            raise ValueError(f"{self} holds no frame; add one first")
        self.finish(self._infer(self.tensor))

    def finish(self, outputs: Outputs) -> None:
        """Take what the runtime gave for `tensor`; not copied.

        Raises:
            InferenceError: an output has another number of rows than the batch.
        """
        self._rows()
        for at, output in enumerate(outputs):
            if output.shape[:1] != (self.size,):
                raise InferenceError(
                    f"output {at} has shape {output.shape}, expected {self.size} rows, one a slot"
                )
        self._outputs = outputs

    def output(self, index: int) -> Outputs:
        """What the network says of one frame: row `index` of each output, views.

        Raises:
            IndexError: there is no such slot.
            LookupError: the slot holds no frame, or no outputs have come yet.
            ValueError: the batch is closed.
        """
        self._rows()
        index = self._checked(index)
        if self._placements[index] is None:
            used = ", ".join(str(i) for i, at in enumerate(self._placements) if at) or "none"
            raise LookupError(f"slot {index} holds no frame; filled: {used}")
        if self._outputs is None:
            raise LookupError(f"slot {index} has no output yet: finish the batch first")
        return tuple(output[index] for output in self._outputs)

    def close(self) -> None:
        """Let the memory go. Safe to call twice."""
        self._placements = [None] * self.size
        self._outputs = None
        self._memory = None

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self) -> NDArray[Any]:
        if self._memory is None:
            raise ValueError("the batch is closed; make another")
        return self._memory

    def _checked(self, index: int) -> int:
        try:
            index = operator.index(index)
        except TypeError as error:
            kind = type(index).__name__
            raise TypeError(f"expected a slot as a whole number, got {kind}") from error
        if not 0 <= index < self.size:
            raise IndexError(f"expected a slot from 0 to {self.size - 1}, got {index}")
        return index

    def _claim(self) -> None:
        """Take the memory, unless this batch's frames in it are gone."""
        # In this order: whoever filled a slot of this batch has taken the memory before
        if self.filled and (holder := self._holder[0]) is not self:
            raise ValueError(f"the memory of {self} went to {holder}; clear and fill it again")
        self._holder[0] = self

    def __repr__(self) -> str:
        if self._memory is None:
            return "<Batch closed>"
        return f"<Batch {self.filled}/{self.size} {self.spec.width}×{self.spec.height}>"
