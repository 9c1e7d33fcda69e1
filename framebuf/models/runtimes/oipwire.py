"""The few protobuf messages of the Open Inference Protocol, written and read by hand.

Field numbers as in KServe's grpc_predict_v2.proto and Triton's model_config.proto. By hand, so that
no generated code meets another library's of the same names, a tensor is copied once on its way out
and not at all on its way in. The encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from framebuf.models.runtimes.oiperrors import NoAnswerError
from framebuf.models.runtimes.oiptensor import Answered, End

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SKIPPED = {FIXED64: 8, FIXED32: 4}
FP32_CONTENTS = 6
"""Of InferTensorContents: what a server may send instead of raw contents."""


def metadata_request(model: str, version: str | None) -> bytes:
    """ModelMetadataRequest, and ModelConfigRequest."""
    return _text(1, model) + (_text(2, version) if version else b"")


def infer_request(
    model: str, version: str | None, id: str, end: End, shape: Sequence[int],
    names: Sequence[str], tensor: memoryview,
) -> bytes:  # fmt: skip
    """ModelInferRequest, with the tensor's bytes as its raw contents."""
    axes = b"".join(map(_varint, shape))
    given = _text(1, end.name) + _text(2, end.datatype) + _field(3, axes)
    head = metadata_request(model, version) + _text(3, id) + _field(5, given)
    head += b"".join(_field(6, _text(1, name)) for name in names)
    return b"".join((head, _varint(7 << 3 | BYTES), _varint(tensor.nbytes), tensor))


def server_metadata(message: bytes) -> tuple[str, str]:
    """ServerMetadataResponse: name and version."""
    found = {number: value for number, value in _fields(message) if number in (1, 2)}
    return _string(found.get(1, b"")), _string(found.get(2, b""))


def model_metadata(message: bytes) -> tuple[tuple[End, ...], tuple[End, ...]]:
    """ModelMetadataResponse: inputs and outputs."""
    ends: dict[int, list[End]] = {4: [], 5: []}
    for number, value in _fields(message):
        if number in ends:
            tensor = _Tensor.read(value)
            ends[number].append(End(tensor.name, tensor.datatype, tensor.shape))
    return tuple(ends[4]), tuple(ends[5])


def largest_batch(message: bytes) -> int:
    """ModelConfigResponse: max_batch_size; 0 where there is none."""
    for number, value in _fields(message):
        if number == 1:
            return next((_signed(each) for at, each in _fields(value) if at == 4), 0)
    return 0


def infer_response(message: bytes) -> tuple[str, list[Answered]]:
    """ModelInferResponse: its id, and the outputs, whose data are parts of `message`."""
    id, outputs, raw = "", [], []
    for number, value in _fields(message):
        if number == 3:
            id = _string(value)
        elif number == 5:
            outputs.append(_Tensor.read(value))
        elif number == 6:
            raw.append(_bytes(value))
    if raw and len(raw) != len(outputs):
        raise NoAnswerError(f"it sends {len(outputs)} outputs and the data of {len(raw)}")
    data = raw or [each.contents for each in outputs]
    return id, [
        Answered(each.name, each.datatype, each.shape, came)
        for each, came in zip(outputs, data, strict=True)
    ]


class _Tensor(NamedTuple):
    """TensorMetadata and InferOutputTensor."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: memoryview

    @classmethod
    def read(cls, message: Any) -> _Tensor:
        name = datatype = ""
        shape: list[int] = []
        contents = memoryview(b"")
        for number, value in _fields(message):
            if number == 1:
                name = _string(value)
            elif number == 2:
                datatype = _string(value)
            elif number == 3:
                packed = isinstance(value, memoryview)
                shape += map(_signed, _varints(value) if packed else [value])
            elif number == 5:
                parts = [part for at, part in _fields(value) if at == FP32_CONTENTS]
                contents = _bytes(parts[0]) if len(parts) == 1 else contents
        return cls(name, datatype, tuple(shape), contents)


def _fields(message: Any) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values; of fixed widths nothing is wanted."""
    view = memoryview(_bytes(message))
    at = 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _read_varint(view, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _read_varint(view, at)
        elif kind in _SKIPPED:
            size = _SKIPPED[kind]
        else:
            raise NoAnswerError(f"it sends no message of the protocol: wire type {kind}")
        if at + size > len(view):
            raise NoAnswerError("it sends a message that is cut off")
        if kind == BYTES:
            yield number, view[at : at + size]
        at += size


def _varints(view: Any) -> Iterator[int]:
    at = 0
    while at < len(view):
        value, at = _read_varint(view, at)
        yield value


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise NoAnswerError("it sends a message that is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
    raise NoAnswerError("it sends no message of the protocol: a number without end")


def _signed(value: Any) -> int:
    """int64 and int32 as varints."""
    if not isinstance(value, int):
        raise NoAnswerError("it sends no message of the protocol: bytes for a number")
    return value - 2**64 if value >= 2**63 else value


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise NoAnswerError("it sends no message of the protocol: a number for bytes")
    return memoryview(value)


def _string(value: Any) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError as error:
        raise NoAnswerError("it sends a name that is no text") from error


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
