"""An RTSP or HTTP stream as a camera."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from framebuf.capture.libav import Video, decoded
from framebuf.capture.source import now
from framebuf.errors import SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading

    from framebuf.capture.source import Grab

_TIMEOUT_S = (2.0, 1.5)
"""For opening a stream, and for each read."""
_PATIENCE_NS = 30 * SECOND_NS
"""Packets for this long and no picture: longer than any camera's distance of key frames."""


class Stream:
    """A live stream, on one thread. Frames are stamped as their packet arrives."""

    def __init__(self, video: Video, stop: threading.Event) -> None:
        # Not the guessed one: of MJPEG, whose packets carry no times, it is a made-up 25
        self.rate = video.average_rate
        self._video = video
        self._stop = stop
        self._packets = video.packets()
        self._ready: deque[Grab] = deque()
        self._any = False
        self._opened_ns = now().mono_ns

    @classmethod
    def open(cls, url: str, stop: threading.Event) -> Stream:
        """Connect, RTSP over TCP.

        Raises:
            SourceError: no answer within two seconds, or nothing to decode.
        """
        # By default libav keeps back more than a second of frames to find out their rate, and they
        # all arrive at once; half a second is enough to tell it
        options = {"analyzeduration": "500000"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        return cls(Video.open(url, timeout=_TIMEOUT_S, options=options), stop)

    def grab(self) -> Grab:
        """The next frame.

        Raises:
            SourceError: the stream ended, nothing came for 1.5 s, or the stop event is set.
        """
        while not self._ready:
            if self._stop.is_set():
                raise SourceError("stopped")
            self._read()
        return self._ready.popleft()

    def _read(self) -> None:
        packet = next(self._packets, None)
        captured = now()
        if packet is None or not packet.size:  # so libav tells that the server went away
            raise SourceError("the stream ended")
        for picture in decoded(packet):
            # Joined between two key frames, the first packets are no loss
            if isinstance(picture, str) and not self._any and not packet.is_keyframe:
                continue
            self._any = True
            self._ready.append(self._video.grab(picture, captured))
        if not self._any and captured.mono_ns - self._opened_ns > _PATIENCE_NS:
            raise SourceError(f"no picture within {_PATIENCE_NS // SECOND_NS} s")

    def close(self) -> None:
        self._video.close()

    def __repr__(self) -> str:
        return f"<Stream {self._video.name}>"
