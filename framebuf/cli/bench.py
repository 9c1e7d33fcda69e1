"""framebuf bench: which batch size is best."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli import model_options

if TYPE_CHECKING:
    from framebuf.models.timing import Bench, Length


def add_to(app: typer.Typer) -> None:
    app.command("bench")(bench)


def bench(
    model: model_options.Path,
    platform: model_options.Platform = "auto",
    benchtime: Annotated[
        str, typer.Option(help='Time of inference for each batch size, "10s", or runs, "100x".')
    ] = "1s",
    pool: model_options.Pool = 1,
    batch: model_options.Batches = None,
    picture: Annotated[
        str, typer.Option(help="Width and height of the pictures that are prepared.")
    ] = "1280x720",
    layout: model_options.Layout = None,
    ca_file: model_options.CaFile = None,
    token_file: model_options.TokenFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures to this .svg file.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write the profile that the daemon plans with.")
    ] = False,
) -> None:
    """Time each batch size of a model, and say which is best.

    The inference alone counts; preparing pictures and reading outputs are timed apart. The lines
    that begin with Benchmark are Go's format: benchstat compares them.

    Example: framebuf bench -m "osnet-batch{1,4,8,16}.rknn" -p rk3588 --benchtime 10s --save
    """
    import numpy as np  # noqa: PLC0415 - --help stays quick
    from rich.console import Console  # noqa: PLC0415

    from framebuf.cli import bench_report  # noqa: PLC0415
    from framebuf.config.endpoints import is_url  # noqa: PLC0415
    from framebuf.models import profile  # noqa: PLC0415
    from framebuf.models.bench import time_family  # noqa: PLC0415

    length, (width, height) = _length(benchtime), _size(picture)
    if plot is not None:
        if plot.suffix != ".svg":
            raise typer.BadParameter(f"expected a file.svg, got {plot}", param_hint="--plot")
        _require_writable(plot, "--plot")
    if save and pool > 1:
        raise typer.BadParameter("the profile is of one runtime: leave -s out", param_hint="--save")
    if save and is_url(model):
        raise typer.BadParameter(
            "what servers take is measured at each start: leave it out", param_hint="--save"
        )
    configured = model_options.model_of(
        model, "raw", platform=platform, runtimes=pool, batch_sizes=batch, layout=layout,
        ca_file=ca_file, token_file=token_file,
    )  # fmt: skip
    if save:
        _require_writable(profile.path_of(configured.path), "--save")
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with Console(stderr=True).status("loading") as status:
        timed = time_family(
            configured,
            pool=pool,
            length=length,
            picture=noise,
            progress=lambda what: status.update(f"timing {what}"),
        )
    written = profile.save(configured.path, timed) if save else None
    if plot is not None:
        _draw(plot, timed, Path(model).name)
    if json:
        bench_report.print_json(timed, model, written)
        return
    bench_report.show(timed, model)
    for what, path in (("profile", written), ("plot", plot)):
        if path is not None:
            typer.echo(f"The {what} was written to {path}")


def _length(text: str) -> Length:
    from framebuf.models.timing import Length  # noqa: PLC0415
    from framebuf.units import Duration  # noqa: PLC0415

    number = text.removesuffix("x")
    if number != text and number.isascii() and number.isdigit() and 0 < int(number) < 10**9:
        return Length(runs=int(number))
    try:
        duration = Duration.parse(text)
    except ValueError as error:
        message = f'expected a time, "10s", or runs, "100x": {error}'
        raise typer.BadParameter(message, param_hint="--benchtime") from None
    if not duration.ns:
        raise typer.BadParameter("expected more than 0", param_hint="--benchtime")
    return Length(ns=duration.ns)


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(
        s.isascii() and s.isdigit() and 0 < int(s) <= 16384 for s in sides
    ):
        raise typer.BadParameter(
            f"expected a width and height as in 1280x720, got {text}", param_hint="--picture"
        )
    return int(sides[0]), int(sides[1])


def _require_writable(path: Path, option: str) -> None:
    """Before minutes are spent on what cannot be written."""
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"cannot write {path}: it is no file", param_hint=option)
    folder = path.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise typer.BadParameter(
            f"cannot write into {folder}: it is no folder, or not yours", param_hint=option
        )


def _draw(path: Path, timed: Bench, model: str) -> None:
    from framebuf.cli import chart  # noqa: PLC0415

    try:
        path.write_text(chart.svg(timed, model), "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--plot") from None
