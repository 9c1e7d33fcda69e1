"""Nodes as `framebuf status` shows them. Nothing that came over MQTT is trusted to be text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from framebuf.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from framebuf.service.sighting import SeenBuffer, SeenCamera, SeenInfo, SeenModel, Sighting

STYLES = {"online": "bold green", "offline": "bold red"}
MOST_S = 1e10
WIDE = 1000
"""Columns where there is no terminal: nothing is cut."""


def plain(view: RenderableType) -> str:
    """As text without colours."""
    sheet = io.StringIO()
    Console(file=sheet, width=WIDE, color_system=None, highlight=False).print(view)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines())


def of_all(nodes: Sequence[Sighting], broker: str, trouble: str | None) -> RenderableType:
    """A line for each node, by name."""
    table = _table("node", "state", "version", "cameras", "models", "up", "open")
    for node in nodes:
        info, stats, cameras = node.info, node.stats, node.cameras
        up = sum(state == "online" for state in cameras.values())
        away = [name for name, state in cameras.items() if state != "online"]
        models = _models_in_short(info) if info else "?"
        _row(
            table,
            printable(node.name),
            _state(node.status),
            printable(info.version) if info else "?",
            _cameras_in_short(up, len(cameras), away if node.is_online else []),
            models,
            lasting(stats.uptime_s) if stats and node.is_online else "",
            str(stats.requests_open) if stats and node.is_online else "",
        )
    online = sum(node.is_online for node in nodes)
    return Group(_broker(broker, trouble), table, Text(f"{online} of {len(nodes)} nodes online"))


def of_node(node: Sighting, broker: str, trouble: str | None) -> RenderableType:
    """All that is known of one node."""
    info, stats = node.info, node.stats
    head = Text.assemble((printable(node.name), "bold"), "  ", _state(node.status))
    if info is not None:
        head.append(f"  framebuf {printable(info.version)}")
        if info.clock_synchronised is False:
            head.append("  clock not synchronised", "yellow")
    if stats is not None and node.is_online:
        head.append(f"  up {lasting(stats.uptime_s)}")
    parts = (head, _broker(broker, trouble), Text(""), _cameras(node), Text(""), _models(node))
    if stats is None:
        wait = "waiting for the stats, which come once a minute"
        return Group(
            *parts, Text(""), Text(wait if node.is_online else "no stats of it yet", "dim")
        )
    most = info.limits.get("max_pending") if info else None
    limit = f" of at most {most}" if most is not None else ""
    return Group(
        *parts,
        Text(f"\nrequests  {stats.requests_open}{limit} open\n"),
        _counters(stats.counters, node.rates()),
        Text(f"stats of {printable(stats.at)}; they come once a minute", "dim"),
    )


def lasting(seconds: float) -> str:
    """`3 d 4 h`, in its two largest units."""
    left = int(min(max(0.0, seconds), MOST_S))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _cameras(node: Sighting) -> Table:
    table = _table("camera", "state", "size", "fps", "buffer", "leased", "dropped", "models")
    for name, state in node.cameras.items():
        camera = node.info.cameras.get(name) if node.info else None
        buffer = node.stats.cameras.get(name) if node.stats else None
        size = f"{camera.width}×{camera.height}" if camera and camera.width else "?"
        models = ", ".join(camera.models) if camera else "?"
        _row(
            table,
            printable(name),
            _state(state),
            size,
            _rate(camera, buffer),
            _buffered(camera, buffer),
            _number(buffer.leased if buffer else None),
            _number(buffer.dropped if buffer else None),
            printable(models),
        )
    return table


def _rate(camera: SeenCamera | None, buffer: SeenBuffer | None) -> str:
    """As measured, else as the source tells."""
    rate = buffer.fps if buffer else None
    if rate is None and camera is not None:
        rate = camera.rate
    return "?" if rate is None else f"{rate:.1f}"


def _buffered(camera: SeenCamera | None, buffer: SeenBuffer | None) -> str:
    history = camera.history if camera else None
    if buffer is None or buffer.held is None:
        return f"of {history} frames" if history else "?"
    seconds = "" if buffer.held_s is None else f"{buffer.held_s:.1f} s, "
    most = "" if history is None else f" of {history}"
    return f"{seconds}{min(buffer.held, history or buffer.held)}{most} frames"


def _models(node: Sighting) -> Table:
    table = _table("model", "task", "lane", "batch sizes", "runtimes", "frames waiting in the lane")
    for name, model in (node.info.models if node.info else {}).items():
        lane = (node.stats.lanes if node.stats else {}).get(model.lane or model.platform, {})
        waiting = lane.get("waiting")
        _row(
            table,
            printable(name),
            printable(model.task),
            _lane(model),
            ", ".join(map(str, model.batch_sizes)),
            str(model.runtimes),
            _number(waiting if isinstance(waiting, int) else None),
        )
    return table


def _counters(counters: Mapping[str, int], rates: Mapping[str, float]) -> Table:
    """Each with its growth; it grows where it stands in `rates` and is not 0."""
    table = _table("counter", "since the start", "a minute")
    for name, count in sorted(counters.items()):
        rate = rates.get(name)
        growth = "" if rate is None else f"{rate:+.1f}" if rate else "0"
        _row(table, printable(name), str(count), growth)
    return table


def _models_in_short(info: SeenInfo) -> str:
    models = info.models.items()
    return ", ".join(printable(f"{name} on {_lane(model)}") for name, model in models)


def _lane(model: SeenModel) -> str:
    simulated = " (simulated)" if model.simulated else ""
    away = f" (away; {model.fallback or 'nobody'} answers)" if model.away else ""
    return printable(model.platform + away) + simulated


def _cameras_in_short(up: int, count: int, away: Sequence[str]) -> Text:
    text = Text(f"{up} of {count}", "" if up == count else "yellow")
    if away:
        text.append(f" ({', '.join(map(printable, away))} offline)")
    return text


def _broker(broker: str, trouble: str | None) -> Text:
    if trouble is None:
        return Text(f"broker {printable(broker)}", "dim")
    return Text(f"broker {printable(broker)}: {printable(trouble)}", "red")


def _state(state: str | None) -> Text:
    return Text(state or "unknown", STYLES.get(state or "", "bold yellow"))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _row(table: Table, *cells: str | Text) -> None:
    """Strings are not read as rich's markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
