"""What the ONNX model says of some pictures, to compare a compiled one with."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import ModelError
from framebuf.models.prepare import open_preparer
from framebuf.models.toolkit import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.runtimes import Outputs, Runtime

CHECKED = 8
"""Different pictures that outputs are compared on; larger batches have some twice."""


class Reference:
    """Pictures and their outputs."""

    def __init__(
        self,
        names: tuple[str, ...],
        samples: Sequence[NDArray[np.uint8]],
        wanted: Sequence[Outputs],
    ) -> None:
        self._names = names
        self._samples = samples
        self._wanted = wanted

    @classmethod
    def of(cls, model: Model, runtime: Runtime, paths: Sequence[Path]) -> Reference:
        """Run the model on the first pictures, or on made-up ones where there are none.

        Raises:
            ModelError: a picture is none.
            InferenceError: the model failed.
        """
        spec = runtime.input
        given = list(pictures.read(paths[:CHECKED])) or list(pictures.made_up(CHECKED, spec))
        preparer = open_preparer(model, spec)
        wanted = []
        for pixels in given:
            tensor = np.zeros(spec.rows(1), spec.dtype)
            preparer.write(pixels, tensor[0])
            wanted.append(runtime.infer(tensor))
        samples = list(pictures.prepared(model, spec, given))
        return cls(tuple(output.name for output in runtime.outputs), samples, wanted)

    def batch(self, size: int) -> NDArray[np.uint8]:
        """(size, height, width, 3) uint8, as the NPU gets it."""
        return np.stack(list(islice(cycle(self._samples), size)))

    def cosines(self, got: Sequence[NDArray[Any]], size: int) -> dict[str, float]:
        """How alike the outputs of that batch are, by name: the least of all slots.

        Raises:
            ModelError: they are of other number or size.
        """
        wanted = list(islice(cycle(self._wanted), size))
        if len(got) != len(self._names) or any(
            each.size != size * first.size for each, first in zip(got, wanted[0], strict=False)
        ):
            shapes = ", ".join("×".join(map(str, each.shape)) for each in got)
            first = ", ".join("×".join(map(str, each.shape)) for each in wanted[0])
            raise ModelError(f"expected {size} times {first} from the simulator, got {shapes}")
        return {
            name: min(
                alike(slot, outputs[at])
                for slot, outputs in zip(got[at].reshape(size, -1), wanted, strict=True)
            )
            for at, name in enumerate(self._names)
        }


def alike(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The cosine of two outputs of one size; 1 where both are zero, NaN where one has a NaN."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not length:
        return float(not a.any() and not b.any())
    return float(a @ b / length)
