"""Topics and payloads of the MQTT contract, typed. The JSON Schemas come out of these types."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from framebuf.errors import ContractError
from framebuf.results import (
    BatchPlace,
    Classification,
    Detection,
    Embedding,
    Failure,
    FrameResult,
    Tensor,
    Timings,
)
from framebuf.units import DURATION_SCHEMA, SPAN_SCHEMA, Duration, Span, parse_rfc3339, rfc3339

MAX_PAYLOAD = 64 * 1024
MAX_META = 4 * 1024
MAX_META_DEPTH = 32
MAX_AHEAD_NS = 5 * 10**9
MAX_DEADLINE_NS = 24 * 3600 * 10**9

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# A factory, because omit_defaults leaves out what equals a plain default
_VERSION: Any = msgspec.field(default_factory=lambda: 1)

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC, milliseconds")]
Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Topics:
    """`B` is `<base>/<node>`, `C` is `B/<camera>`."""

    base: str
    node: str

    def of_node(self, leaf: str) -> str:
        return f"{self.base}/{self.node}/{leaf}"

    def of_camera(self, camera: str, leaf: str) -> str:
        return f"{self.base}/{self.node}/{camera}/{leaf}"


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
    images: Literal["none", "detections", "all"] = "none"
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Trigger(_TriggerFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`C/trigger`, in. None where it says nothing."""


class NodeTrigger(_TriggerFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`B/trigger`, in: a trigger for several cameras."""

    cameras: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]


class Ack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`C/ack`, out."""

    v: Literal[1] = _VERSION
    id: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    error: Failure | None = None
    first_at: Time | None = None
    """Duplicate: when the id was accepted first."""


class FramePlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which frame a result is about."""

    seq: Count
    at: Time
    offset_ms: int
    """To the event's moment; negative is before it."""
    width: Count
    height: Count
    position: int | None = None
    file: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`C/result`, out: one frame's answer. Findings of one kind, or an error."""

    v: Literal[1] = _VERSION
    id: Id
    index: Count
    camera: str
    frame: FramePlace
    model: str
    batch: BatchPlace | None = None
    ms: Timings
    detections: tuple[Detection, ...] | None = None
    classes: tuple[Classification, ...] | None = None
    embedding: Embedding | None = None
    outputs: tuple[Tensor, ...] | None = None
    error: Failure | None = None

    @classmethod
    def of(
        cls,
        id: str,
        index: int,
        camera: str,
        frame: FramePlace,
        result: FrameResult,
    ) -> Result:
        found = msgspec.structs.asdict(result.findings) if result.findings else {}
        return cls(
            id=id,
            index=index,
            camera=camera,
            frame=frame,
            model=result.model,
            batch=result.batch,
            ms=result.ms,
            error=result.error,
            **found,
        )


class WindowTimes(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    start: Time
    end: Time


class DoneTimings(msgspec.Struct, frozen=True):
    total: float
    """From receipt to done, milliseconds."""
    infer: float
    """All batches that answered a frame of it, each once."""


Outcome = Literal["complete", "partial", "failed"]
Reason = Literal[
    "evicted",
    "not_captured",
    "camera_gap",
    "memory",
    "deadline",
    "frames_lost",
    "crashed_daemon",
]


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`C/done`, out: the one document that ends an accepted id."""

    v: Literal[1] = _VERSION
    event_type: Outcome
    id: Id
    camera: str
    requested: Count
    published: Count
    failed: Count
    missing: dict[Reason, int]
    thinned: Count
    already_claimed: Count
    window: WindowTimes
    summary: dict[str, int]
    ms: DoneTimings
    boot_id: str
    attempts: Count
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class CameraInfo(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    """Without user name and password."""
    width: int | None
    height: int | None
    rate: float | None
    """Frames a second that are kept; None until the camera is open."""
    history: int | None
    """Frames that a trigger can reach back to."""
    models: tuple[str, ...]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    platform: str
    batch_sizes: tuple[int, ...]
    inputs: tuple[int, ...]
    """Shape of the input with the largest batch size."""
    runtimes: int


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """`B/info`, out, retained."""

    v: Literal[1] = _VERSION
    version: str
    boot_id: str
    at: Time
    cameras: dict[str, CameraInfo]
    models: dict[str, ModelInfo]
    limits: dict[str, int]
    clock_synchronised: bool | None
    """None where the system does not tell."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """`B/stats`, out, once a minute: counts since the process started, and states now."""

    v: Literal[1] = _VERSION
    at: Time
    uptime_s: float
    counters: dict[str, int]
    cameras: dict[str, dict[str, int | float | bool | None]]
    requests_open: int


MESSAGES: tuple[type[msgspec.Struct], ...] = (
    Trigger,
    NodeTrigger,
    Ack,
    Result,
    Done,
    Info,
    Stats,
)


def encode(message: msgspec.Struct) -> bytes:
    """A message as the JSON that goes out."""
    return _ENCODER.encode(message)


def schemas() -> dict[str, Any]:
    """JSON Schemas (2020-12) of all messages, by the type's name, in one document."""
    _, defs = msgspec.json.schema_components(
        MESSAGES, schema_hook=_schema, ref_template="#/$defs/{name}"
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defs}


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


def utc_text(utc_ns: int) -> str:
    """As every time goes out."""
    return rfc3339(utc_ns)


class _IdOnly(msgspec.Struct):
    id: Any = None


def _dec_hook(kind: type, value: object) -> object:
    if kind in (Duration, Span):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _schema(kind: type) -> dict[str, Any]:
    schemas: dict[type, dict[str, Any]] = {Duration: DURATION_SCHEMA, Span: SPAN_SCHEMA}
    return schemas[kind]


_ENCODER = msgspec.json.Encoder()
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
    if trigger.images != "none":
        raise ContractError("bad_payload", "images are not in this version", trigger.id)
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
