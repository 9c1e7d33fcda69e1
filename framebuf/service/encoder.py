"""The encoder: one thread that makes JPEGs of frames, and holds nothing up."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from framebuf.results import Classification, Findings
from framebuf.service import drawing
from framebuf.service.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.lease import Lease
    from framebuf.service.drawing import Picture

QUALITY = 85
"""Of a JPEG: beyond it a file grows faster than the eye gains."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame to be encoded. The encoder ends its lease."""

    lease: Lease
    """Strong: the pixels are read from their slot."""
    encoded: Callable[[bytes | None], None]
    """Called once, quick, with the JPEG, on the encoder's thread; with None where there is none,
    on the thread that gives it up."""
    findings: Findings | None = None
    """Drawn into the picture, where given."""
    until_ns: int = 2**63
    """Monotonic; not begun later."""


def jpeg_of(picture: Picture) -> bytes | None:
    """A (height, width, 3) uint8 BGR picture as JPEG; None: it has a side beyond 65,500 pixels."""
    try:
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error:
        return None
    return jpeg.tobytes() if done else None


class Encoder:
    """The thread `encoder`: makes pictures for results, and the newest of each camera.

    The first wait in a bounded queue, in order. The second go before them, for there is at most
    one a camera in `every_s`.

    Any thread may call. `_changed` guards the queue, the newest shots and `_closing`; pictures are
    made outside it.
    """

    QUEUE = 32
    """Shots that wait, each a frame that cannot be overwritten; one more is refused."""

    def __init__(
        self,
        every_s: float = 1.0,
        encode: Callable[[Picture], bytes | None] = jpeg_of,
        *,
        draws: bool = False,
    ) -> None:
        """`encode` makes a JPEG of a picture; None where it cannot. `draws`: `show` is called."""
        self._encode = encode
        self._draws = draws
        self._every_ns = round(every_s * 1e9)
        self._changed = threading.Condition()
        self._queue: deque[Shot] = deque()
        self._newest: dict[str, Shot] = {}
        self._due_ns: dict[str, int] = {}  # when a camera's next picture may be made; monotonic
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
        self.pulse = Pulse(self._thread)

    def start(self) -> None:
        self._thread.start()

    def submit(self, shot: Shot) -> bool:
        """Queue a picture; False: too many wait, and the shot is still the caller's."""
        with self._changed:
            if self._closing or len(self._queue) >= self.QUEUE:
                return False
            self._queue.append(shot)
            self._changed.notify()
            return True

    def show(self, camera: str, shot: Shot) -> None:
        """Make this the camera's next picture, in place of one that has not been made yet."""
        with self._changed:
            replaced = shot if self._closing else self._newest.get(camera)
            if not self._closing:
                self._newest[camera] = shot
                self._changed.notify()
        if replaced is not None:
            _give_up(replaced)

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the thread; what waits is given up."""
        with self._changed:
            self._closing = True
            left = [*self._queue, *self._newest.values()]
            self._queue.clear()
            self._newest.clear()
            self._changed.notify()
        for shot in left:
            _give_up(shot)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        self.pulse.beat()
        _warm_up(draws=self._draws)
        while (shot := self._next()) is not None:
            self.pulse.beat()
            if shot.until_ns <= time.monotonic_ns():
                _give_up(shot)
                continue
            try:
                jpeg = self._made(shot)
            finally:
                shot.lease.release()
            shot.encoded(jpeg)

    def _made(self, shot: Shot) -> bytes | None:
        frame = shot.lease.frame
        if not frame.is_decoded:  # it could not be
            return None
        if shot.findings is None:
            return self._encode(frame.pixels)
        return self._encode(drawing.shown(frame.pixels, shot.findings))

    def _next(self) -> Shot | None:
        """Block for the next shot; None: the encoder is to end."""
        self.pulse.rest()
        with self._changed:
            while not self._closing:
                now = time.monotonic_ns()
                due = {camera: self._due_ns.get(camera, now) for camera in self._newest}
                camera = min(due, key=due.__getitem__, default=None)
                if camera is not None and due[camera] <= now:
                    self._due_ns[camera] = now + self._every_ns
                    return self._newest.pop(camera)
                if self._queue:
                    return self._queue.popleft()
                self._changed.wait(None if camera is None else (due[camera] - now) / 1e9)
            return None

    def __repr__(self) -> str:
        return f"<Encoder {len(self._queue)}/{self.QUEUE}, {len(self._newest)} newest>"


def _warm_up(*, draws: bool) -> None:
    """Encode once for nothing, and draw where that will be asked for.

    OpenCV's first picture takes 15 ms and its first text 25 ms, and beside a busy model so much
    longer that the first result went out without its picture. Its fonts take 6 MB.
    """
    picture = np.zeros((8, 8, 3), np.uint8)
    if draws:
        picture = drawing.shown(picture, Findings(classes=(Classification("0", 0, 0.0),)))
    jpeg_of(picture)


def _give_up(shot: Shot) -> None:
    shot.lease.release()
    shot.encoded(None)
