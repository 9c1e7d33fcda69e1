"""framebuf convert: an ONNX model into .rknn files."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli.order import note, order_of, triple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framebuf.models.toolkit import Compiled, Environment, Order


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
    order = order_of(
        {
            "path": str(model),
            "task": task or ("detect" if decoder else "raw"),
            "decoder": decoder,
            "labels": None if labels is None else str(labels),
            "resize": resize,
            "channels": channels,
            "layout": layout,
            "mean": triple(mean, "--mean"),
            "std": triple(std, "--std"),
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
    note(f"rknn-toolkit2 {environment.versions['rknn-toolkit2']} in {environment.folder}")
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
    note(WHAT.format(folder=place))
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
        yield note
        return
    with console.status("") as status:
        yield status.update


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
