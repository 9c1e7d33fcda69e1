"""framebuf inspect: what a model file holds."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli import model_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.description import Description, End

HEADINGS = ("", "name", "shape", "layout", "dtype", "scale", "zero point", "mean", "std")


def add_to(app: typer.Typer) -> None:
    app.command("inspect")(inspect)


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A .rknn or .onnx file, name-batch{1,4,8}, or grpc://host:8001/name.",
        ),
    ],
    layout: model_options.Layout = None,
    ca_file: model_options.CaFile = None,
    token_file: model_options.TokenFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what a model file holds: platform, batch, tensors, quantisation, labels.

    A .rknn file is read without the vendor's runtime, on any machine. Inference servers are asked.

    Example: framebuf inspect "models/osnet-batch{1,4,8,16}.rknn"
    """
    import msgspec  # noqa: PLC0415 - --help stays quick

    from framebuf.config.endpoints import is_url  # noqa: PLC0415
    from framebuf.models.description import describe_family, describe_served  # noqa: PLC0415

    if is_url(model):
        from framebuf.models.runtimes.oipservers import Servers  # noqa: PLC0415

        asked = model_options.model_of(
            model, "raw", layout=layout, ca_file=ca_file, token_file=token_file
        )
        family: tuple[Description, ...] = (describe_served(Servers.of(asked), asked.layout),)
    else:
        family = describe_family(model)
    if json:
        # one file is its own document; a family's are in one
        whole = {"model": os.fsencode(model).decode("utf-8", "replace"), "files": family}
        document = whole if "{" in model and not is_url(model) else family[0]
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        return
    typer.echo("\n\n".join(map(_shown, family)))


def _shown(held: Description) -> str:
    lines = [f"{_plain(held.file)}: {_head(held)}"]
    rows: list[tuple[str, ...]] = [HEADINGS]
    rows += [_row("input", end) for end in held.inputs]
    rows += [_row("output", end) for end in held.outputs]
    lines += _table(rows)
    for name in ("task", "decoder"):
        if said := getattr(held, name):
            lines.append(f"  {name}: {_plain(said)}")
    if held.labels:
        lines.append(f"  {len(held.labels)} labels: {_plain(', '.join(held.labels))}")
    elif held.custom:
        lines.append(f"  custom string: {_plain(held.custom)}")
    return "\n".join(lines)


def _head(held: Description) -> str:
    batch = "any batch" if held.batch is None else f"batch {held.batch}"
    if held.format == "oip":
        most = f", up to {held.max_batch}" if held.max_batch else ""
        return f"on {_plain(held.server)}, {batch}{most}"
    head = f"{held.format} for {_plain(', '.join(held.platforms)) or 'no platform'}, {batch}"
    if held.format == "rknn":
        head += (
            f", {held.quantisation or 'not quantised'}, made from {_plain(held.framework)} "
            f"by rknn-toolkit2 {_plain(held.toolkit)}"
        )
    return head


def _row(kind: str, end: End) -> tuple[str, ...]:
    return (
        kind,
        _plain(end.name),
        "×".join("N" if size is None else str(size) for size in end.shape),
        "" if end.layout == "other" else end.layout,
        end.dtype,
        "" if end.scale is None else f"{end.scale:.5g}",
        "" if end.zero_point is None else str(end.zero_point),
        ", ".join(f"{value:g}" for value in end.mean or ()),
        ", ".join(f"{value:g}" for value in end.std or ()),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned, without the columns that hold nothing but their heading."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in zip(*columns, strict=True)
    ]


def _plain(text: str) -> str:
    """What a file says must not write to the terminal as it likes."""
    return "".join(each if each.isprintable() else "�" for each in text)
