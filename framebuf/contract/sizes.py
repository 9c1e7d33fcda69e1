"""A document that is larger than the broker takes, with less in it, or as its own error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from framebuf.contract.messages import (
    VERSION,
    Ack,
    Count,
    Done,
    Id,
    LeftOut,
    Outcome,
    Result,
    Stats,
    encode,
)
from framebuf.results import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.results import Detection

_LARGE: tuple[LeftOut, ...] = ("embedding", "outputs")


class TooLarge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """In place of a result or a done document of which the broker takes no other form."""

    v: Literal[1] = VERSION
    event_type: Outcome | None = None
    """Of a done document."""
    id: Id
    index: Count | None = None
    """Of a result."""
    camera: str
    error: Failure


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
    return msgspec.structs.replace(
        bare, detections=None, classes=None, crops_left_out=0, error=_failure(room)
    )


def _bare(detections: Iterable[Detection]) -> tuple[Detection, ...]:
    return tuple(msgspec.structs.replace(one, embedding=None) for one in detections)


def smaller_result(payload: bytes, room: int) -> bytes:
    """As `fit_result`, for one that is encoded; and where that is too large, its bare error."""
    result = fit_result(_RESULT.decode(payload), room)
    less = encode(result)
    if len(less) <= room:
        return less
    failure = result.error or _failure(room)
    return encode(TooLarge(id=result.id, index=result.index, camera=result.camera, error=failure))


def smaller_done(payload: bytes, room: int) -> bytes:
    """A done document without `meta`, then without `summary`; then its bare error."""
    done = msgspec.structs.replace(_DONE.decode(payload), meta=msgspec.UNSET, left_out=("meta",))
    if len(encode(done)) > room:
        done = msgspec.structs.replace(done, summary={}, left_out=("meta", "summary"))
    less = encode(done)
    if len(less) <= room:
        return less
    outcome, failure = done.event_type, _failure(room)
    return encode(TooLarge(event_type=outcome, id=done.id, camera=done.camera, error=failure))


def smaller_ack(payload: bytes, room: int) -> bytes:
    """An ack whose error has its code alone."""
    del room
    ack = _ACK.decode(payload)
    error = Failure(ack.error.code, "") if ack.error is not None else None
    return encode(msgspec.structs.replace(ack, error=error))


def smaller_stats(payload: bytes, room: int) -> bytes:
    """The counters alone."""
    del room
    stats = _STATS.decode(payload)
    kept = {name: getattr(stats, name) for name in ("at", "uptime_s", "counters", "requests_open")}
    return encode(Stats(cameras={}, left_out=True, **kept))


def _failure(room: int) -> Failure:
    return Failure("too_large", f"the broker takes {room} bytes of it")


_ACK = msgspec.json.Decoder(Ack)
_DONE = msgspec.json.Decoder(Done)
_RESULT = msgspec.json.Decoder(Result)
_STATS = msgspec.json.Decoder(Stats)
