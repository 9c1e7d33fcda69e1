"""What a trigger would take if it came now; nothing is claimed, leased or written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from framebuf.buffer.window import Window
from framebuf.contract import decode_trigger
from framebuf.errors import ContractError
from framebuf.service.orders import read_order
from framebuf.units import Moment

if TYPE_CHECKING:
    from framebuf.buffer.claims import Claims
    from framebuf.service.feed import Feed

_MS = 10**6


class _Peek:
    """Claims that are looked at, and stay as they are."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    def claim(self, seq: int) -> bool:
        """Whether a drain would get this frame."""
        return not self._claims.holds(seq)


def preview(feed: Feed, payload: bytes) -> dict[str, Any]:
    """The frames that this trigger to this camera would ask for, as far as they exist. Any thread.

    Moments are milliseconds of the monotonic clock.

    Raises:
        ContractError: it would be rejected.
    """
    trigger = decode_trigger(payload)
    now = Moment(time.monotonic_ns(), time.time_ns())
    order = read_order(trigger, feed.camera, feed.buffer, now, kept=False)
    window = Window(order.spec, _Peek(feed.claims) if order.drain else None)
    if not feed.buffer.online(now.mono_ns) and not window.can_fill(feed.buffer, now.mono_ns):
        raise ContractError("camera_offline", "no frame of the window exists and none can come")
    newest = feed.buffer.newest()
    asked = window.start(feed.buffer, newest.seq if newest else -1, now.mono_ns)
    return {
        "frames": [[one.stamp.seq, one.stamp.mono_ns // _MS] for one in asked],
        "to_come": window.outstanding(),
        "thinned": window.thinned,
        "already_claimed": window.already_claimed,
        "moment": order.moment.mono_ns // _MS,
        "until": (order.spec.end_ns or order.moment.mono_ns) // _MS,
    }
