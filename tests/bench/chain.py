"""How close two models in a row come to the ideal pipeline, on the simulated NPU.

64 frames of 1080p through NanoDet, 20 crops of each through a network of 256×128, both in one
lane of a simulated rk3588. The ideal: the larger of preparing and of inferring all frames and all
crops, the latter by the best schedule of each model, after the first frames are prepared. Prints
measured over ideal, and exits 1 where that is over 1.05. Inference times are those of the simulated
NPU; preparing and reading are this machine's, and the detector's outputs are read, though what it
found is made up.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path

import cv2
import drain  # first: its outputs are not computed either
import numpy as np

from framebuf.config import models_of
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.chain import Chain, crop_of
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.prepare import open_preparer
from framebuf.results import Detection, Findings
from framebuf.units import Moment

ASSETS = Path(__file__).resolve().parents[2] / "framebuf" / "demo" / "assets"
CHIP = "rk3588"
COUNT, CROPS, REPEATS = 64, 20, 3
LIMIT = 1.05
DETECTOR = {
    "name": "person",
    "path": str(ASSETS / "nanodet-416.onnx"),
    "task": "detect",
    "decoder": "nanodet",
    "labels": str(ASSETS / "coco.txt"),
    "batch_sizes": list(drain.SIZES),
    "platform": f"sim:{CHIP}",
}
SECOND = {
    "name": "reid",
    "path": str(drain.ASSETS / f"tiny-{CHIP}-i8-batch{{{','.join(map(str, drain.SIZES))}}}.rknn"),
    "task": "embed",
    "resize": "stretch",
    "only": ["person"],
    "max_crops": CROPS,
    "platform": f"sim:{CHIP}",
}
PEOPLE = tuple(
    Detection("person", 0, 0.9, (70.0 + 90 * at, 300.0 + 7 * at, 80.5, 210.5))
    for at in range(CROPS)
)


class Crowd:
    """Reads a detector's outputs, and then says that there are always the same people."""

    def __init__(self, task) -> None:
        self._task = task

    def read(self, outputs, placements):
        self._task.read(outputs, placements)
        return [Findings(detections=PEOPLE) for _ in placements]


def drained_ms(chain: Chain) -> tuple[float, int]:
    """From the submission of all frames to the last one's result; and batches of crops."""
    left, runs = [COUNT], set()
    done, lock = threading.Event(), threading.Lock()

    def answered(result) -> None:
        assert result.error is None, result.error
        assert all(one.embedding for one in result.findings.detections)
        with lock:
            runs.update(one.run for one in result.further)
            left[0] -= 1
            if not left[0]:
                done.set()

    now = time.monotonic_ns()
    jobs = [
        Job(
            Frame(n, Moment(now, now), drain.FRAMES[n % len(drain.FRAMES)]),
            "drain", now, lambda: None, answered,
        )
        for n in range(COUNT)
    ]  # fmt: skip
    begun = time.perf_counter()
    chain.submit(jobs)
    assert done.wait(120)
    return (time.perf_counter() - begun) * 1e3, len(runs)


def prepare_ms(model, spec, parts) -> float:
    """Milliseconds to prepare one picture while nothing else goes on."""
    preparer = open_preparer(model, spec)
    row = np.zeros(spec.rows(1), spec.dtype)[0]
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        for frame in drain.FRAMES:
            for part in parts:
                preparer.write(frame if part is None else part.of(frame), row)
        times.append((time.perf_counter() - begun) / len(drain.FRAMES) / len(parts))
    return statistics.median(times) * 1e3


def main() -> int:
    cv2.setNumThreads(1)  # as the daemon does
    models = models_of(DETECTOR, SECOND)
    networks = [open_network(model) for model in models]
    crops = [crop_of(one.box, 1920, 1080) for one in PEOPLE]
    each = [
        prepare_ms(model, network.input, parts)
        for model, network, parts in zip(models, networks, ([None], crops), strict=True)
    ]
    (lane,) = open_lanes(networks).values()
    for context in networks[0].contexts:
        context._reader._task = Crowd(context._reader._task)
    lane.start()
    chain = Chain.of(models, dict.fromkeys(("person", "reid"), lane))
    pinned = sum(context.sizes == (1,) for context in networks[0].contexts)
    infer = [drain.ideal_ms(count, CHIP, pinned, 0.0) for count in (COUNT, COUNT * CROPS)]
    prepare = COUNT * each[0] + COUNT * CROPS * each[1]
    ideal = max(sum(infer), prepare) + each[0]
    print(f"simulated {CHIP}: {COUNT} frames of 1080p, {CROPS} crops of each")
    print(f"preparing: {each[0]:.2f} ms a frame, {each[1]:.3f} ms a crop, {prepare:.0f} ms in all")
    print(f"inferring, by the best schedule: {infer[0]:.0f} + {infer[1]:.0f} ms")
    taken = []
    try:
        for _ in range(REPEATS):
            ms, runs = drained_ms(chain)
            taken.append(ms)
            print(
                f"ideal {ideal:.0f} ms, measured {ms:.0f} ms, ratio {ms / ideal:.3f}; "
                f"{COUNT * CROPS} crops in {runs} batches",
                flush=True,
            )
    finally:
        lane.close()
    ratio = statistics.median(taken) / ideal
    print(f"ratio {ratio:.3f}, the limit is {LIMIT}" + (" BEYOND THE LIMIT" * (ratio > LIMIT)))
    return 1 if ratio > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
