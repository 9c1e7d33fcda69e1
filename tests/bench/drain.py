"""How close a drain comes to the ideal pipeline, on the simulated NPU.

The ideal: the larger of preparing all frames and inferring them by the best schedule, after the
first tensor of that schedule is prepared. Prints, for each number of frames, measured over ideal
and the fixed batch sizes beside it; exits 1 where 24 frames or more take over 1.03 of the ideal,
fewer take over 1 ms more than it, or any fixed batch size is over 1 ms quicker. All times are those
of a simulated NPU; preparing is this machine's.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from pathlib import Path

os.environ["FRAMEBUF_SIM"] = "zeros=1"  # outputs are not computed: the NPU's time is what counts

import numpy as np

from framebuf import open_model
from framebuf.models.runtimes.behaviour import published_ms

ROOT = Path(__file__).resolve().parents[2]
TINY, NANODET = ROOT / "tests/assets/tiny-n.onnx", ROOT / "framebuf/demo/assets/nanodet-416.onnx"
SIZES = (1, 4, 8, 16)
COUNTS = (1, 5, 8, 24, 37, 64, 1000)
CORES = {"rk3588": 3, "rk3576": 2}
NORMAL = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
MODELS = {
    "256×128": (TINY, {"task": "embed", **NORMAL}),
    "416×416": (NANODET, {"task": "detect", "decoder": "nanodet"}),
}
LIMIT, SLACK_MS = 1.03, 1.0
FRAMES = [np.random.default_rng(n).integers(0, 256, (1080, 1920, 3), np.uint8) for n in range(8)]


def ideal_ms(count: int, chip: str, pinned: int, prepare_ms: float) -> float:
    """The least that any schedule takes.

    Batches on all cores exclude singles, so a schedule is a sum: those batches one after the other,
    and the singles in rounds of `pinned`. All such sums are tried. Nothing runs before the first
    tensor is prepared, which is at best the smallest one of the schedule.
    """
    ms = {size: published_ms(chip, size) for size in SIZES}

    @cache
    def batches(frames: int, needed: int) -> float:
        """The least for `frames` in batches on all cores, one of them of size `needed`, if any."""
        if frames <= 0:
            return float("inf") if needed else 0.0
        return min(ms[b] + batches(frames - b, 0 if b == needed else needed) for b in SIZES[1:])

    sys.setrecursionlimit(10_000)
    best = float("inf")
    for singles in range(count + 1):
        rounds = -(-singles // pinned) * ms[1]
        left = count - singles
        if singles:
            best = min(best, prepare_ms + rounds + batches(left, 0))
        else:
            for size in SIZES[1:]:
                best = min(best, min(size, left) * prepare_ms + batches(left, size))
    return max(best, count * prepare_ms)


def measured_ms(model, count: int) -> float:
    """From the first frame's submission to the last frame's result."""
    frames = [FRAMES[n % len(FRAMES)] for n in range(count)]
    begun = time.perf_counter()
    for result in model.map(frames):
        assert result.error is None, result.error
    return (time.perf_counter() - begun) * 1e3


def opened(name: str, chip: str, pinned: int, sizes=SIZES):
    path, more = MODELS[name]
    return open_model(
        str(path), platform=f"sim:{chip}", batch_sizes=list(sizes), runtimes=pinned, **more
    )


def prepare_ms(name: str) -> float:
    """Milliseconds to prepare one frame of the bench, the best of some."""
    with opened(name, "rk3588", 1, (8,)) as model, model.new_batch(8) as batch:
        best = float("inf")
        for turn in range(40):
            begun = time.perf_counter()
            batch.add_at(turn % 8, FRAMES[turn % len(FRAMES)])
            best = min(best, time.perf_counter() - begun)
    return best * 1e3


def bench(name: str, chip: str, pinned: int) -> int:
    """One table; returns how many figures are beyond their limit."""
    each = prepare_ms(name)
    print(f"\nsimulated {chip}, {pinned} batch-1 contexts, 1080p to {name} ({each:.2f} ms a frame)")
    print("frames    ideal  measured   ratio   fixed sizes " + str(SIZES))
    wrong = 0
    models = {(): opened(name, chip, pinned)}
    models |= {(size,): opened(name, chip, pinned, (size,)) for size in SIZES}
    try:
        for model in models.values():
            measured_ms(model, 2)
        for count in COUNTS:
            repeats = 1 if count > 100 else 5
            taken = {
                sizes: sorted(measured_ms(model, count) for _ in range(repeats))[repeats // 2]
                for sizes, model in models.items()
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
        for model in models.values():
            model.close()
    return wrong


def main() -> int:
    wanted = sys.argv[1:]
    cases = [(name, chip, pinned) for name in MODELS for chip in CORES for pinned in (1, 3)]
    chosen = [case for case in cases if not wanted or all(str(w) in str(case) for w in wanted)]
    wrong = sum(bench(*case) for case in chosen)
    print(f"\n{wrong} figures beyond their limit")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
