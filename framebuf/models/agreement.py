"""How far two answers of a network lie apart, and how far they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.tensor import TensorSpec

    Rows = tuple[NDArray[np.float32], ...]

STEPS = 2.0
"""How far two answers may lie apart, in steps of a quantised output: its scale. Batches are tiled
and rounded otherwise than singles; another picture's answer is off by tens of steps."""
RELATIVE = 0.02
"""The same for an output without a scale, as a part of its largest answer: half precision."""
ROUNDING = 1.001
"""Two steps apart are two steps, though float32 makes them a little more."""


class Yardstick(NamedTuple):
    """What the deviations of one output are told in."""

    unit: float
    allowed: float
    """In units."""
    name: str

    @classmethod
    def of(cls, spec: TensorSpec, right: NDArray[np.float32]) -> Yardstick:
        if spec.scale:
            return cls(spec.scale, STEPS, f"steps of {spec.scale:.3g}")
        finite = np.abs(right[np.isfinite(right)])
        largest = max(float(finite.max()) if finite.size else 0.0, 1e-6)
        return cls(largest, RELATIVE, f"times its largest value {largest:.3g}")


class Deviation(NamedTuple):
    """Rows that are wrong, and where the worst of it is."""

    rows: tuple[int, ...]
    text: str
    """`output logits by 31 steps of 0.018, allowed are 2`"""


def deviation(
    specs: tuple[TensorSpec, ...], said: Rows, right: Rows, yardsticks: tuple[Yardstick, ...]
) -> Deviation | None:
    """Compare row by row; None: all agree. A NaN or infinity agrees with its like alone."""
    wrong: set[int] = set()
    worst, text = -1.0, ""
    for spec, got, wanted, yard in zip(specs, said, right, yardsticks, strict=True):
        off = _furthest(got, wanted) / yard.unit
        apart = ~(off <= yard.allowed * ROUNDING)  # a NaN is not
        if not apart.any():
            continue
        wrong.update(np.flatnonzero(apart).tolist())
        largest = float(np.nan_to_num(off, nan=np.inf).max())
        if largest / yard.allowed > worst:
            worst = largest / yard.allowed
            text = f"output {spec.name} by {largest:.3g} {yard.name}, allowed are {yard.allowed:g}"
    return Deviation(tuple(sorted(wrong)), text) if wrong else None


def _furthest(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest difference in each row; NaN where only one has a NaN."""
    with np.errstate(invalid="ignore"):
        off = np.abs(got - wanted)
    off[(got == wanted) | (np.isnan(got) & np.isnan(wanted))] = 0
    furthest: NDArray[np.float32] = off.reshape(len(off), -1).max(axis=1)
    return furthest
