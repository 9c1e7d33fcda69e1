"""The rows of an output that belong to frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from framebuf.errors import InferenceError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class Output:
    """One of the network's outputs."""

    at: int
    """Its place among them."""
    name: str
    row: tuple[int, ...]
    """The shape that one frame has in it."""

    @classmethod
    def of(cls, at: int, spec: TensorSpec) -> Output:
        """From what the model file says.

        Raises:
            ModelError: an axis besides the batch is free.
        """
        row = tuple(axis for axis in spec.shape[1:] if axis is not None)
        if len(row) != len(spec.shape) - 1:
            raise ModelError(f"expected fixed axes after the batch, output {spec} has free ones")
        return cls(at, spec.name, row)

    @property
    def size(self) -> int:
        """How many values one frame has."""
        return math.prod(self.row)

    def rows(self, outputs: Outputs, count: int) -> NDArray[np.float32]:
        """(count, *row) float32: the first rows, those of frames.

        Raises:
            InferenceError: they are not there, or of another size.
        """
        got = outputs[self.at].shape if self.at < len(outputs) else ()
        if not got or got[0] < count or math.prod(got[1:]) != self.size:
            raise InferenceError(
                f"expected {count} rows of {self.row} in output {self.name}, got {got}"
            )
        return outputs[self.at][:count].reshape(count, *self.row)


def require_finite(
    values: NDArray[np.float32], name: str, slots: Sequence[int] | NDArray[np.intp] | None = None
) -> None:
    """Let no NaN and no infinity become a finding.

    The first axis of `values` is the slot, or `slots` says it.

    Raises:
        InferenceError: there is one.
    """
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        wrong = np.flatnonzero(~finite) if slots is None else np.asarray(slots)[~finite]
        listed = ", ".join(map(str, np.unique(wrong)))
        raise InferenceError(f"output {name} has NaN or infinity in slot {listed}")
