"""Images: the pictures that results wait for, for a bounded time."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from framebuf.service.encoder import Shot

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.contract import Image
    from framebuf.results import FrameResult
    from framebuf.service.encoder import Encoder
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.item import Item
    from framebuf.service.orders import Order

WAIT_NS = 250 * 10**6
"""A result waits no longer for its picture; then it goes out without."""
BEGIN_NS = 150 * 10**6
"""Nor is a picture begun later: with more of them than the encoder can make (4 ms or more for
1080p), each would be ready just after its result was sent without it."""
HEAD_BYTES = 1024
"""Of a packet, the topic above all, at most."""
MAX_BYTES = 4 * 2**20
"""Of pictures on their way to the broker: results that come after them wait for the network."""


@dataclass(slots=True, eq=False)
class Wait:
    """One result that waits for its picture."""

    ready: Callable[[bytes], None]
    until_ns: int
    """Monotonic."""
    over: bool = False


class Images:
    """Only the requests' thread, but for what the encoder and the broker call back.

    Each picture that a trigger asks for is counted once, as `images_sent` (given to the MQTT
    client before its result) or `images_dropped`.
    """

    def __init__(
        self,
        encoder: Encoder,
        connected: threading.Event,
        counters: Counters,
        deliver: Callable[[Callable[[], None]], None],
        max_packet: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`deliver` calls back on the requests' thread, from any other.

        `max_packet` tells the bytes of the largest packet that the broker takes.
        """
        self._max_packet = max_packet
        self._encoder = encoder
        self._connected = connected
        self._counters = counters
        self._deliver = deliver
        self._waits: deque[Wait] = deque()  # bounded by the encoder's queue and WAIT_NS
        self._lock = threading.Lock()  # guards _bytes
        self._bytes = 0

    def hold(self, feed: Feed, order: Order, item: Item) -> None:
        """Keep a frame's pixels for a picture that may be wanted, beyond its way into a tensor."""
        if order.images != "none" and item.frame is not None and item.frame.error is None:
            item.picture = feed.buffer.lease(item.frame.seq)

    def begin(
        self, order: Order, item: Item, result: FrameResult, ready: Callable[[bytes], None]
    ) -> Image | Literal["waits"] | None:
        """Have the frame's picture made, if one is wanted: what is known of it now.

        `waits`: `ready` will be called, on the requests' thread and in time, with the JPEG, or
        with nothing where it was dropped.
        """
        lease, item.picture = item.picture, None
        if not _wanted(order, result):
            if lease is not None:
                lease.release()
            return None
        now = time.monotonic_ns()
        wait = Wait(ready, now + WAIT_NS)
        if lease is not None:  # None: the frame could not be decoded
            encoded = partial(self._encoded, item, wait)
            shot = Shot(lease, encoded, until_ns=now + BEGIN_NS)
            if self._connected.is_set() and self._encoder.submit(shot):
                item.wait = wait
                self._waits.append(wait)
                return "waits"
            lease.release()
        self._counters.add("images_dropped")
        return "dropped"

    def give_up(self, wait: Wait) -> None:
        """Let a result go out without its picture."""
        if not wait.over:
            wait.over = True
            self._counters.add("images_dropped")
            wait.ready(b"")

    def due_ns(self) -> int:
        """When the first result has waited long enough; monotonic."""
        while self._waits and self._waits[0].over:
            self._waits.popleft()
        return self._waits[0].until_ns if self._waits else 2**63

    def look(self, now_ns: int) -> None:
        """Give up what has waited long enough."""
        while self.due_ns() <= now_ns:
            self.give_up(self._waits.popleft())

    def _encoded(self, item: Item, wait: Wait, jpeg: bytes | None) -> None:
        """From the encoder's thread."""
        self._deliver(partial(self._take, item, wait, jpeg or b""))

    def _take(self, item: Item, wait: Wait, jpeg: bytes) -> None:
        if wait.over:
            return  # too late: its result went out
        if not jpeg or not self._connected.is_set() or not self._admit(len(jpeg)):
            self.give_up(wait)
            return
        wait.over = True
        item.confirmed = partial(self._confirm, len(jpeg))
        self._counters.add("images_sent")
        wait.ready(jpeg)

    def _admit(self, size: int) -> bool:
        """Whether so many bytes may be on their way too. One that the broker takes always may."""
        limit = self._max_packet()
        if limit is not None and size + HEAD_BYTES > limit:
            return False
        with self._lock:
            if self._bytes and self._bytes + size > MAX_BYTES:
                return False
            self._bytes += size
            return True

    def _confirm(self, size: int) -> None:
        """The broker has the result behind a picture. On the publisher's thread."""
        with self._lock:
            self._bytes -= size

    def __repr__(self) -> str:
        waiting = sum(not wait.over for wait in tuple(self._waits))
        return f"<Images {waiting} waited for, {self._bytes} bytes on their way>"


def _wanted(order: Order, result: FrameResult) -> bool:
    found = result.findings is not None and bool(result.findings.detections)
    return order.images == "all" or (order.images == "detections" and found)
