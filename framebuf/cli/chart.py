"""Milliseconds an image by batch size, as an SVG picture."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framebuf.models.timing import Bench

WIDTH, HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 104, 64
_INK, _SOFT, _GRID, _BAR, _CHOSEN = "#1c2733", "#5b6b7a", "#e3e8ed", "#a9bdd0", "#1f6fb2"
_STEPS = (1, 2, 2.5, 5, 10)


def svg(bench: Bench, model: str) -> str:
    """A bar a batch size; the smallest good one stands out. On white, for light pages."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *_heading(bench, model),
            *_grid(_top_of(bench)),
            *_bars(bench, _top_of(bench)),
            "</svg>",
            "",
        ]
    )


def _heading(bench: Bench, model: str) -> Iterator[str]:
    good = bench.smallest_good
    title = f"{model} on {bench.platform}"
    yield _text(24, 36, title, size=20 if len(title) < 56 else 13, weight="bold")
    kind = "Simulated NPU: no figure is a board's. " if bench.simulated else ""
    pool = f", {bench.pool} runtimes" if bench.pool > 1 else ""
    yield _text(24, 60, f"{kind}Milliseconds an image by batch size{pool}", fill=_SOFT)
    chosen = f"Batch {good.batch} is the smallest within 15 % of the best"
    yield _text(24, 80, chosen, fill=_CHOSEN)


def _top_of(bench: Bench) -> float:
    """Where the scale ends: at a round number above the highest bar."""
    highest = max(timing.ms_per_image for timing in bench.timings)
    step = _step(highest)
    return step * -(-highest // step)


def _step(highest: float) -> float:
    """Of the grid: a round number, three to five to the highest bar."""
    power = 10.0 ** (len(f"{highest / 4:.0f}") - 1) if highest >= 4 else 10.0**-3
    while True:
        for step in _STEPS:
            if highest / (step * power) <= 5:
                return step * power
        power *= 10


def _grid(top: float) -> Iterator[str]:
    step = _step(top)
    for line in range(round(top / step) + 1):
        y = _y(line * step, top)
        yield f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{_GRID if line else _SOFT}"/>'
        yield _text(_LEFT - 8, y + 4, f"{line * step:g}", size=12, fill=_SOFT, anchor="end")


def _bars(bench: Bench, top: float) -> Iterator[str]:
    room = (WIDTH - _LEFT - _RIGHT) / len(bench.timings)
    width = min(72.0, room * 0.6)
    for at, timing in enumerate(bench.timings):
        middle, y = _LEFT + room * (at + 0.5), _y(timing.ms_per_image, top)
        chosen = timing is bench.smallest_good
        yield (
            f'<rect x="{middle - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{_y(0, top) - y:.1f}" fill="{_CHOSEN if chosen else _BAR}"/>'
        )
        ink, weight = (_CHOSEN, "bold") if chosen else (_INK, "normal")
        figure = f"{timing.ms_per_image:.4g}"
        yield _text(middle, y - 8, figure, weight=weight, fill=ink, anchor="middle")
        base = _y(0, top)
        label = f"batch {timing.batch}" if len(bench.timings) <= 9 else str(timing.batch)
        yield _text(middle, base + 22, label, weight=weight, fill=ink, anchor="middle")
        cost = f"{timing.ms:.4g} ms"
        if len(bench.timings) <= 5:
            cost += f" ± {timing.spread_pct:.1f} %"
        yield _text(middle, base + 42, cost, size=12, fill=_SOFT, anchor="middle")


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _text(
    x: float, y: float, text: str, *,
    size: int = 14, weight: str = "normal", fill: str = _INK, anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}" stroke="#ffffff" stroke-width="4" paint-order="stroke" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
