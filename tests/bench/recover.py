"""What a start costs that finds 150 frames of 1080p and more, over making that ring and filling it.

The process that writes is another, which is killed; each recovery is a process of its own too, as
after a crash. Prints the ratio and the memory beside the ring (RssAnon) that recovery takes, and
exits 1 where the ratio is beyond 0.50, or that memory beyond 8 MiB, about one frame.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.units import Moment, Size, Span

LIMIT = 0.50
ANON_LIMIT = 8.0
"""MiB."""
HEIGHT, WIDTH = 1080, 1920
FRAMES = 150
REPEATS = 5


def buffer_in(directory: RingDirectory) -> Buffer:
    buffer = Buffer(
        "bench", directory, span=Span(frames=FRAMES), memory=Size(2**31), stale_ns=10**9,
        boot_id="bench",
    )  # fmt: skip
    buffer.opened(1.0)
    return buffer


def write(path: Path) -> None:
    """Make a ring, fill it, say how long that took, and wait to be killed."""
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with RingDirectory.open(path) as directory:
        buffer = buffer_in(directory)
        started = time.perf_counter()
        while buffer.extent is None or buffer.held() < buffer.extent.slots:
            slot = buffer.begin(Moment(time.monotonic_ns(), time.time_ns()), HEIGHT, WIDTH)
            if slot is None:
                raise RuntimeError("no slot was free")
            np.copyto(slot.pixels, frame)
            buffer.commit(slot)
        print(time.perf_counter() - started, flush=True)
        signal.pause()


def recover(path: Path) -> None:
    """Recover, and say the seconds and the MiB that it took, and how many frames there are."""
    with RingDirectory.open(path) as directory:
        buffer = buffer_in(directory)
        before, started = anonymous_mib(), time.perf_counter()
        buffer.recover(time.monotonic_ns())
        print(time.perf_counter() - started, anonymous_mib() - before, buffer.held(), flush=True)


def anonymous_mib() -> float:
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if match is None:
        raise RuntimeError("the kernel does not say RssAnon")
    return int(match[1]) / 1024


def main() -> int:
    path = Path(tempfile.mkdtemp(prefix="framebuf-bench-", dir="/dev/shm"))
    try:
        command = [sys.executable, __file__]
        with subprocess.Popen(
            [*command, "write", path], stdout=subprocess.PIPE, text=True
        ) as writer:
            written = float(writer.stdout.readline()) if writer.stdout else 0.0
            os.kill(writer.pid, signal.SIGKILL)
        said = [
            subprocess.run(
                [*command, "recover", path], stdout=subprocess.PIPE, text=True, check=True
            ).stdout.split()
            for _ in range(REPEATS)
        ]
    finally:
        shutil.rmtree(path)
    seconds = statistics.median(float(one[0]) for one in said)
    anon = max(float(one[1]) for one in said)
    held = {int(one[2]) for one in said}
    print(
        f"recovering {min(held)} frames of 1080p: {seconds * 1e3:.1f} ms, "
        f"{seconds / written:.3f} of making and filling such a ring (limit {LIMIT:.2f}); "
        f"RssAnon +{anon:.1f} MiB (limit {ANON_LIMIT:.0f})"
    )
    return 1 if seconds / written > LIMIT or anon > ANON_LIMIT or min(held) < FRAMES else 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"write": write, "recover": recover}[sys.argv[1]](Path(sys.argv[2]))
    else:
        sys.exit(main())
