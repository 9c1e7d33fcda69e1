"""How close a drain comes to the ideal pipeline, on the simulated NPU.

The ideal: the larger of preparing all frames and inferring them by the best schedule, after the
first tensor of that schedule is prepared. Prints, for each number of frames, measured over ideal
and the fixed batch sizes beside it; exits 1 where 24 frames or more take over 1.03 of the ideal,
fewer take over 1 ms more than it, or any fixed batch size is over 1 ms quicker. All times are those
of a simulated NPU; preparing is this machine's.
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

os.environ["FRAMEBUF_SIM"] = "zeros=1"  # outputs are not computed: the NPU's time is what counts

import cv2
import numpy as np

from framebuf.config import model_of
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.batch import Batch
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.prepare import Preparer
from framebuf.models.runtimes.behaviour import published_ms
from framebuf.units import Moment

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIZES = (1, 4, 8, 16)
COUNTS = (1, 5, 8, 24, 37, 64, 1000)
CORES = {"rk3588": 3, "rk3576": 2}
INPUTS = {"256×128": (256, 128), "416×416": (416, 416)}
"""Height, width."""
LIMIT, SLACK_MS = 1.03, 1.0
FRAMES = [np.random.default_rng(n).integers(0, 256, (1080, 1920, 3), np.uint8) for n in range(8)]


class Drainer:
    """A lane of the simulated NPU, and drains through it."""

    def __init__(self, folder: Path, name: str, chip: str, pinned: int, sizes=SIZES) -> None:
        keys = {"name": "net", "task": "embed", "platform": f"sim:{chip}", "runtimes": pinned}
        path = str(folder / f"{chip}-{name}-batch{{{','.join(map(str, sizes))}}}.rknn")
        if 1 not in sizes:
            del keys["runtimes"]
        network = open_network(model_of(keys | {"path": path}))
        (self._lane,) = open_lanes([network]).values()
        self._lane.start()

    def ms(self, count: int) -> float:
        """From the submission of all frames, as a drain does it, to the last one's result."""
        left = [count]
        done = threading.Event()
        lock = threading.Lock()

        def answered(result) -> None:
            assert result.error is None, result.error
            with lock:
                left[0] -= 1
            if not left[0]:
                done.set()

        begun = time.perf_counter()
        now = time.monotonic_ns()
        self._lane.submit(
            "net",
            [
                Job(
                    Frame(n, Moment(now, now), FRAMES[n % len(FRAMES)]), "drain", now,
                    lambda: None, answered,
                )
                for n in range(count)
            ],
        )  # fmt: skip
        assert done.wait(60)
        return (time.perf_counter() - begun) * 1e3

    def close(self) -> None:
        self._lane.close()


def write_models(folder: Path) -> None:
    """The small network's files, made to claim other inputs and chips; nothing else is read."""
    shape = struct.Struct("<4I")
    for size in SIZES:
        model = (ASSETS / f"tiny-rk3588-i8-batch{size}.rknn").read_bytes()
        for name, sides in INPUTS.items():
            claimed = model.replace(shape.pack(1, 3, 256, 128), shape.pack(1, 3, *sides))
            for chip in CORES:
                file = folder / f"{chip}-{name}-batch{size}.rknn"
                file.write_bytes(claimed.replace(b"rk3588", chip.encode()))


def ideal_ms(count: int, chip: str, pinned: int, prepare_ms: float) -> float:
    """The least that any schedule takes.

    Batches on all cores exclude singles, so a schedule is a sum: those batches one after the other,
    and the singles in rounds of `pinned`. All such sums are tried. Nothing runs before the frames
    of the first batch are prepared: one where there is a single, else as many as are left to it,
    down to one: what is not in the first batch has to fit into the others.
    """
    ms = {size: published_ms(chip, size) for size in SIZES}

    @cache
    def batches(frames: int) -> float:
        """The least for `frames` in batches on all cores."""
        if frames <= 0:
            return 0.0
        return min(ms[size] + batches(frames - size) for size in SIZES[1:])

    sys.setrecursionlimit(10_000)
    best = min(
        prepare_ms + -(-singles // pinned) * ms[1] + batches(count - singles)
        for singles in range(1, count + 1)
    )
    for size in SIZES[1:]:
        for filled in range(1, min(size, count) + 1):
            best = min(best, filled * prepare_ms + ms[size] + batches(count - filled))
    return max(best, count * prepare_ms)


def bench(folder: Path, name: str, chip: str, pinned: int) -> int:
    """One table; returns how many figures are beyond their limit."""
    each = measured_prepare_ms(folder, name)
    print(f"\nsimulated {chip}, {pinned} batch-1 contexts, 1080p to {name} ({each:.2f} ms a frame)")
    print("frames    ideal  measured   ratio   fixed sizes " + str(SIZES))
    wrong = 0
    lanes = {(): Drainer(folder, name, chip, pinned)}
    lanes |= {(size,): Drainer(folder, name, chip, pinned, (size,)) for size in SIZES}
    try:
        for count in COUNTS:
            repeats = 1 if count > 100 else 7
            taken = {
                sizes: sorted(lane.ms(count) for _ in range(repeats))[repeats // 2]
                for sizes, lane in lanes.items()
            }
            best = ideal_ms(count, chip, min(pinned, CORES[chip]), each)
            ours = taken.pop(())
            ratio, over = ours / best, ours - best
            good = ratio <= LIMIT if count >= 24 else over <= SLACK_MS
            good &= ours <= min(taken.values()) + SLACK_MS
            wrong += not good
            fixed = " ".join(f"{ms:8.1f}" for ms in taken.values())
            print(
                f"{count:6} {best:8.1f}  {ours:8.1f}  {ratio:6.3f}  {fixed}"
                + ("" if good else "   BEYOND THE LIMIT"),
                flush=True,
            )
    finally:
        for lane in lanes.values():
            lane.close()
    return wrong


def measured_prepare_ms(folder: Path, name: str) -> float:
    """Milliseconds to prepare one frame while nothing else goes on."""
    path = str(folder / f"rk3588-{name}-batch8.rknn")
    network = open_network(
        model_of({"name": "net", "task": "embed", "platform": "sim:rk3588", "path": path})
    )
    (context,) = network.contexts
    batch = Batch(network.input, 8, Preparer(network.input, "stretch"))
    times = []
    for _ in range(40):
        begun = time.perf_counter()
        batch.clear()
        for frame in FRAMES:  # each of them as cold as in a drain
            batch.add(frame)
        times.append((time.perf_counter() - begun) / len(FRAMES))
    context.join(0)
    return statistics.median(times) * 1e3


def main() -> int:
    cv2.setNumThreads(1)  # as the daemon does
    wanted = sys.argv[1:]
    cases = [(name, chip, pinned) for name in INPUTS for chip in CORES for pinned in (1, 3)]
    chosen = [case for case in cases if all(word in str(case) for word in wanted)]
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        wrong = sum(bench(Path(folder), *case) for case in chosen)
    print(f"\n{wrong} figures beyond their limit")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
