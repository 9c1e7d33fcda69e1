"""A drain is running, and one frame comes: when is its answer there, in batch times?

A drain of 300 frames of 1080p on a simulated rk3588 (published times, all four batch sizes, three
contexts for singles); in some dozens of drains the single frame of another request comes at
another moment. Its answer may take two batches: the one whose tensor was just filled, and its own.
A batch time is that of the largest batch, 16. Added to the two is what a tensor is prepared ahead:
the preparation of 16 frames, measured in the same run, and the 2 ms that are spared for it. Prints
the median and the worst; exits 1 where the worst is beyond that. Preparing is this machine's: other
work on it shows.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["FRAMEBUF_SIM"] = "zeros=1"  # outputs are not computed: the NPU's time is what counts
sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2

from framebuf.config import model_of
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.context import SPARE_NS
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.runtimes.behaviour import published_ms
from framebuf.units import Moment
from tests.bench.drain import FRAMES, SIZES, write_models

CHIP, NAME = "rk3588", "256×128"
DRAIN = 300
MOMENTS = 40
BATCHES = 2
BATCH_MS = published_ms(CHIP, SIZES[-1])


class Arrivals:
    """A lane in which drains run, and frames come singly."""

    def __init__(self, folder: Path) -> None:
        path = str(folder / f"{CHIP}-{NAME}-batch{{{','.join(map(str, SIZES))}}}.rknn")
        keys = {"name": "net", "task": "embed", "platform": f"sim:{CHIP}", "path": path}
        self._network = open_network(model_of(keys))
        (self._lane,) = open_lanes([self._network]).values()
        self._lane.start()

    @property
    def prepare_ms(self) -> float:
        """What preparing a tensor of the largest batch takes, of late."""
        (largest,) = (c for c in self._network.contexts if c.sizes == (SIZES[-1],))
        return largest.prepare_ns * SIZES[-1] / 1e6

    def answer_ms(self, after_ms: float) -> float:
        """Of one frame that comes so long after the beginning of a drain."""
        drained, answered = threading.Semaphore(0), threading.Event()
        self._lane.submit("net", [self._job("drain", n, drained.release) for n in range(DRAIN)])
        time.sleep(after_ms / 1e3)
        begun = time.perf_counter()
        self._lane.submit("net", [self._job("single", 0, answered.set)])
        assert answered.wait(60), "no answer to the single frame"
        took_ms = (time.perf_counter() - begun) * 1e3
        for _ in range(DRAIN):
            assert drained.acquire(timeout=60), "the drain does not end"
        return took_ms

    def close(self) -> None:
        self._lane.close()

    @staticmethod
    def _job(turn: str, number: int, then) -> Job:
        now = time.monotonic_ns()

        def answered(result) -> None:
            assert result.error is None, result.error
            then()

        frame = Frame(number, Moment(now, now), FRAMES[number % len(FRAMES)])
        return Job(frame, turn, now, lambda: None, answered)


def main() -> int:
    cv2.setNumThreads(1)  # as the daemon does
    with tempfile.TemporaryDirectory() as name:
        write_models(Path(name))
        arrivals = Arrivals(Path(name))
        try:
            arrivals.answer_ms(0)  # everything is loaded, what preparing takes is known
            step = 4 * BATCH_MS / MOMENTS
            taken = [arrivals.answer_ms(100 + step * n) for n in range(MOMENTS)]
            prepare_ms = arrivals.prepare_ms
        finally:
            arrivals.close()
    ahead_ms = prepare_ms + SPARE_NS / 1e6
    limit = BATCHES + ahead_ms / BATCH_MS
    median, worst = statistics.median(taken) / BATCH_MS, max(taken) / BATCH_MS
    tenth = statistics.quantiles(taken, n=10)[-1] / BATCH_MS
    print(
        f"a single frame in a drain of {DRAIN}, simulated {CHIP}, {MOMENTS} moments: median "
        f"{median:.2f}, 90 % {tenth:.2f}, worst {worst:.2f} of the {BATCH_MS:.1f} ms of a batch "
        f"of {SIZES[-1]} (limit {limit:.2f}: {BATCHES}, and {ahead_ms:.1f} ms of preparing)"
    )
    return int(worst > limit)


if __name__ == "__main__":
    sys.exit(main())
