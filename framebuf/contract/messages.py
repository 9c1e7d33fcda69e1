"""What goes out, typed: acks, results, done documents, and what a node says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from framebuf.histogram import Distribution
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
from framebuf.units import DURATION_SCHEMA, SPAN_SCHEMA, Duration, Span, rfc3339

# A factory, because omit_defaults leaves out what equals a plain default
VERSION: Any = msgspec.field(default_factory=lambda: 1)

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC, milliseconds")]
Count = Annotated[int, msgspec.Meta(ge=0)]
LeftOut = Literal["embedding", "outputs", "meta", "summary"]


class Ack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`C/ack`, out; `B/ack` where a trigger for several cameras is rejected."""

    v: Literal[1] = VERSION
    id: str | None
    camera: str | None = None
    """None on `B/ack`, which is about no camera of the node."""
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


Image = Literal["sent", "dropped"]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`C/result`, out: one frame's answer. Findings of one kind, or an error.

    Detections have an error beside them where a second model failed on some of them.
    """

    v: Literal[1] = VERSION
    id: Id
    index: Count
    camera: str
    frame: FramePlace
    model: str
    simulated: bool = False
    """A simulated NPU ran it: its times are none of a board's."""
    batch: BatchPlace | None = None
    ms: Timings
    image: Image | None = None
    """What became of the picture that was asked for; `sent` went out before this."""
    detections: tuple[Detection, ...] | None = None
    classes: tuple[Classification, ...] | None = None
    embedding: Embedding | None = None
    outputs: tuple[Tensor, ...] | None = None
    crops_left_out: Count = 0
    """Detections that the second model was not shown, for there were more than max_crops."""
    error: Failure | None = None
    left_out: tuple[LeftOut, ...] = ()
    """Findings that would have made it larger than the broker takes."""

    @classmethod
    def of(
        cls,
        id: str,
        index: int,
        camera: str,
        frame: FramePlace,
        result: FrameResult,
        image: Image | None = None,
    ) -> Result:
        found = msgspec.structs.asdict(result.findings) if result.findings else {}
        return cls(
            id=id,
            index=index,
            camera=camera,
            frame=frame,
            model=result.model,
            simulated=result.simulated,
            batch=result.batch,
            ms=result.ms,
            image=image,
            crops_left_out=result.crops_left_out,
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

    v: Literal[1] = VERSION
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
    left_out: tuple[LeftOut, ...] = ()
    """What would have made it larger than the broker takes."""


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
    stamps: Literal["stream", "arrival"] | None = None
    """Whose clock the frames' times are from; None until the camera is open."""
    offset_ms: float | None = None
    """This machine's monotonic clock less the stream's; None where arrival is the stamp."""
    lag_ms: float | None = None
    """How much later than its time the newest frame arrived."""
    lateness_ms: float | None = None
    """How long a frame that arrives later than others is waited for."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    platform: str
    batch_sizes: tuple[int, ...]
    inputs: tuple[int, ...]
    """Shape of the input with the largest batch size."""
    runtimes: int
    simulated: bool = False
    away: bool | None = None
    """Of a model on servers: none of them answers. None: it is on this machine."""
    fallback: str | None = None
    """The model that answers meanwhile."""
    lane: str | None = None
    """Where its work is counted in the stats. None: no server has told yet what the model is."""


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """`B/info`, out, retained."""

    v: Literal[1] = VERSION
    version: str
    boot_id: str
    at: Time
    cameras: dict[str, CameraInfo]
    models: dict[str, ModelInfo]
    limits: dict[str, int]
    clock_synchronised: bool | None
    """None where the system does not tell."""


class ModelStats(msgspec.Struct, frozen=True, kw_only=True):
    """One model's work since the process started, as part of the stats. Times are in seconds."""

    filled: Distribution
    """Frames in each batch that ran."""
    padded: Count
    """Rows that ran with zeros, for want of frames."""
    failed: Count
    """Batches that the runtime failed."""
    wait: Distribution
    """From ready to taken, each frame."""
    prepare: Distribution
    """Each frame's share of its tensor."""
    infer: Distribution
    """Each batch."""
    post: Distribution
    """Each frame's share of reading what came out."""


class LaneStats(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator, as part of the stats."""

    cores: Count
    busy_s: float
    """Seconds of inference since the process started, times the cores that it took."""
    waiting: Count
    """Frames on its backlogs now."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """`B/stats`, out, once a minute: counts since the process started, and states now."""

    v: Literal[1] = VERSION
    at: Time
    uptime_s: float
    counters: dict[str, int]
    cameras: dict[str, dict[str, int | float | bool | None]]
    requests_open: int
    models: dict[str, ModelStats] = {}
    lanes: dict[str, LaneStats] = {}
    """By platform; of a model on servers by its path."""
    publish: Distribution | None = None
    """Seconds from a result on its way to the broker's word that it has it."""
    total: Distribution | None = None
    """Seconds from a trigger's receipt to its done document."""
    known_ids: int = 0
    """Requests in the journal: open ones, and those that have ended and are remembered."""
    memory: dict[str, int] = {}
    """Bytes of the process: `resident`, of those `anonymous`; the rest are buffers and files."""
    left_out: bool = False
    """All but the counters: it would have been larger than the broker takes."""


def encode(message: msgspec.Struct) -> bytes:
    """A message as the JSON that goes out."""
    return _ENCODER.encode(message)


def utc_text(utc_ns: int) -> str:
    """As every time goes out."""
    return rfc3339(utc_ns)


def schema_of(kinds: Iterable[type], reference: str) -> dict[str, Any]:
    """JSON Schemas (2020-12) by the type's name; they refer to each other by `reference`."""
    _, found = msgspec.json.schema_components(kinds, schema_hook=_schema, ref_template=reference)
    return found


def _schema(kind: type) -> dict[str, Any]:
    schemas: dict[type, dict[str, Any]] = {Duration: DURATION_SCHEMA, Span: SPAN_SCHEMA}
    return schemas[kind]


_ENCODER = msgspec.json.Encoder()
