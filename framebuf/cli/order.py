"""What framebuf convert is asked for."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from framebuf.config import Model
    from framebuf.models.toolkit import Order

MOST_CUSTOM = 1023
"""Bytes that rknn-toolkit2 lets into a file."""


def order_of(
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
    """The conversion that the options mean; `asked` are the keys of a [[model]].

    `said`: the file shall say its task.

    Raises:
        ModelError: the dataset or the labels cannot be used.
    """
    from framebuf.models.platforms import CORES  # noqa: PLC0415
    from framebuf.models.toolkit import Order  # noqa: PLC0415
    from framebuf.models.toolkit.pictures import FEW, listed  # noqa: PLC0415

    if platform not in CORES:
        raise typer.BadParameter(f"use {', '.join(CORES)}", param_hint="--platform")
    if dtype not in (None, "int8", "float16"):
        raise typer.BadParameter("use int8 or float16", param_hint="--dtype")
    if dtype == "int8" and dataset is None:
        raise typer.BadParameter("int8 needs --dataset", param_hint="--dtype")
    if (asked["mean"] is None) != (asked["std"] is None):
        raise typer.BadParameter("give both or neither", param_hint="--mean, --std")
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"expected a folder, {out} is a file", param_hint="--out")
    batches = _batches(batch)
    model = _model(asked)
    found = listed(dataset) if dataset is not None else ()
    int8 = dtype != "float16" and dataset is not None
    if not int8:
        why = "" if dataset is not None else "; int8 needs --dataset, pictures to calibrate with"
        note(f"float16: without quantisation, larger and slower than int8{why}")
    elif len(found) < FEW:
        note(f"{len(found)} pictures calibrate roughly; {FEW} or more like those to come are good")
    return Order(
        model=model,
        platform=platform,
        batches=batches,
        dtype="int8" if int8 else "float16",
        pictures=found,
        out=out,
        custom=_custom(model, said=said),
        check=check,
        bound=bound,
    )


def _batches(text: str) -> tuple[int, ...]:
    from framebuf.errors import ModelError  # noqa: PLC0415
    from framebuf.models.toolkit.order import batches_of  # noqa: PLC0415

    try:
        return batches_of(text)
    except ModelError as error:
        raise typer.BadParameter(str(error), param_hint="--batch") from error


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
        note(
            f"the {len(labels)} labels are left out: with them {size} bytes would stand in the "
            f"file, which has room for {MOST_CUSTOM}; name {model.labels} in the configuration"
        )
        text = CustomString((), task, model.decoder).text
    return text


def note(text: str) -> None:
    """A line for people, on standard error."""
    typer.echo(f"framebuf: {text}", err=True)


def triple(text: str | None, option: str) -> list[float] | None:
    """`0,0,0` as an option gives it, to three numbers."""
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
