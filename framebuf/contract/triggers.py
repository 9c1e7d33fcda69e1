"""What comes in: triggers, typed and checked."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from framebuf.errors import ContractError
from framebuf.units import Duration, Span, parse_rfc3339

MAX_PAYLOAD = 64 * 1024
MAX_META = 4 * 1024
MAX_META_DEPTH = 32
MAX_AHEAD_NS = 5 * 10**9
MAX_DEADLINE_NS = 24 * 3600 * 10**9

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


Images = Literal["none", "detections", "all"]


class _TriggerFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str | None = None
    at: str | None = None
    before: Span | None = None
    after: Span | None = None
    max_frames: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    stride: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1
    mode: Literal["drain", "window"] | None = None
    deadline: Duration | None = None
    priority: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = 0
    images: Images = "none"
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Trigger(_TriggerFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`C/trigger`, in. None where it says nothing."""


class NodeTrigger(_TriggerFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`B/trigger`, in: a trigger for several cameras."""

    cameras: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]


def decode_trigger(payload: bytes) -> Trigger:
    """A `C/trigger` payload, checked; an empty one is a trigger with every default.

    Raises:
        ContractError: with the code that the ack says, and the id where one could be read.
    """
    return _decode_trigger(payload, _TRIGGER) if payload else Trigger()


def decode_node_trigger(payload: bytes) -> NodeTrigger:
    """A `B/trigger` payload, checked.

    Raises:
        ContractError: as `decode_trigger`.
    """
    return _decode_trigger(payload, _NODE_TRIGGER)


def for_camera(trigger: NodeTrigger) -> Trigger:
    """What a node trigger means for each of its cameras."""
    fields = msgspec.structs.asdict(trigger)
    del fields["cameras"]
    return Trigger(**fields)


def read_id(payload: bytes) -> str | None:
    """The id of a payload that is rejected, if it has a good one."""
    try:
        found = _ID_ONLY.decode(payload).id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


class _IdOnly(msgspec.Struct):
    id: Any = None


def _dec_hook(kind: type, value: object) -> object:
    if kind in (Duration, Span):
        return kind.parse(value)
    raise NotImplementedError(kind)


_TRIGGER = msgspec.json.Decoder(Trigger, dec_hook=_dec_hook)
_NODE_TRIGGER = msgspec.json.Decoder(NodeTrigger, dec_hook=_dec_hook)
_ID_ONLY = msgspec.json.Decoder(_IdOnly)
# An object as its keys: msgspec takes the last of several alike, and another reader the first
_KEYS = json.JSONDecoder(
    object_pairs_hook=lambda pairs: [key for key, _ in pairs], parse_int=str, parse_float=str
)


_T = TypeVar("_T", bound=_TriggerFields)


def _decode_trigger(payload: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    if len(payload) > MAX_PAYLOAD:
        raise ContractError("bad_payload", f"{len(payload)} bytes; the limit is {MAX_PAYLOAD}")
    try:
        text = payload.decode("utf-8")  # msgspec does not look into what it passes on as Raw
        trigger = decoder.decode(payload)
        keys = _KEYS.decode(text)
    except msgspec.ValidationError as error:
        unknown = str(error).startswith("Object contains unknown field")
        code = "unknown_field" if unknown else "bad_payload"
        raise ContractError(code, _readable(error), read_id(payload)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError("bad_payload", f"not JSON: {_readable(error)}") from error
    except RecursionError as error:
        raise ContractError("bad_payload", "nested too deeply") from error
    if len(set(keys)) < len(keys):
        raise ContractError("bad_payload", "a field stands twice")
    if trigger.id is not None and not _ID.fullmatch(trigger.id):
        raise ContractError("bad_id", "an id is 1 to 64 of A-Z a-z 0-9 . _ : -")
    if trigger.at is not None:
        try:
            parse_rfc3339(trigger.at)
        except ValueError as error:
            raise ContractError("bad_at", str(error), trigger.id) from error
    if trigger.deadline is not None and not 0 < trigger.deadline.ns <= MAX_DEADLINE_NS:
        raise ContractError("bad_payload", "deadline: above 0, at most 24h", trigger.id)
    _check_meta(trigger)
    return trigger


def _readable(error: Exception) -> str:
    return str(error).replace("`", "").replace(" - at $.", " at ").replace(" - at $", "")[:200]


def _check_meta(trigger: _TriggerFields) -> None:
    if trigger.meta is msgspec.UNSET:
        return
    meta = bytes(trigger.meta)
    if len(meta) > MAX_META:
        raise ContractError(
            "bad_payload", f"meta has {len(meta)} bytes; the limit is {MAX_META}", trigger.id
        )
    depth = deepest = 0
    for token in _BRACKETS.finditer(meta):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    if deepest > MAX_META_DEPTH:
        raise ContractError(
            "bad_payload", f"meta has {deepest} levels; the limit is {MAX_META_DEPTH}", trigger.id
        )


_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
