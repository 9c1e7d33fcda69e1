"""framebuf convert: an ONNX model into .rknn files."""

from __future__ import annotations

import math
import re
import signal
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framebuf.config import Model
    from framebuf.models.toolkit import Compiled, Environment, Order

MOST_CUSTOM = 1023
"""Bytes that rknn-toolkit2 lets into a file."""


def add_to(app: typer.Typer) -> None:
    app.command("convert")(convert)


def convert(
    model: Annotated[Path, typer.Argument(help="The ONNX model, batch 1 or a free batch axis.")],
    platform: Annotated[str, typer.Option("-p", "--platform", help="rk3588, rk3576 …")],
    batch: Annotated[str, typer.Option(help="Batch sizes, one file each.")] = "1,4,8",
    dataset: Annotated[
        Path | None,
        typer.Option(help="Pictures to calibrate int8: a folder, or a file with one a line."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the files.")] = Path(),
    dtype: Annotated[
        str | None, typer.Option(help="int8 or float16. Default: int8 with a dataset.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Three numbers, of a float model: 0,0,0 for YOLO.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Three numbers: 255,255,255 for YOLO.")] = None,
    channels: Annotated[str, typer.Option(help="rgb or bgr, as the model was trained.")] = "rgb",
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc, where it is unclear.")] = None,
    resize: Annotated[
        str | None, typer.Option(help="letterbox, stretch or center-crop, of the pictures.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Kept in the file: detect, classify, embed, raw.")
    ] = None,
    decoder: Annotated[
        str | None, typer.Option(help="Kept in the file: nanodet, yolov5, yolov8.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Kept in the file: a text file, one label a line.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the toolkit's simulator with onnxruntime.")
    ] = False,
    bound: Annotated[
        float, typer.Option(min=-1.0, max=1.0, help="The least cosine of an output in --check.")
    ] = 0.99,
    venv: Annotated[
        Path | None, typer.Option(help="Where rknn-toolkit2 is, or goes. Default: the cache.")
    ] = None,
    install: Annotated[
        bool | None,
        typer.Option(
            "--install/--no-install",
            help="Install rknn-toolkit2 (1.5 GB) without asking, or never.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compile NAME-batch1.rknn and so on with rknn-toolkit2, on x86-64 or aarch64.

    The toolkit has a virtual environment of its own, made at the first use.
    A model that takes bytes and normalises them needs no --mean and --std.
    An older file is replaced once the new one is whole, and passed --check.

    Example: framebuf convert nanodet-416.onnx -p rk3588 --batch 1,4,8

    With int8, for YOLO: framebuf convert yolov8n.onnx -p rk3588
    --dataset pictures/ --mean 0,0,0 --std 255,255,255 --decoder yolov8 --check
    """
    from framebuf.models import toolkit  # noqa: PLC0415 - --help stays quick

    # so that what is half done is removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    order = _order(
        {
            "path": str(model),
            "task": task or ("detect" if decoder else "raw"),
            "decoder": decoder,
            "labels": None if labels is None else str(labels),
            "resize": resize,
            "channels": channels,
            "layout": layout,
            "mean": _triple(mean, "--mean"),
            "std": _triple(std, "--std"),
        },
        platform=platform,
        batch=batch,
        dataset=dataset,
        out=out,
        dtype=dtype,
        check=check,
        bound=bound,
        said=task is not None or decoder is not None,
    )
    source = toolkit.opened(order)
    environment = _environment(venv, install)
    _note(f"rknn-toolkit2 {environment.versions['rknn-toolkit2']} in {environment.folder}")
    made = []
    with closing(source), _progress() as progress:
        for one in toolkit.convert(order, source, environment, progress):
            made.append(one)
            if not json:
                typer.echo(_line(one))
    if json:
        _print(order, made)
    else:
        typer.echo(f'path = "{order.family}"')


def _order(
    asked: dict[str, Any],
    *,
    platform: str,
    batch: str,
    dataset: Path | None,
    out: Path,
    dtype: str | None,
    check: bool,
    bound: float,
    said: bool,
) -> Order:
    from framebuf.models.platforms import CORES  # noqa: PLC0415
    from framebuf.models.toolkit import Order  # noqa: PLC0415
    from framebuf.models.toolkit.order import batches_of  # noqa: PLC0415
    from framebuf.models.toolkit.pictures import FEW, listed  # noqa: PLC0415

    if platform not in CORES:
        raise typer.BadParameter(f"use {', '.join(CORES)}", param_hint="--platform")
    if dtype not in (None, "int8", "float16"):
        raise typer.BadParameter("use int8 or float16", param_hint="--dtype")
    if dtype == "int8" and dataset is None:
        raise typer.BadParameter("int8 needs --dataset", param_hint="--dtype")
    if (asked["mean"] is None) != (asked["std"] is None):
        raise typer.BadParameter("give both or neither", param_hint="--mean, --std")
    model = _model(asked)
    found = listed(dataset) if dataset is not None else ()
    int8 = dtype != "float16" and dataset is not None
    if not int8:
        why = "" if dataset is not None else "; int8 needs --dataset, pictures to calibrate with"
        _note(f"float16: without quantisation, larger and slower than int8{why}")
    elif len(found) < FEW:
        _note(f"{len(found)} pictures calibrate roughly; {FEW} or more like those to come are good")
    return Order(
        model=model,
        platform=platform,
        batches=batches_of(batch),
        dtype="int8" if int8 else "float16",
        pictures=found,
        out=out,
        custom=_custom(model, said=said),
        check=check,
        bound=bound,
    )


def _model(asked: dict[str, Any]) -> Model:
    """As the configuration would have it, for that is what it is for."""
    import msgspec  # noqa: PLC0415

    from framebuf.config import Model  # noqa: PLC0415

    try:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(asked["path"]).stem)[:64] or "model"
        return msgspec.convert({"name": name, **asked}, Model)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise typer.BadParameter(what, param_hint=f"--{where.rstrip('`')}") from error


def _custom(model: Model, *, said: bool) -> str:
    """The file's custom string; labels are left out where they are too long."""
    from framebuf.models.custom_string import CustomString  # noqa: PLC0415
    from framebuf.models.tasks.labels import read  # noqa: PLC0415

    labels = read(model.labels) if model.labels is not None else ()
    task = model.task if said else None
    text = CustomString(labels, task, model.decoder).text
    size = len(text.encode())
    if size > MOST_CUSTOM:
        _note(
            f"the {len(labels)} labels are left out: with them {size} bytes would stand in the "
            f"file, which has room for {MOST_CUSTOM}; name {model.labels} in the configuration"
        )
        text = CustomString((), task, model.decoder).text
    return text


def _environment(folder: Path | None, install: bool | None) -> Environment:
    from framebuf.errors import ModelError  # noqa: PLC0415
    from framebuf.models.toolkit import Environment  # noqa: PLC0415
    from framebuf.models.toolkit.environment import WHAT, default_folder  # noqa: PLC0415

    place = (folder or default_folder()).expanduser().absolute()
    if found := Environment.find(place):
        return found
    if install is False:
        raise ModelError(
            f"rknn-toolkit2 is not in {place}, and --no-install forbids to put it there; "
            "leave that out, or name an environment that has it with --venv"
        )
    _note(WHAT.format(folder=place))
    if install is None and _is_terminal():
        typer.confirm("Go on?", abort=True, err=True)
    with _progress() as progress:
        return Environment.make(place, progress)


def _is_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Tells what is being done: by a spinner on a terminal, else by a line each."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _note
        return
    with console.status("") as status:
        yield status.update


def _note(text: str) -> None:
    typer.echo(f"framebuf: {text}", err=True)


def _triple(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise typer.BadParameter("give three numbers, as 0,0,0", param_hint=option)
    if option == "--std" and 0.0 in values:
        raise typer.BadParameter("pixels are divided by it: not 0", param_hint=option)
    return values


def _line(one: Compiled) -> str:
    least = f", cosine {min(one.cosine.values()):.4f} or more" if one.cosine else ""
    return f"{one.path}  {one.bytes / 2**20:.1f} MiB in {one.seconds:.1f} s{least}"


def _print(order: Order, made: list[Compiled]) -> None:
    import msgspec  # noqa: PLC0415

    document = {
        "model": str(order.path),
        "platform": order.platform,
        "dtype": order.dtype,
        "family": order.family,
        "files": [
            {
                "file": str(one.path),
                "batch": one.batch,
                "bytes": one.bytes,
                "seconds": one.seconds,
                **({} if one.cosine is None else {"cosine": one.cosine}),
            }
            for one in made
        ],
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
