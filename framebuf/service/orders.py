"""A trigger as an order: its defaults filled in, its moment fixed, checked against the camera."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.buffer.windowspec import WindowSpec
from framebuf.contract import MAX_AHEAD_NS
from framebuf.errors import ContractError
from framebuf.units import Duration, Moment, parse_rfc3339

if TYPE_CHECKING:
    import msgspec

    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.extent import Extent
    from framebuf.config import Camera
    from framebuf.contract import Images, Trigger
    from framebuf.service.response import Response
    from framebuf.units import Span


@dataclass(frozen=True, slots=True)
class Order:
    """What one accepted trigger asks of one camera."""

    id: str
    camera: str
    received: Moment
    moment: Moment
    spec: WindowSpec
    drain: bool
    deadline_ns: int
    """Monotonic."""
    priority: int
    meta: msgspec.Raw | msgspec.UnsetType
    images: Images = "none"
    """Of which frames a picture goes out."""
    response: Response | None = None

    @property
    def turn(self) -> str:
        """Its name on the backlog."""
        return f"{self.camera}/{self.id}"


def read_order(
    trigger: Trigger,
    camera: Camera,
    buffer: Buffer,
    received: Moment,
    *,
    kept: bool,
    response: Response | None = None,
) -> Order:
    """Fill in what the trigger leaves out. `kept`: the broker may have held it back.

    Raises:
        ContractError: `bad_at`, `stale` or `window_too_large`.
    """
    defaults = camera.trigger
    moment = _moment(trigger, received, defaults.max_age, kept=kept)
    deadline = trigger.deadline or defaults.deadline
    after = defaults.after if trigger.after is None else trigger.after
    ends_ns = moment.mono_ns + after.ns
    if after.ns and ends_ns >= received.mono_ns + deadline.ns:
        raise ContractError(
            "window_too_large", f"after {after} reaches the deadline {deadline}", trigger.id
        )
    held = _held_ns(buffer)
    if trigger.before is not None:
        _check_before(trigger.before, camera.buffer, buffer, held, trigger.id)
        before: Span | None = trigger.before
    else:
        before = defaults.before
        if before is not None and _exceeds(before, buffer.extent, held):
            before = None  # memory holds less than was configured, which was logged
    spec = WindowSpec(
        moment.mono_ns,
        before,
        after,
        trigger.stride,
        trigger.max_frames or defaults.max_frames,
        received.mono_ns + deadline.ns,
    )
    return Order(
        id=trigger.id or made_up_id(),
        camera=camera.name,
        received=received,
        moment=moment,
        spec=spec,
        drain=(trigger.mode or defaults.mode) == "drain",
        deadline_ns=received.mono_ns + deadline.ns,
        priority=trigger.priority,
        meta=trigger.meta,
        images=trigger.images,
        response=response,
    )


def made_up_id() -> str:
    """`t-<uuid7>`: RFC 9562 section 5.7, milliseconds since the epoch and 74 random bits."""
    stamp = time.time_ns() // 10**6
    value = stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"t-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _moment(trigger: Trigger, received: Moment, max_age: Duration, *, kept: bool) -> Moment:
    if trigger.at is None:
        if kept:
            raise ContractError(
                "stale", "kept by the broker while the node was away, and says no `at`", trigger.id
            )
        return received
    at = parse_rfc3339(trigger.at)
    age = received.utc_ns - at
    if age > max_age.ns:
        raise ContractError(
            "stale",
            f"the event is {Duration(round(age, -6))} old; the limit is {max_age}",
            trigger.id,
        )
    if age < -MAX_AHEAD_NS:
        raise ContractError(
            "bad_at", f"the event is {Duration(round(-age, -6))} ahead of this clock", trigger.id
        )
    return Moment(received.mono_ns - age, at)


def _held_ns(buffer: Buffer) -> int | None:
    """How far the full history reaches, at the camera's rate; None until that is known."""
    period = buffer.period_ns()
    return buffer.extent.history * period if buffer.extent and period else None


def _exceeds(before: Span, held: Extent | None, held_ns: int | None) -> bool:
    """Whether the full history does not reach so far, for what is known of it."""
    too_many = before.frames is not None and held is not None and before.frames > held.history
    return too_many or (held_ns is not None and before.ns > held_ns)


def _check_before(
    before: Span, asked: Span, buffer: Buffer, held_ns: int | None, id: str | None
) -> None:
    """`asked` is the configured buffer: all that is known before the first frame."""
    held = buffer.extent
    if held is None:
        if asked.frames is not None:
            too_far = before.frames is not None and before.frames > asked.frames
        else:
            too_far = before.ns > asked.ns
        reach = str(asked)
    else:
        # rates are not exact
        too_far = _exceeds(before, held, held_ns and held_ns + held_ns // 50)
        reach = f"{held.history} frames" + (f", {held_ns / 1e9:.1f}s" if held_ns else "")
    if too_far:
        raise ContractError("window_too_large", f"before {before}; the history holds {reach}", id)
