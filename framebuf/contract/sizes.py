"""A document that is larger than the broker takes, with less in it, or as its own error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from framebuf.contract.messages import Done, LeftOut, Result, encode
from framebuf.results import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.results import Detection

_LARGE: tuple[LeftOut, ...] = ("embedding", "outputs")
_RESULT = msgspec.json.Decoder(Result)
_DONE = msgspec.json.Decoder(Done)


def fit_result(result: Result, room: int) -> Result:
    """As it is where it has at most `room` bytes; else without what is large; else an error."""
    if len(encode(result)) <= room:
        return result
    left_out = tuple(name for name in _LARGE if getattr(result, name) is not None)
    bare = msgspec.structs.replace(result, embedding=None, outputs=None)
    if any(one.embedding is not None for one in result.detections or ()):
        left_out = ("embedding",)
        bare = msgspec.structs.replace(bare, detections=_bare(result.detections or ()))
    if left_out:
        less = msgspec.structs.replace(bare, left_out=left_out)
        if len(encode(less)) <= room:
            return less
    error = Failure("too_large", f"the broker takes {room} bytes of it")
    return msgspec.structs.replace(
        bare, detections=None, classes=None, crops_left_out=0, error=error
    )


def _bare(detections: Iterable[Detection]) -> tuple[Detection, ...]:
    return tuple(msgspec.structs.replace(one, embedding=None) for one in detections)


def smaller_result(payload: bytes, room: int) -> bytes:
    """As `fit_result`, for one that is encoded."""
    return encode(fit_result(_RESULT.decode(payload), room))


def smaller_done(payload: bytes, room: int) -> bytes:
    """A done document without `meta`; where that is not enough, without `summary` too."""
    done = msgspec.structs.replace(_DONE.decode(payload), meta=msgspec.UNSET, left_out=("meta",))
    if len(encode(done)) > room:
        done = msgspec.structs.replace(done, summary={}, left_out=("meta", "summary"))
    return encode(done)
