"""What stands in for a compiled network on a simulated NPU: zeros, or the ONNX model beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from framebuf.errors import ModelError
from framebuf.models.platforms import chip, npu_of
from framebuf.models.runtimes.rknnfile import RknnFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.runtimes.onnx import OnnxRuntime
    from framebuf.models.tensor import TensorSpec

Triple = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StandIn:
    """Outputs for the tensors of a file. Belongs to one thread at a time."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    onnx: OnnxRuntime | None
    """None: outputs are zeros."""
    source: str
    """Where the outputs come from, for people."""
    zeros: bool = False
    normalised: tuple[Triple, Triple] | None = None
    """Mean and std, of which the .rknn file keeps and the ONNX model wants (pixel − mean) / std."""

    @classmethod
    def open(
        cls, path: Path, platform: str, *,
        layout: Literal["nchw", "nhwc"] | None = None, zeros: bool = False,
    ) -> StandIn:  # fmt: skip
        """For an .onnx, itself; for a `name-batch8.rknn`, the `name-batch8.onnx` or `name.onnx`
        beside it; else zeros, and zeros on demand.

        Raises:
            ModelError: a file is missing or broken, was compiled for another chip, or the .onnx
                beside it is another network.
        """  # noqa: D205 - two kinds of file
        if path.suffix == ".onnx":
            onnx = _onnx(path, layout)
            source = "zeros" if zeros else f"computed by {path.name}"
            return cls(onnx.input, onnx.outputs, onnx, source, zeros)
        file = RknnFile.read(path)
        if npu_of(platform) not in {npu_of(each) for each in file.platforms}:
            compiled = ", ".join(file.platforms) or "none"
            raise ModelError(
                f"{path}: expected a model compiled for {chip(platform)}, it is for {compiled}; "
                f"use platform sim:{file.platforms[0] if file.platforms else 'rk…'}, or convert it"
            )
        given, outputs = file.runtime_input, file.runtime_outputs
        beside = None if zeros else _beside(path)
        if beside is None:
            return cls(given, outputs, None, "zeros")
        onnx = _onnx(beside)
        _check(file, onnx)
        normalised = None
        if onnx.input.dtype == "float32":
            mean, std = file.inputs[0].mean, file.inputs[0].std
            if mean is None or std is None or len(mean) != 3 or len(std) != 3 or 0.0 in std:
                raise ModelError(
                    f"{path}: expected mean and std of 3 channels for the float input of "
                    f"{beside.name}, got mean {mean} and std {std}; take {beside.name} away"
                )
            normalised = (mean, std)
        return cls(given, outputs, onnx, f"computed by {beside.name}", normalised=normalised)

    @property
    def computes(self) -> bool:
        return self.onnx is not None and not self.zeros

    def infer(self, tensor: NDArray[Any]) -> Outputs:
        """(batch, …) of the input's dtype to (batch, …) float32, one per output."""
        rows = tensor.shape[0]
        if self.onnx is None or self.zeros:
            return tuple(np.zeros(_rows(each, rows), np.float32) for each in self.outputs)
        if self.input is not self.onnx.input:
            tensor = self._translated(tensor)
        if self.onnx.input.batch in (None, rows):
            return self.onnx.infer(tensor)
        each = [self.onnx.infer(tensor[row : row + 1]) for row in range(rows)]
        return tuple(np.concatenate(output) for output in zip(*each, strict=True))

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        if self.onnx is not None:
            self.onnx.close()

    def _translated(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """uint8 NHWC as the ONNX model takes it."""
        if self.normalised is not None:
            mean, std = (np.array(each, np.float32) for each in self.normalised)
            tensor = (tensor - mean) / std
        if self.onnx is not None and self.onnx.input.layout == "NCHW":
            tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
        return tensor


def _rows(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    """The shape of an output; an axis that is free beside the batch is one row long."""
    return (rows, *(size or 1 for size in spec.shape[1:]))


def _onnx(path: Path, layout: Literal["nchw", "nhwc"] | None = None) -> OnnxRuntime:
    from framebuf.models.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 - costs 50 MB

    return OnnxRuntime.open(path, threads=1, layout=layout)


def _beside(path: Path) -> Path | None:
    stems = (path.stem, re.sub(r"-batch[0-9]+\Z", "", path.stem))
    files = (path.with_name(f"{stem}.onnx") for stem in stems)
    return next((file for file in files if file.is_file()), None)


def _check(file: RknnFile, onnx: OnnxRuntime) -> None:
    """Is it the network that was compiled?"""
    given = file.runtime_input
    here, there = ((spec.height, spec.width) for spec in (given, onnx.input))
    if here != there or onnx.input.batch not in (None, 1, given.batch):
        raise ModelError(f"{onnx.path}: expected the network of {given}, its input is {onnx.input}")
    ours = [each.shape[1:] for each in file.runtime_outputs]
    theirs = [each.shape[1:] for each in onnx.outputs]
    if ours != theirs:
        raise ModelError(
            f"{onnx.path}: expected outputs of the shapes {ours} as in {file.path.name}, "
            f"got {theirs}; take it away, or convert it again"
        )
