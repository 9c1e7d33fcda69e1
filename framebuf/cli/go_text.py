"""How Go prints durations and benchmarks, so that benchstat and old scripts read ours."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.models.timing import Bench, Timing

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def duration(ns: int) -> str:
    """As Go's time.Duration: `2.098619346s`, `41.5ms`, `1m3.25s`."""
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if ns < 1000 * scale:
            return f"{_trimmed(ns, scale)}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    seconds = f"{_trimmed(rest, 10**9)}s"
    if minutes < 60:
        return f"{minutes}m{seconds}" if minutes else seconds
    return f"{minutes // 60}h{minutes % 60}m{seconds}"


def _trimmed(ns: int, scale: int) -> str:
    whole, rest = divmod(ns, scale)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}}".rstrip("0").rstrip(".") if rest else str(whole)


def benchmark(bench: Bench, model: str) -> list[str]:
    """The lines of `go test -bench`: configuration, then one a batch size.

    Format: golang.org/design/14313-benchmark-format; numbers as Go's testing package prints them.
    """
    lines = [
        "goos: linux",
        f"goarch: {_ARCHITECTURES.get(platform.machine(), platform.machine())}",
        "pkg: framebuf",
        *(f"cpu: {name}" for name in _processor()),
        f"model: {model}",
        f"platform: {bench.platform}",
        f"runtime: {bench.runtime}",
        f"pool: {bench.pool}",
    ]
    if bench.simulated:
        lines.append("npu: simulated, no figure is a board's")
    width = max(len(_name(timing)) for timing in bench.timings)
    return lines + [_line(timing, width) for timing in bench.timings]


def _name(timing: Timing) -> str:
    processors = len(os.sched_getaffinity(0))
    return f"BenchmarkBatchSize/Batch{timing.batch:02}" + f"-{processors}" * (processors > 1)


def _line(timing: Timing, width: int) -> str:
    return "\t".join(
        (
            f"{_name(timing):<{width}}",
            f"{timing.runs:8}",
            f"{_number(timing.ms * 1e6)} ns/op",
            f"{_number(timing.ms)} ms/batch",
            f"{_number(timing.ms_per_image)} ms/img",
        )
    )


def _number(value: float) -> str:
    """Four significant digits below 1000, whole numbers from there; points stand in one column."""
    decimals = next((d for d, bound in enumerate(_BOUNDS) if value >= bound), len(_BOUNDS))
    decimals = 0 if value == 0 else decimals
    return f"{value:{11 + decimals if decimals else 10}.{decimals}f}"


_BOUNDS = (999.95, 99.995, 9.9995, 0.99995, 0.099995, 0.0099995, 0.00099995)


def _processor() -> list[str]:
    """The processor's name, where the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[:1]
