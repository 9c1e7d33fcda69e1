"""What framebuf bench found, for people, for benchstat and for programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framebuf.cli import go_text

if TYPE_CHECKING:
    from framebuf.models.timing import Bench

_BAR = 24
"""Columns of the longest bar."""
_HEADINGS = ("Batch", "Runs", "ms/batch", "ms/image", "±", "prepare ms", "read ms", "cores")
_WIDTH = 100
"""Columns where there is no terminal."""


def show(bench: Bench, model: str) -> None:
    """The table with its bars, Go's benchmark lines, and the advice."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    simulated = " (simulated)" if bench.simulated else ""
    runtimes = "1 runtime" if bench.pool == 1 else f"{bench.pool} runtimes"
    width, height = bench.picture
    console.print(Text(f"{Path(model).name} on {bench.platform}{simulated}, {runtimes}", "bold"))
    console.print(f"Runtime: {bench.runtime}", soft_wrap=True)
    given = f"{bench.input.width}×{bench.input.height} {bench.input.dtype}"
    console.print(f"Input: {given}; pictures of {width}×{height} are prepared for it")
    console.print()
    console.print(_table(bench, unicode=console.encoding.lower().startswith("utf")))
    console.print()
    for line in go_text.benchmark(bench, Path(model).name):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(_advice(bench), soft_wrap=True)


def print_json(bench: Bench, model: str, profile: Path | None) -> None:
    """One document on standard output."""
    sys.stdout.write(msgspec.json.encode(_document(bench, model, profile)).decode() + "\n")


def _table(bench: Bench, *, unicode: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ms/image, simulated" if bench.simulated else "ms/image", no_wrap=True)
    most = max(timing.ms_per_image for timing in bench.timings)
    for timing in bench.timings:
        length = timing.ms_per_image / most
        table.add_row(
            str(timing.batch),
            str(timing.runs),
            f"{timing.ms:.2f}",
            f"{timing.ms_per_image:.3f}",
            f"{timing.spread_pct:.1f} %",
            f"{timing.prepare_ms:.2f}",
            f"{timing.read_ms:.2f}",
            str(timing.cores),
            _bar(length, unicode=unicode),
            style="bold green" if timing is bench.smallest_good else None,
        )
    return table


def _bar(length: float, *, unicode: bool) -> str:
    """`length` is of 1, the longest; to an eighth of a column."""
    if not unicode:
        return "#" * max(1, round(length * _BAR))
    whole, eighths = divmod(max(1, round(length * _BAR * 8)), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()


def _advice(bench: Bench) -> str:
    best, good = bench.best, bench.smallest_good
    kind = "Simulated: b" if bench.simulated else "B"
    said = (
        f"{kind}atch {best.batch} takes the fewest milliseconds an image, {best.ms_per_image:.3f}."
    )
    if good is best:
        return said
    return (
        f"{said} Use batch {good.batch}: {good.ms_per_image:.3f} is within 15 %, "
        "and a smaller batch is sooner full and sooner done."
    )


def _document(timed: Bench, model: str, profile: Path | None) -> dict[str, Any]:
    return {
        "model": model,
        "platform": timed.platform,
        "simulated": timed.simulated,
        "runtime": timed.runtime,
        "input": str(timed.input),
        "picture": timed.picture,
        "pool": timed.pool,
        "batches": [
            {
                "batch": timing.batch,
                "runs": timing.runs,
                "ms_per_batch": round(timing.ms, 4),
                "ms_per_image": round(timing.ms_per_image, 4),
                "spread_pct": round(timing.spread_pct, 2),
                "prepare_ms": round(timing.prepare_ms, 4),
                "read_ms": round(timing.read_ms, 4),
                "cores": timing.cores,
            }
            for timing in timed.timings
        ],
        "best": timed.best.batch,
        "smallest_good": timed.smallest_good.batch,
        "profile": None if profile is None else str(profile),
    }
