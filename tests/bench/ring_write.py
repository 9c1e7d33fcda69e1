"""What writing a frame into the ring costs over a bare copy into memory as large.

Both copy one 1080p picture into as many places in turn, so that caches and page tables are treated
alike. Prints the ratio, and exits 1 where it is beyond 1.10.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.units import Moment, Size, Span

LIMIT = 1.10
HEIGHT, WIDTH = 1080, 1920
HISTORY = 24
REPEATS = 600


def ratio(directory: RingDirectory) -> float:
    """The median of the ratios of neighbouring copies, so that a busy machine slows both."""
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    buffer = Buffer(
        "bench", directory, span=Span(frames=HISTORY), memory=Size(2**30), stale_ns=10**9,
        boot_id="bench",
    )  # fmt: skip
    buffer.opened(1.0)
    first = buffer.begin(now(), HEIGHT, WIDTH)
    if first is None or buffer.extent is None:
        raise RuntimeError("no ring was made")
    buffer.discard(first)
    slots = buffer.extent.slots
    places = itertools.cycle(np.zeros((slots, HEIGHT, WIDTH, 3), np.uint8))

    def bare() -> None:
        np.copyto(next(places), frame)

    def ours() -> None:
        slot = buffer.begin(now(), HEIGHT, WIDTH)
        if slot is None:
            raise RuntimeError("no slot was free")
        np.copyto(slot.pixels, frame)
        buffer.commit(slot)

    for _ in range(2 * slots):  # every page of either is there, and is dirty
        bare(), ours()
    ratios = []
    for turn in range(REPEATS):
        # either goes first in turn: the second finds the picture in the cache
        if turn % 2:
            base, written = seconds(bare), seconds(ours)
        else:
            written, base = seconds(ours), seconds(bare)
        ratios.append(written / base)
    return statistics.median(ratios)


def now() -> Moment:
    return Moment(time.monotonic_ns(), time.time_ns())


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    path = Path(tempfile.mkdtemp(prefix="framebuf-bench-", dir="/dev/shm"))
    try:
        with RingDirectory.open(path) as directory:
            value = ratio(directory)
    finally:
        shutil.rmtree(path)
    print(f"ring write of 1080p over a bare copy: {value:.3f} (limit {LIMIT:.2f})")
    return 1 if value > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
