"""The options that say which model runs where, for every command that runs one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from framebuf.config import Model

Path = Annotated[
    str,
    typer.Option("-m", "--model", help='A model file, or a family: "name-batch{1,4,8}.rknn".'),
]
Platform = Annotated[
    str, typer.Option("-p", "--platform", help="rk3588 …, sim:rk3588 (simulated), cpu or auto.")
]
Pool = Annotated[int, typer.Option("-s", "--pool", min=1, help="How many runtimes.")]
Batches = Annotated[
    str | None,
    typer.Option(
        "--batch", help="Batch sizes, 1,4,8: of those in the braces, or where the axis is free."
    ),
]
Layout = Annotated[
    str | None, typer.Option(help="nchw or nhwc, where an ONNX model's input could be either.")
]


def model_of(path: str, task: str, **keys: Any) -> Model:
    """The [[model]] that the options describe; what is None was not given.

    Raises:
        typer.BadParameter: an option's value is wrong.
    """
    from framebuf import config  # noqa: PLC0415 - --help stays quick
    from framebuf.errors import ConfigError  # noqa: PLC0415

    given = {key: value for key, value in keys.items() if value is not None}
    if "batch_sizes" in given:
        given["batch_sizes"] = _numbers(given["batch_sizes"], int, "--batch")
    for key in ("mean", "std"):
        if key in given:
            given[key] = _numbers(given[key], float, f"--{key}")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "", path.rpartition("/")[2].partition("{")[0])
    name = stem.removesuffix(".onnx").removesuffix(".rknn")[:64] or "model"
    try:
        return config.model_of({"name": name, "path": path, "task": task} | given)
    except ConfigError as error:
        key = error.where.rpartition(".")[2]
        option = {"batch_sizes": "--batch", "path": "--model", "runtimes": "--pool"}
        what = error.what.removeprefix(f"{key} ")
        raise typer.BadParameter(
            f"{what}; {error.remedy}", param_hint=option.get(key, f"--{key}")
        ) from None


def _numbers(text: str, kind: type[int] | type[float], option: str) -> list[float]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        example = "1,4,8" if kind is int else "123.7,116.3,103.5"
        raise typer.BadParameter(
            f"expected numbers as in {example}, got {text}", param_hint=option
        ) from None
