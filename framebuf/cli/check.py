"""framebuf check: what a configuration means, and what is wrong with it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framebuf import shell
from framebuf.cli import config_file

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.service.report import Report


def add_to(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    config: config_file.Config = config_file.DEFAULT_PATH,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schemas instead, and exit.")
    ] = False,
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="Print the AsyncAPI document instead, and exit.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    board: Annotated[
        bool, typer.Option("--board", help="Report on this board and its NPU instead.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="With --board: a model to try, not the configured."),
    ] = None,
) -> None:
    """Read the configuration, try models, cameras and broker, and say what is wrong.

    Exit 0 where all is well, else 78. With --board: what a Rockchip board has, and how its models
    run there, to be pasted into an issue. With --asyncapi: the MQTT messages for machines, with the
    base topic and the broker of the configuration where there is one.

    Example: framebuf check -c /etc/framebuf/framebuf.toml

    Example: framebuf check --board -m "models/osnet-batch{1,4,8}.rknn"
    """
    import msgspec  # noqa: PLC0415 - --help stays quick

    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf import contract  # noqa: PLC0415
    from framebuf.cli.check_board import check_board  # noqa: PLC0415

    if schema:
        schemas = {"config": configuration.schema(), "messages": contract.schemas()}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(schemas)).decode() + "\n")
        return
    if asyncapi:
        _print_asyncapi(config)
        return
    if model and not board:
        raise typer.BadParameter("goes with --board", param_hint="--model")
    logging.basicConfig(level="WARNING", format="framebuf: %(message)s")
    if board:
        raise typer.Exit(0 if check_board(model or [], config, json=json) else shell.EX_CONFIG)
    report = _report(config, quiet=json)
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _show(report)
    raise typer.Exit(0 if report.ok else shell.EX_CONFIG)


def _print_asyncapi(path: Path) -> None:
    import msgspec  # noqa: PLC0415

    from framebuf import __version__  # noqa: PLC0415
    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf.contract.asyncapi import document  # noqa: PLC0415

    found = document(__version__)
    if path != config_file.DEFAULT_PATH or config_file.is_there():
        mqtt = configuration.load(path).config.mqtt
        found = document(__version__, mqtt.base, mqtt.host, mqtt.port)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")


def _report(path: Path, *, quiet: bool) -> Report:
    from rich.console import Console  # noqa: PLC0415

    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf.errors import ConfigError  # noqa: PLC0415
    from framebuf.service.report import Problem, Report  # noqa: PLC0415
    from framebuf.service.survey import survey  # noqa: PLC0415

    try:
        loaded = configuration.load(path)
    except ConfigError as error:
        return Report(ok=False, problems=[Problem.of(error)])
    if quiet:
        return survey(loaded)
    with Console(stderr=True).status("reading") as status:
        return survey(loaded, progress=lambda what: status.update(f"trying {what}"))


def _show(report: Report) -> None:
    for model in report.models:
        _show_model(model)
    for camera in report.cameras:
        _show_camera(camera)
    if "ring_free_bytes" in report.machine:
        free, need = (report.machine[f"ring_{what}_bytes"] / 2**20 for what in ("free", "need"))
        typer.echo(f"buffers: {need:.0f} MiB of the {free:.0f} MiB that are free")
    if (synchronised := report.machine.get("clock_synchronised")) is not None:
        typer.echo(f"clock: {'synchronised' if synchronised else 'not synchronised'}")
    for note in report.notes:
        typer.echo(f"note: {note.where}: {note.what}\n  → {note.remedy}")
    for problem in report.problems:
        typer.echo(f"{problem.where}: {problem.what}\n  → {problem.remedy}", err=True)
    if report.ok:
        typer.echo("all is well")


def _show_model(model: dict[str, Any]) -> None:
    sizes = ", ".join(map(str, model["batch_sizes"]))
    typer.echo(
        f"model {model['name']}: {model['task']} on {model['platform']}, {model['input']}, "
        f"batch sizes {sizes}, runtimes {model['runtimes']}"
    )
    if "servers" in model:
        instead = model["fallback"] or "none"
        typer.echo(f"  {model['servers']}; where no server answers: {instead}")
    simulated = ", simulated" if model["simulated"] else ""
    for cost in model["batches"]:
        typer.echo(
            f"  batch {cost['batch']}: {cost['ms_per_batch']:.1f} ms, "
            f"{cost['ms_per_image']:.1f} ms a frame{simulated}"
        )


def _show_camera(camera: dict[str, Any]) -> None:
    rate, drain = camera["rate"], camera.get("drain")
    reach = f", {camera['history'] / rate:.1f} s at {rate:g} a second" if rate else ""
    typer.echo(
        f"camera {camera['name']}: {camera['width']}×{camera['height']}, "
        f"history {camera['history']} frames{reach}, headroom {camera['headroom']}: "
        f"{camera['bytes'] / 2**20:.0f} MiB; stamped by {camera['stamps']}"
    )
    if (store := camera.get("store")) is not None:
        _show_store(store)
    if drain is not None:
        enough = f"{drain['dropped']} of them find no room" if drain["dropped"] else "there is room"
        typer.echo(
            f"  a drain of {drain['frames']} frames takes {drain['seconds']:.1f} s; "
            f"{drain['meanwhile']} frames come meanwhile: {enough}"
        )


def _show_store(store: dict[str, Any]) -> None:
    for kind in ("raw", "encoded"):
        if (cost := store.get(kind)) is None:
            continue
        core = f"{cost['core_pct']:.1f} % of a core" if cost["core_pct"] is not None else "unknown"
        later = cost["first_answer_later_ms"]
        first = f"up to {later:.0f} ms later" if later else "at once"
        typer.echo(
            f"  store {kind}: {cost['bytes'] / 2**20:.0f} MiB, idle {core}, first answer {first}"
        )
    typer.echo(f"  advised: {store['advised']}, {store['why']}; configured: {store['configured']}")
