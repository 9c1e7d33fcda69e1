"""The tables of framebuf.toml, typed. etc/framebuf.toml explains every key."""

from __future__ import annotations

import re
import socket
from typing import Annotated, Any, Literal

import msgspec

from framebuf.units import DURATION_SCHEMA, SIZE_SCHEMA, SPAN_SCHEMA, Duration, Size, Span

RESERVED_NAMES = ("status", "info", "stats", "trigger")
"""Topics of the node itself; no camera may have their names."""


def _text(pattern: str) -> msgspec.Meta:
    """What wholly matches `pattern`; `$` would let a final newline pass."""
    return msgspec.Meta(pattern=rf"\A(?:{pattern})\Z")


# Brokers refuse controls and non-characters, and the client then tries for ever
_LEVEL = r"[^+#/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]+"

Name = Annotated[str, _text("[A-Za-z0-9._-]{1,64}")]
Prefix = Annotated[str, _text(rf"(?!\$){_LEVEL}(/{_LEVEL})*/?")]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
BatchSize = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Base = Annotated[str, _text(rf"(?!\$){_LEVEL}(/{_LEVEL})*")]
Host = Annotated[str, msgspec.Meta(min_length=1)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

Task = Literal["classify", "detect", "embed", "raw", "auto"]
"""`auto`: what the .rknn file says."""
Decoder = Literal["nanodet", "yolov5", "yolov8"]


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "framebuf"


def _default(value: Any) -> Any:
    """A default of a type that msgspec's JSON Schema cannot write down."""
    return msgspec.field(default_factory=lambda: value)


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Node(Table, frozen=True, kw_only=True):
    name: Name = msgspec.field(default_factory=_host_name)
    ring_dir: str = ""
    """Empty: /dev/shm/framebuf-<name>."""
    state_dir: Annotated[str, msgspec.Meta(min_length=1)] = "/var/lib/framebuf"
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    remember: Duration = _default(Duration.of_seconds(3600))
    decoders: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    """Threads that decode frames of cameras with an encoded store. None: half the cores."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Mqtt(Table, frozen=True, kw_only=True):
    host: Host = "localhost"
    port: Port = 1883
    base: Base = "framebuf"
    username: str | None = None
    password_file: str | None = None
    response_prefix: tuple[Prefix, ...] = ()
    last_image: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    transport: Literal["tcp", "websockets"] = "tcp"


class Web(Table, frozen=True, kw_only=True):
    listen: Annotated[
        str, _text(r"(localhost|\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
    ] = "127.0.0.1:8790"
    token_file: str | None = None
    allow_trigger: bool = False
    hosts: tuple[Annotated[str, _text("[A-Za-z0-9._-]{1,253}")], ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class HomeAssistant(Table, frozen=True, kw_only=True):
    discovery: bool = False
    prefix: Base = "homeassistant"
    labels: Annotated[tuple[Label, ...], msgspec.Meta(max_length=100)] = ()
    """What a camera has a sensor for each of."""


class TriggerDefaults(Table, frozen=True, kw_only=True):
    mode: Literal["drain", "window"] = "drain"
    before: Span | None = None
    """None: the whole history."""
    after: Span = _default(Span())
    max_frames: Positive = 300
    max_age: Duration = _default(Duration.of_seconds(5))
    deadline: Duration = _default(Duration.of_seconds(30))


class Camera(Table, frozen=True, kw_only=True):
    name: Name
    source: Annotated[str, msgspec.Meta(min_length=1)]
    size: tuple[Positive, Positive] | None = None
    """Width, height."""
    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    buffer: Span = _default(Span(ns=10 * 10**9))
    memory: Size = _default(Size(512 * 2**20))
    store: Literal["raw", "encoded"] = "raw"
    roi: tuple[NotNegative, NotNegative, Positive, Positive] | None = None
    """x, y, width, height."""
    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    stale_after: Duration | None = None
    """None: 2 s, or three frames where `fps` makes them longer."""
    trigger: TriggerDefaults = _default(TriggerDefaults())

    @property
    def stale_ns(self) -> int:
        """No newer frame for this many nanoseconds: offline."""
        if self.stale_after is not None:
            return self.stale_after.ns
        return max(2 * 10**9, round(3e9 / self.fps) if self.fps else 0)


class Model(Table, frozen=True, kw_only=True):
    name: Name
    path: str
    platform: Annotated[str, _text("auto|cpu|(sim:)?rk(3562|3566|3568|3576|3582|3588)")] = "auto"
    task: Task = "auto"
    decoder: Decoder | None = None
    labels: str | None = None
    """These three may stand in a .rknn file itself; what stands here goes before it."""
    threshold: Fraction = 0.40
    iou: Fraction = 0.50
    resize: Literal["letterbox", "stretch", "center-crop"] | None = None
    """None: center-crop to classify and embed, else letterbox."""
    channels: Literal["rgb", "bgr"] = "rgb"
    batch_sizes: Annotated[tuple[BatchSize, ...], msgspec.Meta(min_length=1)] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    layout: Literal["nchw", "nhwc"] | None = None
    runtimes: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    max_batch: BatchSize | None = None
    """This and the next four: of a model on servers."""
    timeout: Duration = _default(Duration.of_seconds(5))
    ca_file: str | None = None
    token_file: str | None = None
    fallback: str | None = None
    parity: Literal["refuse", "warn", "off"] = "refuse"
    only: tuple[str, ...] | None = None
    max_crops: Positive = 20


class Config(Table, frozen=True, kw_only=True):
    node: Node = msgspec.field(default_factory=Node)
    mqtt: Mqtt = _default(Mqtt())
    web: Web | None = None
    """None: nothing listens."""
    homeassistant: HomeAssistant = _default(HomeAssistant())
    camera: Annotated[tuple[Camera, ...], msgspec.Meta(min_length=1)]
    model: Annotated[tuple[Model, ...], msgspec.Meta(min_length=1)]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of framebuf.toml."""
    text = msgspec.json.encode(msgspec.json.schema(Config, schema_hook=_schema))
    text = text.replace(rb'"\\A(?:', b'"^(?:').replace(rb')\\Z"', b')$"')  # JSON Schema has neither
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


def _schema(kind: type) -> dict[str, Any]:
    schemas: dict[type, dict[str, Any]] = {
        Duration: DURATION_SCHEMA,
        Span: SPAN_SCHEMA,
        Size: SIZE_SCHEMA,
    }
    return schemas[kind]
