"""What Preparer.write costs over cv2.resize plus cv2.cvtColor into the same slot.

Both resize to the same area. Prints ratios, and exits 1 where one is beyond 1.10.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from framebuf.models.placement import Resize, fit
from framebuf.models.prepare import Preparer
from framebuf.models.tensor import TensorSpec

LIMIT = 1.10
REPEATS = 400
CASES: tuple[tuple[Resize, int], ...] = (("letterbox", 416), ("stretch", 224))


def ratio(resize: Resize, side: int) -> float:
    """The median of the ratios of neighbouring runs, so that a busy machine slows both."""
    frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    tensor = np.zeros((8, side, side, 3), np.uint8)
    preparer = Preparer(TensorSpec("images", (None, side, side, 3), "uint8", "NHWC"), resize)
    place = fit(resize, (1920, 1080), (side, side))
    slot = tensor[3]
    size = (place.width, place.height)
    part = slot[place.y : place.y + place.height, place.x : place.x + place.width]

    def plain() -> None:
        cv2.resize(frame, size, dst=part, interpolation=cv2.INTER_LINEAR)
        cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=part)

    def prepared() -> None:
        preparer.write(frame, slot)

    for _ in range(50):
        plain(), prepared()
    ratios = []
    for turn in range(REPEATS):
        # either goes first in turn: the second finds a warmer cache
        if turn % 2:
            base, ours = seconds(plain), seconds(prepared)
        else:
            ours, base = seconds(prepared), seconds(plain)
        ratios.append(ours / base)
    return statistics.median(ratios)


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    cv2.setNumThreads(1)
    worst = 0.0
    for resize, side in CASES:
        value = ratio(resize, side)
        worst = max(worst, value)
        print(f"prepare 1080p -> {side} {resize}: {value:.3f} (limit {LIMIT:.2f})")
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
