"""framebuf batch: a folder of pictures through a pool of runtimes."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli import model_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.capture.folder import Picture
    from framebuf.models.pool import RuntimePool
    from framebuf.results import FrameResult

PARTIAL = 3
"""Exit status where a file failed."""


def add_to(app: typer.Typer) -> None:
    app.command("batch")(batch)


def batch(
    directory: Annotated[Path, typer.Option("-d", "--directory", help="A folder of pictures.")],
    model: model_options.Path,
    platform: model_options.Platform = "auto",
    pool: model_options.Pool = 1,
    repeat: Annotated[
        int,
        typer.Option(
            "-r", "--repeat", min=1, max=10**9, help="Go through the folder so many times."
        ),
    ] = 1,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No line a file.")] = False,
    task: Annotated[
        str | None, typer.Option(help="classify, detect, embed or raw; with --decoder detect.")
    ] = None,
    decoder: Annotated[str | None, typer.Option(help="Of a detector: nanodet, …")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="One label a line. Default: ImageNet's or COCO's, where as many."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Of a detector: the lowest score that counts, 0 to 1.")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(help="Of a detector: overlap above which one of two goes.")
    ] = None,
    batch_sizes: model_options.Batches = None,
    resize: Annotated[str | None, typer.Option(help="letterbox, stretch or center-crop.")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Of a float ONNX model: three numbers, with commas.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="As --mean.")] = None,
    layout: model_options.Layout = None,
    ca_file: model_options.CaFile = None,
    token_file: model_options.TokenFile = None,
    then: Annotated[
        str | None, typer.Option(help="A second model, which sees what the first one detects.")
    ] = None,
    then_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Its keys, as in framebuf.toml: task=classify (else embed), only=person, "
            "max_crops=5, resize=stretch …; once for each.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run a folder of pictures through a model in batches; say what is in each.

    A file's time is its part of its batch's inference. Exit 3 where a file could not be read or
    inferred; it is listed, and not counted as processed.

    With --then, what the second model says stands inside the first one's detections.

    Example: framebuf batch -d pictures -m "osnet-batch{1,4,8}.rknn" -p rk3588 -s 3 --task embed
    """
    from framebuf.capture.folder import Folder  # noqa: PLC0415 - --help stays quick
    from framebuf.cli.batch_report import Report  # noqa: PLC0415
    from framebuf.cli.look import Look  # noqa: PLC0415
    from framebuf.models.pool import RuntimePool  # noqa: PLC0415

    if then_key and then is None:
        raise typer.BadParameter("is for a second model: add --then", param_hint="--then-key")
    if decoder is not None and task not in (None, "detect"):
        raise typer.BadParameter(f"task {task} has none: leave one out", param_hint="--decoder")
    logging.basicConfig(level="WARNING", format="framebuf: %(message)s")
    configured = model_options.model_of(
        model, task or ("detect" if decoder else "classify"), decoder=decoder, platform=platform,
        runtimes=pool, labels=labels, threshold=threshold, iou=iou, batch_sizes=batch_sizes,
        resize=resize, channels=channels, mean=mean, std=std, layout=layout, ca_file=ca_file,
        token_file=token_file,
    )  # fmt: skip
    folder = Folder.open(directory)
    look = Look.at(configured)
    configured = look.labelled(configured)
    second = None
    if then is not None:
        second = model_options.second_of(configured, then, then_key or ())
        second = Look.at(second).resolved(second)
    report = Report(configured, look, pool, second, quiet=quiet, json=json)
    with RuntimePool.open(configured, second) as runtimes:
        report.begin(runtimes.sizes, folder, repeat)
        with report.progress(len(folder.files) * repeat) as advance:
            for file, answer in _answers(runtimes, folder.read(repeat)):
                report.add(file, answer)
                advance()
    report.end()
    if report.failed:
        raise typer.Exit(PARTIAL)


def _answers(
    runtimes: RuntimePool, pictures: Iterator[Picture]
) -> Iterator[tuple[Path, FrameResult | str]]:
    """Each file with its result, in order, or why it could not be read."""
    read: deque[tuple[Path, str | None]] = deque()

    def frames() -> Iterator[NDArray[np.uint8]]:
        for picture in pictures:
            read.append((picture.file, picture.error))
            if picture.pixels is not None:
                yield picture.pixels

    def unreadable() -> Iterator[tuple[Path, str]]:
        while read and (error := read[0][1]) is not None:
            yield read.popleft()[0], error

    for result in runtimes.map(frames()):
        yield from unreadable()
        yield read.popleft()[0], result
    yield from unreadable()
