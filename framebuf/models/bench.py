"""A family's batch sizes, timed: preparing, inference and reading, each apart."""

from __future__ import annotations

import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from framebuf.errors import InferenceError
from framebuf.models.batch import Batch
from framebuf.models.family import family_of
from framebuf.models.platforms import cores_of
from framebuf.models.prepare import Preparer
from framebuf.models.runtimes import Distant, open_runtime, platform_of
from framebuf.models.timing import Bench, Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.config import Model
    from framebuf.models.family import Source
    from framebuf.models.runtimes import Runtime
    from framebuf.models.timing import Length

_PREPARES = 5
"""How often a batch is prepared to time it; the median counts."""


def time_family(
    model: Model,
    *,
    pool: int = 1,
    length: Length,
    picture: NDArray[np.uint8],
    progress: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Load each file of a model on `pool` runtimes, warm them up, and time them.

    `picture` is (height, width, 3) uint8, BGR. Main thread only: it may be interrupted.

    Raises:
        ModelError: a file is missing or broken.
        InferenceError: a runtime failed.
    """
    family = family_of(model)
    threads = max(1, len(os.sched_getaffinity(0)) // pool)
    timings: list[Timing] = []
    for member, path in family.files.items():
        platform = platform_of(path, model.platform)
        with ExitStack() as opened:
            runtimes = []
            for number in range(pool):
                core = _core(platform, member, number)
                runtime = open_runtime(
                    path, platform, threads=threads, layout=model.layout, core=core
                )
                opened.callback(runtime.close)
                runtimes.append(runtime)
            most = runtime.largest if isinstance(runtime, Distant) else None
            for size in family.sizes(member, runtime.input, most):
                progress(f"batch {size}")
                takes = 1 if platform == "cpu" or size == 1 else cores_of(platform)
                timings.append(_time(runtimes, size, length, picture, takes, path))
    height, width, _ = picture.shape
    timings.sort(key=lambda timing: timing.batch)
    return Bench(
        platform, runtime.versions, runtime.input, pool, (width, height), tuple(timings)
    )  # fmt: skip


def _core(platform: str, member: int | None, number: int) -> int | None:
    """Runtimes of batch 1 stand on a core each, in turn; a batch takes them all."""
    cores = cores_of(platform)
    return number % cores if member == 1 and cores > 1 else None


def _time(
    runtimes: Sequence[Runtime], size: int, length: Length, picture: NDArray[np.uint8],
    cores: int, path: Source,
) -> Timing:  # fmt: skip
    spec = runtimes[0].input
    batches = [Batch(spec, size, Preparer(spec)) for _ in runtimes]
    prepares = [_prepare(batch, picture) for batch in batches for _ in range(_PREPARES)]
    for runtime, batch in zip(runtimes, batches, strict=True):
        runtime.infer(batch.tensor)  # the first run is slower
    begun = time.perf_counter_ns()
    runs = _run_all(runtimes, batches, length.shared(len(runtimes)))
    passed_ms = (time.perf_counter_ns() - begun) / 1e6
    inferences = sorted(infer for infer, _ in runs)
    median = statistics.median(inferences)
    edge = len(inferences) // 20
    low, high = inferences[edge], inferences[-1 - edge]
    return Timing(
        batch=size,
        runs=len(runs),
        ms=median if len(runtimes) == 1 else passed_ms / len(runs),
        spread_pct=50 * (high - low) / median if median else 0.0,
        prepare_ms=statistics.median(prepares),
        read_ms=statistics.median(read for _, read in runs),
        cores=cores,
        file=path,
    )


def _prepare(batch: Batch, picture: NDArray[np.uint8]) -> float:
    """Fill the batch; milliseconds."""
    begun = time.perf_counter_ns()
    batch.clear()
    for _ in range(batch.size):
        batch.add(picture)
    return (time.perf_counter_ns() - begun) / 1e6


def _run_all(
    runtimes: Sequence[Runtime], batches: Sequence[Batch], length: Length
) -> list[tuple[float, float]]:
    """Run them side by side, a thread each: milliseconds of each inference, and of its reading."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(runtimes), "bench") as threads:
        try:
            parts = [
                threads.submit(_run, runtime, batch, length, stop)
                for runtime, batch in zip(runtimes, batches, strict=True)
            ]
            return [run for part in parts for run in part.result()]
        finally:  # also of an interrupt
            stop.set()


def _run(
    runtime: Runtime, batch: Batch, length: Length, stop: threading.Event
) -> list[tuple[float, float]]:
    runs: list[tuple[float, float]] = []
    tensor = batch.tensor
    spent_ns = 0
    try:
        while not (stop.is_set() or length.over(spent_ns, len(runs))):
            begun = time.perf_counter_ns()
            outputs = runtime.infer(tensor)
            inferred = time.perf_counter_ns()
            batch.finish(outputs)
            for slot in range(batch.size):
                for row in batch.output(slot):
                    row.copy()
            spent_ns += inferred - begun
            runs.append(((inferred - begun) / 1e6, (time.perf_counter_ns() - inferred) / 1e6))
    except InferenceError:
        stop.set()  # the others need not go on
        raise
    return runs
