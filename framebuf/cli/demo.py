"""framebuf demo: everything in one process."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli.answers import code_of
from framebuf.cli.where import FAILED, NO_ANSWER

if TYPE_CHECKING:
    from framebuf.demo.play import Exchange


def add_to(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="One trigger, then stop.")] = False,
    source: Annotated[
        str | None,
        typer.Option(help="A folder of pictures, a video file, an rtsp:// or http:// URL."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where annotated pictures go.")] = Path("out"),
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document; implies --once.")
    ] = False,
    models: Annotated[
        str,
        typer.Option(
            help='The sample detector alone, "nanodet" or "person", or "person,looks": what each '
            "person looks like goes through a second model, and the most similar one is shown."
        ),
    ] = "nanodet",
    broker: Annotated[str | None, typer.Option(hidden=True, help="mosquitto or iotcore.")] = None,
) -> None:
    """Camera, MQTT broker and daemon on this machine: see triggers answered within seconds.

    Sends triggers over MQTT, shows each result as it comes, and writes annotated pictures.
    With --once: exit 0 complete, 3 partial, 4 failed or rejected, 5 no answer.

    Example: framebuf demo --once
    """
    from framebuf.demo import play  # noqa: PLC0415 - --help stays quick
    from framebuf.demo.broker import KINDS  # noqa: PLC0415
    from framebuf.demo.scene import CHOICES  # noqa: PLC0415

    if broker not in (None, *KINDS):
        raise typer.BadParameter(f"use {' or '.join(KINDS)}", param_hint="--broker")
    row = tuple(models.split(","))
    if row not in CHOICES:
        choices = ", ".join(map(",".join, CHOICES))
        raise typer.BadParameter(f"use one of {choices}", param_hint="--models")
    logging.basicConfig(level="WARNING", format="framebuf: %(message)s")
    if not once and not json:
        play.for_ever(source, out, broker=broker, models=row)
        return
    exchange = play.once(source, out, broker=broker, quiet=json, models=row)
    if json:
        _print(exchange)
    raise typer.Exit(_code(exchange))


def _code(exchange: Exchange) -> int:
    if exchange.done:
        return code_of(exchange.done)
    if exchange.error:
        typer.echo(f"framebuf: rejected: {exchange.error['message']}", err=True)
        return FAILED
    typer.echo("framebuf: the daemon did not answer in time", err=True)
    return NO_ANSWER


def _print(exchange: Exchange) -> None:
    import msgspec  # noqa: PLC0415

    document = {
        "trigger": exchange.trigger,
        "results": exchange.results,
        "done": exchange.done,
        "files": [str(path) for path in exchange.files],
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
