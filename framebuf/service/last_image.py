"""The newest annotated picture of each camera, retained at the broker."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from framebuf.service.encoder import Shot
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.lease import Lease
    from framebuf.contract import Topics
    from framebuf.frames import Frame
    from framebuf.results import FrameResult
    from framebuf.service.encoder import Encoder
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters


class LastImages:
    """The requests' thread says what was answered, the encoder draws it, the main thread sends it.

    The encoder makes no more than one a second for a camera, of the newest frame by then. `_lock`
    guards the pictures and which of them are fresh.
    """

    def __init__(
        self,
        topics: Topics,
        encoder: Encoder,
        counters: Counters,
        on_fresh: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_fresh`: called on the encoder's thread when there are `changes`."""
        self._topics = topics
        self._encoder = encoder
        self._counters = counters
        self._on_fresh = on_fresh
        self._newest_seq: dict[str, int] = {}  # the requests' thread's
        self._lock = threading.Lock()
        self._pictures: dict[str, bytes] = {}
        self._fresh: set[str] = set()

    def answered(
        self, feed: Feed, frame: Frame, result: FrameResult, view: Lease | None = None
    ) -> None:
        """A frame has its result; older ones than the newest are passed over.

        `view`: a lease that has its pixels, the encoder's from now on; else the buffer has them.
        """
        camera = feed.camera.name
        if result.findings is None or frame.seq < self._newest_seq.get(camera, 0):
            if view is not None:
                view.release()
            return
        lease = view or feed.buffer.lease(frame.seq)
        if lease is None:
            self._counters.add("last_images_skipped")
            return
        self._newest_seq[camera] = frame.seq
        self._encoder.show(camera, Shot(lease, partial(self._drawn, camera), result.findings))

    def greeting(self) -> list[Outgoing]:
        """All pictures, for a broker that may have none of them. Any thread."""
        with self._lock:
            self._fresh.clear()
            return [self._outgoing(camera) for camera in self._pictures]

    def changes(self) -> list[Outgoing]:
        """Those made since the last call. Any thread."""
        with self._lock:
            fresh, self._fresh = self._fresh, set()
            return [self._outgoing(camera) for camera in sorted(fresh)]

    def _drawn(self, camera: str, jpeg: bytes | None) -> None:
        """From the encoder's thread; None from whoever replaced it by a newer one."""
        if jpeg is None:
            self._counters.add("last_images_skipped")
            return
        with self._lock:
            self._pictures[camera] = jpeg
            self._fresh.add(camera)
        self._counters.add("last_images")
        self._on_fresh()

    def _outgoing(self, camera: str) -> Outgoing:
        topic = self._topics.of_camera(camera, "last_image")
        return Outgoing(topic, self._pictures[camera], qos=0, retain=True)
