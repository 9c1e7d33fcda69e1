"""What a .rknn file says of itself, read without the vendor's runtime.

The format is rknn-toolkit2's, as its files show it: `RKNN`, u64 format, u64 length, a FlatBuffer
of that length, u64 length, a JSON document. Neither that document nor the tensors' shapes know of
the batch, which stands in the FlatBuffer alone. Every file may be hostile: nothing is read but
what is asked for, nothing larger than the limits below, and no offset is followed unchecked.
"""

from __future__ import annotations

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framebuf.errors import ModelError
from framebuf.models.custom_string import CustomString
from framebuf.models.runtimes.flatbuffer import FlatBuffer, Table
from framebuf.models.runtimes.literal import literal
from framebuf.models.runtimes.rknntensor import RknnTensor, rknn_tensor
from framebuf.models.tensor import TensorSpec

MOST_TEXT = 2**16
MOST_NOTES = 2**18
MOST_DOCUMENT = 2**20
"""Bytes of the generator's notes and of the JSON: they tell of the ends, in a few thousand."""
MOST_TENSORS = 2**20
MOST_ENDS = 64
"""Inputs or outputs."""
MOST_BATCH = 4096

ROOT_GRAPHS, ROOT_NOTES, ROOT_COMPILER, ROOT_PLATFORM, ROOT_FRAMEWORK = 2, 3, 7, 8, 9
ROOT_CUSTOM, ROOT_INPUTS, ROOT_OUTPUTS, ROOT_BATCH = 11, 12, 13, 14
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS = 0, 2, 3


@dataclass(frozen=True, slots=True)
class RknnFile:
    """A model file's own words."""

    path: Path
    format: int
    toolkit: str
    """The version of rknn-toolkit2 that made it; `compiler` has more."""
    compiler: str
    framework: str
    """What it was converted from: `ONNX`."""
    platforms: tuple[str, ...]
    """In lower case, such as `rk3588`."""
    batch: int
    """rknn_batch_size; 1 where it has none."""
    inputs: tuple[RknnTensor, ...]
    """Shapes have the batch in front. A picture is (batch, height, width, channels), as the
    runtime takes it, whatever the network was."""
    outputs: tuple[RknnTensor, ...]
    custom: str
    """rknn-toolkit2's custom_string, as it stands."""

    @property
    def runtime_input(self) -> TensorSpec:
        """What the runtime takes: one picture, (batch, height, width, 3) uint8.

        Raises:
            ModelError: the network wants something else.
        """
        if len(self.inputs) != 1:
            names = ", ".join(each.name for each in self.inputs)
            raise ModelError(f"{self.path}: expected one input, it has {len(self.inputs)}: {names}")
        (given,) = self.inputs
        if len(given.shape) != 4 or given.shape[3] != 3:
            raise ModelError(f"{self.path}: expected a picture of 3 channels as input, got {given}")
        return TensorSpec(given.name, given.shape, "uint8", "NHWC")

    @property
    def runtime_outputs(self) -> tuple[TensorSpec, ...]:
        """What the runtime gives: float32, dequantised."""
        return tuple(
            TensorSpec(each.name, each.shape, "float32", each.layout) for each in self.outputs
        )

    @property
    def quantisation(self) -> str | None:
        """How the network computes: `int8`; None where it does in floating point."""
        kinds = {end.dtype for end in (*self.inputs, *self.outputs) if end.scale is not None}
        return ", ".join(sorted(kinds)) or None

    @property
    def said(self) -> CustomString:
        """Labels, task and decoder, where the custom string has them."""
        return CustomString.parse(self.custom)

    @classmethod
    def read(cls, path: Path) -> RknnFile:
        """Read a file's header.

        Raises:
            ModelError: there is no such file, or it is no .rknn file, or a broken one.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file; correct the path") from None
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            return _file(path, fd)
        except OSError as error:  # a folder, or a disk that fails
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)


def _file(path: Path, fd: int) -> RknnFile:
    header = os.pread(fd, 24, 0)
    if header[:8] == b"CYPTRKNN":
        raise ModelError(f"{path}: an encrypted .rknn file; give the one it was made from")
    if header[:4] != b"RKNN" or len(header) < 24:
        raise ModelError(f"{path}: no .rknn file: expected RKNN first, it begins {header[:4]!r}")
    form, length = struct.unpack_from("<QQ", header, 8)
    start = 24 if form & 0xFF <= 1 else 64
    size = os.fstat(fd).st_size
    buffer = FlatBuffer(path, fd, start, length)
    if start + length + 8 > size:
        raise buffer.broken(f"expected {start + length + 8} bytes or more, it has {size}")
    if buffer.identifier != b"RKNN":
        raise buffer.broken(
            f"expected a FlatBuffer RKNN, got {buffer.identifier!r} (rknn-toolkit 1 makes others)"
        )
    document = _document(FlatBuffer(path, fd, start + length, size - start - length))
    root = buffer.root
    batch = _batch(buffer, root.text(ROOT_BATCH, MOST_TEXT))
    inputs, outputs = _ends(buffer, root, batch)
    version, platforms = document.get("version"), document.get("target_platform")
    if not (isinstance(platforms, list) and all(isinstance(each, str) for each in platforms)):
        platforms = [root.text(ROOT_PLATFORM, MOST_TEXT)]
    compiler = root.text(ROOT_COMPILER, MOST_TEXT)
    return RknnFile(
        path=path,
        format=form,
        toolkit=version if isinstance(version, str) else compiler,
        compiler=compiler,
        framework=root.text(ROOT_FRAMEWORK, MOST_TEXT),
        platforms=tuple(each.lower() for each in platforms if each),
        batch=batch,
        inputs=inputs,
        outputs=outputs,
        custom=root.text(ROOT_CUSTOM, MOST_TEXT),
    )


def _document(rest: FlatBuffer) -> dict[str, Any]:
    """The JSON after the FlatBuffer, its length in front."""
    length = rest.number("<Q", 0, "the JSON's length")
    if length > MOST_DOCUMENT:
        raise rest.broken(f"its JSON has {length} bytes, expected {MOST_DOCUMENT} or less")
    return _parsed(rest, rest.read(8, length, "the JSON").decode("utf-8", "replace"), "its JSON")


def _parsed(buffer: FlatBuffer, text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate cannot be shown
    except (ValueError, RecursionError) as error:
        raise buffer.broken(f"{what} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise buffer.broken(f"expected an object as {what}, got {type(found).__name__}")
    return found


def _batch(buffer: FlatBuffer, text: str) -> int:
    if not re.fullmatch("[0-9]{0,6}", text, re.ASCII) or int(text or "0") > MOST_BATCH:
        raise buffer.broken(f"expected a batch of {MOST_BATCH} or less, got {text[:40]!r}")
    return int(text or "0") or 1


def _ends(
    buffer: FlatBuffer, root: Table, batch: int
) -> tuple[tuple[RknnTensor, ...], tuple[RknnTensor, ...]]:
    """The network's inputs and outputs."""
    graphs = root.tables(ROOT_GRAPHS, MOST_TENSORS)
    if not graphs:
        raise buffer.broken("it has no graph")
    graph = buffer.table(graphs[0])
    tensors = graph.tables(GRAPH_TENSORS, MOST_TENSORS)
    notes = literal(root.text(ROOT_NOTES, MOST_NOTES))
    attributes = notes.get("attrs") if isinstance(notes, dict) else None
    ends = []
    for slot, words, picture in (
        (GRAPH_INPUTS, ROOT_INPUTS, True), (GRAPH_OUTPUTS, ROOT_OUTPUTS, False),
    ):  # fmt: skip
        told = _parsed(buffer, root.text(words, MOST_TEXT), f"field {words}")
        found = []
        for number in graph.numbers(slot, "I", MOST_ENDS):
            if number >= len(tensors):
                raise buffer.broken(f"expected a tensor below {len(tensors)}, got {number}")
            table = buffer.table(tensors[int(number)])
            found.append(rknn_tensor(table, batch, told, attributes, picture=picture))
        if not found:
            raise buffer.broken(f"it has no {'input' if picture else 'output'}")
        ends.append(tuple(found))
    return ends[0], ends[1]
