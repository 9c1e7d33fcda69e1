"""What one full batch takes, measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.batch import Batch
    from framebuf.models.reader import Reader
    from framebuf.models.runtimes import Runtime


LEAST, MOST = 2, 6
"""Runs: a warm-up and one that counts; and what is quick, until BRIEF_S, as often again."""
BRIEF_S = 0.06
"""A busy moment is longer than a quick batch, and would give a daemon a worse plan for its life."""


class Measured(NamedTuple):
    """Milliseconds a batch."""

    prepare_ms: float
    infer_ms: float
    read_ms: float


def measure(runtime: Runtime, batch: Batch, reader: Reader, picture: NDArray[np.uint8]) -> Measured:
    """Fill the batch with `picture`, run and read it, some times: of each part the best.

    Raises:
        InferenceError: the runtime failed.
    """
    found: list[tuple[float, float, float]] = []
    until = time.perf_counter() + BRIEF_S
    while len(found) < LEAST or (len(found) < MOST and time.perf_counter() < until):
        begun = time.perf_counter()
        batch.clear()
        for _ in range(batch.size):
            batch.add(picture)
        prepared = time.perf_counter()
        outputs = runtime.infer(batch.tensor)
        inferred = time.perf_counter()
        reader.read(outputs, batch.placements)
        found.append((prepared - begun, inferred - prepared, time.perf_counter() - inferred))
    return Measured(*(min(part) * 1e3 for part in zip(*found, strict=True)))
