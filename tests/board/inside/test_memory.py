"""Memory of a process that infers for long, on three contexts at once."""

from __future__ import annotations

import gc
import re
import threading
from pathlib import Path

import numpy as np

from framebuf.models.runtimes.rknn import RknnRuntime

MODEL = Path(__file__).parents[2] / "assets/tiny-rk3588-i8-batch1.rknn"
CONTEXTS, EACH, WARM_UP = 3, 1000, 100
MIB = 1024


def anonymous_kib():
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1])


def test_three_thousand_inferences_keep_nothing():
    runtimes = [RknnRuntime.open(MODEL, "rk3588", core=core) for core in range(CONTEXTS)]
    tensor = np.full((1, 256, 128, 3), 7, np.uint8)
    rounds = [WARM_UP, *[EACH // 5] * 5]
    begun, ended = threading.Barrier(CONTEXTS + 1), threading.Barrier(CONTEXTS + 1)

    def run(runtime):
        # one thread a context for ever, as in the lane: qemu itself keeps memory of each that ends
        for times in rounds:
            begun.wait()
            for _ in range(times):
                runtime.infer(tensor)
            ended.wait()

    threads = [threading.Thread(target=run, args=(each,)) for each in runtimes]
    for thread in threads:
        thread.start()
    # what framebuf does must be enough: a busy daemon does not come to a full collection for long
    gc.disable()
    try:
        measured = []
        for _ in rounds:
            begun.wait()
            ended.wait()
            measured.append(anonymous_kib())
    finally:
        gc.enable()
        begun.abort()
        for thread in threads:
            thread.join()
        for runtime in runtimes:
            runtime.close()
    grown = [kib - measured[0] for kib in measured[1:]]
    print("RssAnon KiB above the warm-up, after 600, 1200 … 3000 inferences:", grown)
    assert max(grown) < 5 * MIB, grown
