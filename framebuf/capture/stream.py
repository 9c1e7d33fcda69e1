"""An RTSP or HTTP stream as a camera."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from framebuf.capture.clock import StreamClock
from framebuf.capture.codedvideo import CodedVideo
from framebuf.capture.libav import TimedOut, Video, nanoseconds
from framebuf.capture.pace import Meter
from framebuf.capture.presentation import CodedPicture
from framebuf.capture.source import PATIENCE_S, now
from framebuf.errors import SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading

    from framebuf.capture.libav import Packet as Received
    from framebuf.capture.libav import Picture
    from framebuf.capture.source import Grab
    from framebuf.units import Moment

_OPENING_S = 2.0
_SLOWER = "a camera that is slower needs a lower fps or a longer stale_after"
_PATIENCE_NS = 30 * SECOND_NS
"""Packets for this long and no picture: longer than any camera's distance of key frames."""
_BROKEN_NS = 5 * SECOND_NS
"""Packets for this long and none decodes any more: the codec has changed, opening finds out."""
_MOST_HELD = 250
"""Packets that are held until the clock has settled, or the rate is measured."""


class Stream:
    """A live stream, on one thread. Frames are stamped by the stream's clock, else on arrival."""

    def __init__(self, video: Video | CodedVideo, stop: threading.Event, patience_s: float) -> None:
        # Not the guessed one: of MJPEG, whose packets carry no times, it is a made-up 25
        self.rate = video.average_rate
        self.clock = StreamClock()
        self.largest = 0
        self._video = video
        self._has_times = video.has_times
        self._stop = stop
        self._patience_s = patience_s
        self._silent_ns = round(0.9 * patience_s * SECOND_NS)
        self._broken_ns = max(_BROKEN_NS, round(3 * patience_s * SECOND_NS))
        self._packets = video.packets()
        self._held: deque[tuple[Received, Moment]] = deque()
        self._ready: deque[Grab] = deque()
        self._good_ns: int | None = None  # when the last good picture came
        self._any = False
        self._failure: SourceError | None = None
        self._opened_ns = now().mono_ns

    @classmethod
    def open(
        cls,
        url: str,
        stop: threading.Event,
        patience_s: float = PATIENCE_S,
        *,
        encoded: bool = False,
    ) -> Stream:
        """Connect, RTSP over TCP. `patience_s`: how long no frame may come.

        `encoded`: nothing is decoded.

        Raises:
            SourceError: no answer within two seconds (where frames may be slower, as long as three
                of them take), or nothing to decode.
        """
        # By default libav keeps back more than a second of frames to find out their rate, and they
        # all arrive at once; half a second is enough to tell it
        options = {"analyzeduration": "500000"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        # libav wants to see two or three frames before a stream is open
        opening_s = _OPENING_S if patience_s <= PATIENCE_S else 3 * patience_s
        try:
            video = Video.open(url, timeout=(opening_s, patience_s), options=options)
        except SourceError as error:
            if not isinstance(error.__cause__, TimedOut):
                raise
            raise SourceError(f"{error}; {_SLOWER}") from error
        return cls(CodedVideo.of(video) if encoded else video, stop, patience_s)

    def measure(self) -> float | None:
        """Frames a second: what the stream says, else what arrives; those frames are kept.

        Raises:
            SourceError: the stop event is set. What else fails is left to `grab`, behind them.
        """
        meter = Meter()
        while self.rate is None and not meter.enough and len(self._held) < _MOST_HELD:
            if self._stop.is_set():
                raise SourceError("stopped")
            try:
                packet, arrived = self._next()
            except SourceError as error:
                self._failure, self._packets = error, iter(())  # nothing after it is to be trusted
                break
            if packet is None:
                break
            meter.count(arrived.mono_ns)
            self._hold(packet, arrived)
        return self.rate or meter.rate

    def grab(self) -> Grab:
        """The next frame.

        Raises:
            SourceError: the stream ended, nothing came for too long, or the stop event is set.
        """
        while not self._ready:
            if self._stop.is_set():
                raise SourceError("stopped")
            self._read()
        return self._ready.popleft()

    def _read(self) -> None:
        """One packet; those before the clock has settled are decoded when it has."""
        if not self._held or not self.clock.settled:
            packet, arrived = self._next()
            if packet is not None:
                self._hold(packet, arrived)
                if not self.clock.settled and len(self._held) < _MOST_HELD:
                    return
            elif not self._held:
                raise self._failure or SourceError("the stream ended")
        before_ns = self._before_first()
        while self._held:
            self._decode(*self._held.popleft(), before_ns)
            before_ns = None

    def _hold(self, packet: Received, arrived: Moment) -> None:
        self.clock.arrived(self._time(packet), arrived.mono_ns)
        self._held.append((packet, arrived))

    def _next(self) -> tuple[Received | None, Moment]:
        """The next packet, and when it came; None: the stream is over.

        Raises:
            SourceError: nothing came for too long.
        """
        asked_ns = time.monotonic_ns()
        try:
            packet = next(self._packets, None)
        except SourceError as error:
            self._failure = error
            packet = None
        arrived = now()
        if arrived.mono_ns - asked_ns > self._silent_ns:
            # libav lets the first time-out pass: it hands out what it has of the next picture, and
            # counts times anew
            why = self._failure or f"nothing came for {self._patience_s:g} s"
            raise SourceError(f"{why}; {_SLOWER}") from self._failure
        # an empty packet, or none: so libav tells that the server went away
        return (packet if packet is not None and packet.size else None), arrived

    def _time(self, packet: Received) -> int | None:
        return self._video.time_ns(packet.pts) if self._has_times else None

    def _time_of(self, picture: Picture, packet: Received) -> int | None:
        """A damaged one has no time of its own, but that of its packet."""
        if isinstance(picture, str) or not self._has_times:
            return self._time(packet)
        return picture.time_ns if isinstance(picture, CodedPicture) else nanoseconds(picture)

    def _before_first(self) -> int | None:
        """The time of a first packet that has none of its own: one step before the second's."""
        if len(self._held) < 3:
            return None
        times = [self._time(packet) for packet, _ in self._held]
        if times[0] is not None or times[1] is None or times[2] is None:
            return None
        return 2 * times[1] - times[2]

    def _decode(self, packet: Received, arrived: Moment, untimed_ns: int | None) -> None:
        for picture in self._video.pictures(packet):
            broken = isinstance(picture, str)
            dubious = isinstance(picture, CodedPicture) and not picture.plausible
            # Joined between two key frames, the first packets are no loss
            if broken and not self._any and not packet.is_keyframe:
                continue
            self._any = True
            if not (broken or dubious):
                self._good_ns = arrived.mono_ns
            time_ns = self._time_of(picture, packet)
            captured = self.clock.stamp(untimed_ns if time_ns is None else time_ns, arrived)
            self._ready.append(self._video.grab(picture, captured))
        self._check_alive(arrived.mono_ns)

    def _check_alive(self, now_ns: int) -> None:
        if not self._any and now_ns - self._opened_ns > _PATIENCE_NS:
            raise SourceError(f"no picture within {_PATIENCE_NS // SECOND_NS} s")
        if self._good_ns is not None and now_ns - self._good_ns > self._broken_ns:
            raise SourceError(f"nothing could be decoded for {self._broken_ns / SECOND_NS:g} s")

    def close(self) -> None:
        self._video.close()

    def __repr__(self) -> str:
        return f"<Stream {self._video.name}>"
