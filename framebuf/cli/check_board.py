"""framebuf check --board: one report of a board, to be pasted into an issue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from framebuf.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.service.board_check import BoardReport, Tried


def check_board(models: list[str], config: Path, *, json: bool) -> bool:
    """Look at the board, try the models, or else the configuration's, and print the report.

    All of it goes to standard output, what is wrong too: it is made to be sent to somebody.
    Returns whether all is well.
    """
    from framebuf.service.board_check import look, try_model  # noqa: PLC0415 - --help stays quick

    report = look()
    if not report.missing:
        try:
            paths = models or _configured(config)
        except ConfigError as error:  # the rest of the report is of use all the same
            paths = []
            report.missing.append(f"a good configuration: {error}")
        report.models = [try_model(path, _progress) for path in paths]
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _show(report)
    return report.ok


def _progress(what: str) -> None:
    # no spinner: the vendor's library writes to the terminal too, and is listened to
    if sys.stderr.isatty():
        typer.echo(f"trying {what}", err=True)


def _configured(config: Path) -> list[str]:
    """The models of the configuration, if there is one, which do not run on the CPU.

    Raises:
        ConfigError: it is there, and wrong.
    """
    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf.config.endpoints import is_url  # noqa: PLC0415
    from framebuf.models.platforms import is_simulated  # noqa: PLC0415

    if not config.exists():
        return []
    return [
        model.path for model in configuration.load(config).config.model
        if model.platform != "cpu" and not is_simulated(model.platform)
        and not model.path.endswith(".onnx") and not is_url(model.path)
    ]  # fmt: skip


def _show(report: BoardReport) -> None:
    chip = f"{report.chip}, {report.cores} NPU cores" if report.chip else "none with an NPU"
    named = f"{report.board or 'unknown'} ({', '.join(report.compatible) or 'no device tree'})"
    for what, said in (
        ("framebuf", report.framebuf),
        ("board", named),
        ("chip", chip),
        ("kernel", report.kernel),
        ("driver", report.driver or "its version is for root alone, or there is none"),
        ("library", report.library or "none"),
        ("wheel", f"rknn-toolkit-lite2 {report.wheel or 'none'}"),
        ("python", report.python),
        *(("node", node) for node in report.nodes),
    ):
        typer.echo(f"{what:9}{said}")
    for model in report.models:
        _show_model(model)
    for what in report.missing:
        typer.echo(f"missing  {what}")
    if report.ok:
        typer.echo("all is well" if report.models else "no model was tried: give -m FILE.rknn")


def _show_model(model: Tried) -> None:
    typer.echo(f"model    {model.path}")
    if model.contexts:
        first = model.contexts[0]
        typer.echo(f"  {first.versions}")
        typer.echo(f"  {first.input} → {'; '.join(first.outputs)}")
    for each in model.contexts:
        typer.echo(
            f"  batch {each.batch:<3} opened in {each.open_ms:.0f} ms, then {each.best_ms:.2f} ms, "
            f"median {each.median_ms:.2f} ms, {each.best_ms / each.batch:.3f} ms a frame: "
            f"{each.name}"
        )
    if model.parity and not model.error:
        typer.echo(f"  parity: {model.parity}")
    if model.error:
        typer.echo(f"  failed: {model.error}")
