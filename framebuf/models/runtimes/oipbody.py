"""What a server answers over HTTP, read into bounded memory: JSON, then the bytes of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from framebuf.models.runtimes.oiperrors import NoAnswerError, RefusedError, words
from framebuf.models.runtimes.oiptensor import Answered, End

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http.client import HTTPResponse

LENGTH = "Inference-Header-Content-Length"
"""The header that says how much of a body is JSON; what follows is tensors."""
MOST_JSON = 2**20
"""Bytes of what is no tensor."""
MOST_SAID = 4096
"""Bytes of an error that are read."""

Kind = TypeVar("Kind", bound=msgspec.Struct)


class About(msgspec.Struct):
    """A server of itself."""

    name: str = "a server without a name"
    version: str = ""
    extensions: tuple[str, ...] | None = None
    """None: it does not say, which need not mean none."""


class Metadata(msgspec.Struct):
    """A server of a model."""

    inputs: tuple[End, ...] = ()
    outputs: tuple[End, ...] = ()


class ModelConfig(msgspec.Struct):
    """Triton of a model."""

    max_batch_size: int = 0


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Inferred(msgspec.Struct):
    outputs: tuple[_Output, ...]
    id: str | None = None


def document(response: HTTPResponse, kind: type[Kind]) -> Kind:
    """An answer that is JSON and nothing else.

    Raises:
        NoAnswerError: it is not.
    """
    text = response.read(MOST_JSON + 1)
    if len(text) > MOST_JSON:
        raise NoAnswerError(f"it sends more than {MOST_JSON >> 10} KiB of JSON")
    return _decoded(kind, text)


def tensors(response: HTTPResponse, most: int) -> tuple[str | None, list[Answered]]:
    """The id of an inference, and its outputs, of at most so many bytes together.

    Raises:
        NoAnswerError: it is none.
        RefusedError: the server does not send binary tensors.
    """
    told = response.headers.get(LENGTH, "")
    if not (told.isascii() and told.isdigit()):
        raise RefusedError(
            "it sends tensors as JSON, which takes half a second each; write grpc:// instead"
        )
    length = int(told[:20])
    if length > MOST_JSON:
        raise NoAnswerError(f"its answer begins with {length} bytes of JSON")
    if response.length is not None and response.length > length + most:
        raise NoAnswerError(
            f"its answer has {response.length - length} bytes of tensors; expected {most}"
        )
    head = response.read(length)
    if len(head) != length:
        raise NoAnswerError(f"its answer ends after {len(head)} bytes of JSON; expected {length}")
    inferred = _decoded(_Inferred, head)
    return inferred.id, _cut(inferred.outputs, _rest(response, most))


def error_of(response: HTTPResponse) -> str:
    """What is wrong, for people; as the protocol has it: {"error": …}."""
    text = response.read(MOST_SAID)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    said = found.get("error") if isinstance(found, dict) else None
    return words(said if isinstance(said, str) else text.decode("utf-8", "replace"))


def _rest(response: HTTPResponse, most: int) -> memoryview:
    """What is left, at most so many bytes; into memory of its own."""
    size = most + 1 if response.length is None else response.length
    memory = np.empty(size, np.uint8).data
    got = 0
    while got < size and (count := response.readinto(memory[got:])):
        got += count
    if got > most:
        raise NoAnswerError(f"its answer has more than {most} bytes of tensors")
    if response.length:
        raise NoAnswerError(f"its answer ends after {got} of {size} bytes of tensors")
    return memory[:got]


def _cut(outputs: Sequence[_Output], data: memoryview) -> list[Answered]:
    answered, at = [], 0
    for each in outputs:
        size = each.parameters.binary_data_size
        if size is None:
            raise NoAnswerError(f"it sends output {words(each.name)} as JSON, not as it was asked")
        if size < 0 or at + size > len(data):
            raise NoAnswerError(f"output {words(each.name)} has {size} bytes that are not there")
        answered.append(Answered(each.name, each.datatype, each.shape, data[at : at + size]))
        at += size
    if at != len(data):
        raise NoAnswerError(f"its answer has {len(data) - at} bytes of no output")
    return answered


def _decoded(kind: type[Kind], text: bytes) -> Kind:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswerError(f"it sends no JSON of the protocol: {words(error)}") from error
