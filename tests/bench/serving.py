"""What a drain costs over a server, beside the same model and threads in this process.

64 frames of 1280×720 through the shipped detector: by onnxruntime here, and by a real Triton on
this machine that runs onnxruntime with as many threads, over HTTP and gRPC. The three take turns,
so that what else the machine does meets all alike; the quickest of each counts, for that only adds.
Exits 1 where HTTP takes over 1.15 times as long as here. Installs Triton's wheel (some 60 MB)
where it is not there.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from framebuf.config import model_of
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.units import Moment
from tests.serving.conftest import NANODET, Triton

FRAMES = 64
TURNS = int(os.environ.get("TURNS", "7"))
LIMIT = 1.15
KEYS = {"name": "net", "task": "detect", "decoder": "nanodet", "batch_sizes": [1, 4, 8]}
PICTURES = [np.random.default_rng(n).integers(0, 256, (720, 1280, 3), np.uint8) for n in range(8)]


class Drainer:
    """A lane, and drains through it."""

    def __init__(self, path: str, **keys: int) -> None:
        self.network = open_network(model_of(KEYS | {"path": path} | keys))
        (self._lane,) = open_lanes([self.network]).values()
        self._lane.start()
        self.sizes: list[int] = []

    def ms(self) -> float:
        """From the submission of all frames to the last one's result."""
        done = threading.Semaphore(0)
        failed = []
        self.sizes = []

        def answered(result) -> None:
            if result.error is not None:
                failed.append(result.error)
            self.sizes.append(result.batch.size)
            done.release()

        begun = time.perf_counter()
        now = time.monotonic_ns()
        jobs = [
            Job(Frame(n, Moment(now, now), PICTURES[n % 8]), "a", now, lambda: None, answered)
            for n in range(FRAMES)
        ]
        self._lane.submit("net", jobs)
        for _ in range(FRAMES):
            assert done.acquire(timeout=120)
        assert not failed, failed[0]
        return (time.perf_counter() - begun) * 1e3

    def close(self) -> None:
        self._lane.close()


def main() -> int:
    cv2.setNumThreads(1)  # as the daemon does
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        triton = Triton(Path(folder), threads=threads)
        triton.start()
        try:
            return compare(triton, threads)
        finally:
            triton.stop()


def compare(triton: Triton, threads: int) -> int:
    ways = {
        "here": Drainer(str(NANODET), runtimes=1),
        "http": Drainer(f"http://127.0.0.1:{triton.http}/nanodet"),
        "grpc": Drainer(f"grpc://127.0.0.1:{triton.grpc}/nanodet"),
    }
    print(f"{FRAMES} frames, {threads} threads; {ways['http'].network.contexts[0].versions}")
    try:
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for way in ways.values():
            way.ms()  # the first is a warm-up
        for _ in range(TURNS):
            for name, way in ways.items():
                taken[name].append(way.ms())
    finally:
        for way in ways.values():
            way.close()
    here = min(taken["here"])
    for name, times in taken.items():
        ms = min(times)
        spread = f"to {max(times):.0f}"
        sizes = ", ".join(map(str, sorted(set(ways[name].sizes))))
        print(f"{name}  {ms:7.0f} ms  ({spread})  × {ms / here:.3f}  batches of {sizes}")
    ratio = min(taken["http"]) / here
    print(f"HTTP over here: {ratio:.3f}; the limit is {LIMIT}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
