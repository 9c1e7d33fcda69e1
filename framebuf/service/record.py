"""What the journal writes down of a request, in types of its own: they are the file's format.

Each is JSON behind its CRC-32, for a database tells a bad page, not a bad byte.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from framebuf.buffer.windowspec import WindowSpec
from framebuf.contract import Images, Reason
from framebuf.service.orders import Order
from framebuf.service.response import Response
from framebuf.units import Moment, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Ends = tuple[int | None, int]
"""A span: frames, or None and nanoseconds."""


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order, but for its camera and id, which stand beside it."""

    received: tuple[int, int]
    """Monotonic and UTC, nanoseconds."""
    moment: tuple[int, int]
    before: Ends | None
    after: Ends
    stride: int
    max_frames: int
    give_up_ns: int
    drain: bool
    deadline_ns: int
    priority: int
    images: Images
    response: ResponseRecord | None = None
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, order: Order) -> OrderRecord:
        spec = order.spec
        return cls(
            received=(order.received.mono_ns, order.received.utc_ns),
            moment=(order.moment.mono_ns, order.moment.utc_ns),
            before=None if spec.before is None else (spec.before.frames, spec.before.ns),
            after=(spec.after.frames, spec.after.ns),
            stride=spec.stride,
            max_frames=spec.max_frames,
            give_up_ns=spec.give_up_ns,
            drain=order.drain,
            deadline_ns=order.deadline_ns,
            priority=order.priority,
            images=order.images,
            response=None if order.response is None else ResponseRecord.of(order.response),
            meta=order.meta,
        )

    def order(self, camera: str, id: str) -> Order:
        """The order again."""
        moment = Moment(*self.moment)
        spec = WindowSpec(
            moment.mono_ns,
            None if self.before is None else _span(self.before),
            _span(self.after),
            self.stride,
            self.max_frames,
            self.give_up_ns,
        )
        return Order(
            id=id,
            camera=camera,
            received=Moment(*self.received),
            moment=moment,
            spec=spec,
            drain=self.drain,
            deadline_ns=self.deadline_ns,
            priority=self.priority,
            # a copy, for a Raw is a view of all that it was decoded from
            meta=self.meta if self.meta is msgspec.UNSET else msgspec.Raw(bytes(self.meta)),
            images=self.images,
            response=None if self.response is None else self.response.response(),
        )


class ResponseRecord(msgspec.Struct, frozen=True):
    """Where else answers go."""

    topic: str
    correlation: bytes | None

    @classmethod
    def of(cls, response: Response) -> ResponseRecord:
        return cls(response.topic, response.correlation)

    def response(self) -> Response:
        return Response(self.topic, self.correlation)


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a request has come."""

    window: dict[str, int | None]
    """`Window.counts`."""
    started: bool = False
    told: bool = False
    """The broker has its ack."""
    over: int = 0
    """So many of its first frames are over: their results are acknowledged, or they have none."""
    published: int = 0
    """Of those that are over; the counts below too."""
    failed: int = 0
    missing: dict[Reason, int] = {}
    summary: dict[str, int] = {}
    infer_ms: float = 0.0
    askers: tuple[ResponseRecord, ...] = ()
    """Where its done goes besides the camera's own topic."""


def dump(record: msgspec.Struct) -> bytes:
    """A record as the file has it."""
    text = msgspec.json.encode(record)
    return zlib.crc32(text).to_bytes(4, "little") + text


def load(data: object, kind: type[T]) -> T:
    """A record from the file.

    Raises:
        ValueError: it is none of this kind.
    """
    if not isinstance(data, bytes) or zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
        raise ValueError(f"a {kind.__name__} with its checksum is expected, got {data!r:.40}")
    return msgspec.json.decode(data[4:], type=kind)


def responses(records: Sequence[ResponseRecord]) -> list[Response]:
    return [record.response() for record in records]


def _span(ends: Ends) -> Span:
    frames, ns = ends
    return Span(ns=ns) if frames is None else Span(frames=frames)
