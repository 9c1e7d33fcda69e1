"""Rhythm: how often the main thread looks whether something has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.models.remote import Remote
    from framebuf.service.broker import Broker

TICK_S = 0.2
"""While something is away: it may come back any moment, and nobody tells."""
REST_S = 1.0
"""While all is well. So much later is noticed that a thread hangs."""


class Rhythm:
    """The main thread's. Each look costs as much as a frame of an idle camera.

    While each camera gives frames, the broker is there and servers answer, what may change next is
    that a camera falls silent, and when that would be is known.
    """

    def __init__(
        self,
        buffers: Iterable[Buffer],
        remotes: Sequence[Remote],
        broker: Broker,
        longest_s: float,
    ) -> None:
        """`longest_s`: to rest for no longer than that, whatever there is."""
        self._buffers = tuple(buffers)
        self._remotes = remotes
        self._broker = broker
        self._rest_s = min(REST_S, longest_s)
        self._tick_s = min(TICK_S, longest_s)

    def rest_s(self) -> float:
        """Seconds until the next look."""
        broker = self._broker
        if broker.trouble is not None or not broker.connected.is_set():
            return self._tick_s
        if any(remote.away is not None for remote in self._remotes):
            return self._tick_s
        fresh_until = min((buffer.fresh_until() for buffer in self._buffers), default=0)
        left_s = (fresh_until + 1 - time.monotonic_ns()) / SECOND_NS
        return min(left_s, self._rest_s) if left_s > 0 else self._tick_s

    def __repr__(self) -> str:
        return f"<Rhythm {self.rest_s():.1f} s>"
