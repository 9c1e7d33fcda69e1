"""framebuf status: a node as it is now, or all of them, seen over MQTT alone."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framebuf.cli import where

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from framebuf.config import Mqtt
    from framebuf.service.fleet import Fleet
    from framebuf.service.sighting import Sighting
    from framebuf.service.visitor import Visitor

ANSWER_S = 5.0
"""How long the broker may take to tell what it keeps."""
REFRESH_S = 0.5


def add_to(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once, not live.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every node below the base topic, a line each.")
    ] = False,
    config: where.ConfigOption = None,
    host: where.HostOption = None,
    port: where.PortOption = None,
    node: where.NodeOption = None,
    base: where.BaseOption = None,
    timeout: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds to wait for the stats, if once.")
    ] = 65.0,
) -> None:
    """Show a node's state: cameras, models, requests, counters. On a terminal it stays live.

    What it shows is what the node publishes; its stats come once a minute, and are waited for
    where it is shown once: as --json, with --once, and where the output is no terminal. With --all
    stats are not waited for.

    Exit 0 the node and all its cameras are online, 3 a camera is offline, 4 the node is offline,
    5 the broker does not answer or knows no such node; with --all the worst of all nodes.

    Example: framebuf status --host broker.local --node gate-7

    Example: framebuf status --all --json
    """
    logging.basicConfig(level="ERROR", format="framebuf: %(message)s")  # troubles are shown
    if math.isnan(timeout):
        raise typer.BadParameter("nan is no time", param_hint="--timeout")
    if every and node is not None:
        raise typer.BadParameter("goes not with --all", param_hint="--node")
    mqtt, topics = where.broker_of(config, host, port, node, base, any_node=every)
    look = _Look(mqtt, None if every else topics.node)
    live = not json and not once and sys.stdout.isatty()
    raise typer.Exit(look.live() if live else look.once(json=json, timeout_s=timeout))


class _Look:
    """At one node, or with None at all of them."""

    def __init__(self, mqtt: Mqtt, name: str | None) -> None:
        self._mqtt = mqtt
        self._name = name

    def once(self, *, json: bool, timeout_s: float) -> int:
        """Print what there is, and return the exit status."""
        import msgspec  # noqa: PLC0415 - --help stays quick
        from rich.console import Console  # noqa: PLC0415

        from framebuf.cli import status_view  # noqa: PLC0415
        from framebuf.service.fleet import Fleet  # noqa: PLC0415
        from framebuf.service.visitor import NoAnswerError  # noqa: PLC0415

        fleet = Fleet(self._mqtt.base)
        try:
            with (
                self._visitor(stats=self._name is not None) as visitor,
                Console(stderr=True).status("looking") as progress,
            ):
                trouble = self._gather(visitor, fleet, timeout_s, progress.update)
            if trouble is not None:
                typer.echo(f"framebuf: {trouble}", err=True)
        except NoAnswerError as error:
            typer.echo(f"framebuf: {error}", err=True)
        if json:
            sys.stdout.write(msgspec.json.encode(self._document(fleet)).decode() + "\n")
        elif self._known(fleet):
            typer.echo(status_view.plain(self._view(fleet, None)))
        return self._code(fleet)

    def live(self) -> int:
        """Show it until Ctrl-C; the exit status is of what was seen last."""
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        from framebuf.service.fleet import Fleet  # noqa: PLC0415
        from framebuf.service.visitor import NoAnswerError  # noqa: PLC0415

        fleet = Fleet(self._mqtt.base)
        try:
            with (
                self._visitor(stats=True) as visitor,
                Live(console=Console(), auto_refresh=False) as screen,
            ):
                while True:
                    fleet.take(visitor.hear_all(REFRESH_S))
                    screen.update(self._view(fleet, visitor.trouble), refresh=True)
        except NoAnswerError as error:
            typer.echo(f"framebuf: {error}", err=True)
        except KeyboardInterrupt:
            pass
        return self._code(fleet)

    def _visitor(self, *, stats: bool) -> Visitor:
        from framebuf.service.fleet import RETAINED  # noqa: PLC0415
        from framebuf.service.visitor import Visitor  # noqa: PLC0415

        name = "+" if self._name is None else self._name
        leaves = (*RETAINED, "stats") if stats else RETAINED
        topics = tuple(f"{self._mqtt.base}/{name}/{leaf}" for leaf in leaves)
        return Visitor(self._mqtt, topics, retained=True)

    def _gather(
        self, visitor: Visitor, fleet: Fleet, timeout_s: float, tell: Callable[[str], None]
    ) -> str | None:
        """What the broker keeps; of one node that is online also its next stats.

        Returns what kept it from those, in words.

        Raises:
            NoAnswerError: the broker knows no such node.
        """
        from framebuf.service.visitor import NoAnswerError  # noqa: PLC0415

        end = time.monotonic() + timeout_s
        fleet.look(visitor, ANSWER_S, lambda node: node.is_whole)
        if not self._known(fleet):
            which = "no node" if self._name is None else f"no node {self._name}"
            more = "" if self._name is None else "; framebuf status --all lists those it knows"
            if self._mqtt.username is not None:  # brokers that deny say nothing
                more += f"; is the account {self._mqtt.username} allowed to read them?"
            raise NoAnswerError(
                f"the broker {visitor.where} knows {which} below {self._mqtt.base}{more}"
            )
        if self._name is None:
            return visitor.trouble
        node = fleet.node(self._name)
        tell(f"waiting for the stats of {node.name}, which come once a minute")
        while node.is_online and node.stats is None:
            left_s = end - time.monotonic()
            if visitor.trouble is not None or left_s <= 0:
                return visitor.trouble or (
                    f"no stats of {node.name} within {timeout_s:g} s; they come once a minute, to "
                    "those that the broker lets read them"
                )
            fleet.take(visitor.hear_all(min(REFRESH_S, left_s)))
        return visitor.trouble

    def _known(self, fleet: Fleet) -> list[Sighting]:
        """The nodes that are looked at, as far as the broker knows them."""
        return [node for node in fleet.nodes if self._name in (None, node.name)]

    def _document(self, fleet: Fleet) -> dict[str, Any]:
        head = {"base": self._mqtt.base, "broker": f"{self._mqtt.host}:{self._mqtt.port}"}
        if self._name is None:
            return {**head, "nodes": [node.document() for node in fleet.nodes]}
        return {**head, **fleet.node(self._name).document()}

    def _view(self, fleet: Fleet, trouble: str | None) -> RenderableType:
        from framebuf.cli import status_view  # noqa: PLC0415

        broker = f"{self._mqtt.host}:{self._mqtt.port}"
        if self._name is None:
            return status_view.of_all(fleet.nodes, broker, trouble)
        return status_view.of_node(fleet.node(self._name), broker, trouble)

    def _code(self, fleet: Fleet) -> int:
        return max(map(code_of, self._known(fleet)), default=where.NO_ANSWER)


def code_of(node: Sighting) -> int:
    """The exit status that tells a node's state."""
    if node.status is None:
        return where.NO_ANSWER
    if not node.is_online:
        return where.FAILED
    return 0 if all(state == "online" for state in node.cameras.values()) else where.PART
