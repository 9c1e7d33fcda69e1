"""What a model file holds, or servers say of a model, as `framebuf inspect` tells it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from framebuf.errors import ModelError
from framebuf.models.custom_string import CustomString
from framebuf.models.family import files_of
from framebuf.models.platforms import SERVERS
from framebuf.models.runtimes.oiptensor import dtype_of
from framebuf.models.runtimes.rknnfile import RknnFile
from framebuf.models.runtimes.rknntensor import RknnTensor

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.models.runtimes.oipservers import Servers
    from framebuf.models.tensor import Layout, TensorSpec


@dataclass(frozen=True, slots=True)
class End:
    """One input or output, as the file stores it."""

    name: str
    shape: tuple[int | None, ...]
    """With the batch in front; None where an axis is free."""
    layout: Layout
    dtype: str
    scale: float | None
    zero_point: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    @classmethod
    def of(cls, spec: TensorSpec) -> End:
        mean, std = (spec.mean, spec.std) if isinstance(spec, RknnTensor) else (None, None)
        return cls(
            spec.name, spec.shape, spec.layout, spec.dtype, spec.scale, spec.zero_point, mean, std
        )


@dataclass(frozen=True, slots=True)
class Description:
    """One file. The names are those of the command's JSON."""

    file: str
    format: Literal["rknn", "onnx", "oip"]
    platforms: tuple[str, ...]
    """What it can run on."""
    batch: int | None
    """None: any."""
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    custom: str
    """The custom string of a .rknn file, as it stands."""
    labels: tuple[str, ...]
    """What `custom` says of them, in class order, and of the next two."""
    task: str | None
    decoder: str | None
    quantisation: str | None
    framework: str
    """What a .rknn file was converted from."""
    toolkit: str
    """The version of rknn-toolkit2 that made it."""
    server: str = ""
    """Of a model on servers: what they are, and their version."""
    max_batch: int | None = None
    """The largest batch that they take, where they tell."""


def describe(path: Path) -> Description:
    """Read one file: an .onnx by onnxruntime, any other as a .rknn, with nothing of the vendor's.

    Raises:
        ModelError: it is missing or broken.
    """
    return _onnx(path) if path.suffix == ".onnx" else _rknn(path)


def describe_family(path: str) -> tuple[Description, ...]:
    """Read every file of a path that may have braces, by ascending batch size.

    Raises:
        ModelError: one is missing or broken, or holds another batch than its name says.
    """
    found = []
    for size, file in files_of(path).items():
        held = describe(file)
        if size is not None and held.batch not in (None, size):
            raise ModelError(f"{file}: expected batch {size}, the file holds {held.batch}")
        found.append(held)
    return tuple(found)


def describe_served(servers: Servers, layout: Literal["nchw", "nhwc"] | None) -> Description:
    """Ask servers what a model is.

    Raises:
        ServersAwayError: none of them answers.
        ModelError: it is no model that framebuf runs.
    """
    from framebuf.models.runtimes.oip import OipRuntime  # noqa: PLC0415 - rare

    runtime = OipRuntime.open(servers, layout=layout)
    runtime.close()
    outputs = zip(runtime.outputs, runtime.held.outputs, strict=True)
    said = CustomString()
    return Description(
        file=str(servers),
        format="oip",
        platforms=(SERVERS,),
        batch=runtime.input.batch,
        inputs=(End.of(runtime.input),),
        outputs=tuple(End.of(replace(spec, dtype=dtype_of(end))) for spec, end in outputs),
        custom="",
        labels=said.labels,
        task=said.task,
        decoder=said.decoder,
        quantisation=None,
        framework="",
        toolkit="",
        server=runtime.held.server,
        max_batch=runtime.largest,
    )


def _text(path: Path) -> str:
    """A path may hold bytes that are no text."""
    return os.fsencode(path).decode("utf-8", "replace")


def _rknn(path: Path) -> Description:
    file = RknnFile.read(path)
    said = file.said
    return Description(
        file=_text(path),
        format="rknn",
        platforms=file.platforms,
        batch=file.batch,
        inputs=tuple(map(End.of, file.inputs)),
        outputs=tuple(map(End.of, file.outputs)),
        custom=file.custom,
        labels=said.labels,
        task=said.task,
        decoder=said.decoder,
        quantisation=file.quantisation,
        framework=file.framework,
        toolkit=file.toolkit,
    )


def _onnx(path: Path) -> Description:
    from framebuf.models.runtimes.onnx import onnx_ends  # noqa: PLC0415 - costs 50 MB

    inputs, outputs = onnx_ends(path)
    shape = inputs[0].shape if inputs else ()
    said = CustomString()
    return Description(
        file=_text(path),
        format="onnx",
        platforms=("cpu",),
        batch=shape[0] if shape else None,
        inputs=tuple(map(End.of, inputs)),
        outputs=tuple(map(End.of, outputs)),
        custom="",
        labels=said.labels,
        task=said.task,
        decoder=said.decoder,
        quantisation=None,
        framework="ONNX",
        toolkit="",
    )
