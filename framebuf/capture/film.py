"""A video file as a camera: its frames at their own pace, over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.capture.codedvideo import CodedVideo
from framebuf.capture.libav import Video
from framebuf.capture.pace import Pacer
from framebuf.errors import SourceError
from framebuf.frames import Origin
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from framebuf.capture.libav import Picture
    from framebuf.capture.source import Grab

_LONGEST_STEP_S = 60.0
"""A jump in the file's clock, not a pause."""
_ASSUMED_RATE = 25.0


class Film:
    """Plays a video file, on one thread. Each frame is decoded while its turn comes."""

    def __init__(self, path: Path, video: Video | CodedVideo, stop: threading.Event) -> None:
        self.rate = video.average_rate or video.guessed_rate
        self.clock = None
        self.largest = 0
        self._path = path
        self._video = video
        self._stop = stop
        self._pacer = Pacer(stop)
        self._period_s = 1 / (self.rate or _ASSUMED_RATE)
        self._pictures = self._endless()
        self._at_s: float | None = None  # the last frame's place on the file's clock

    @classmethod
    def open(cls, path: Path, stop: threading.Event, *, encoded: bool = False) -> Film:
        """Open the file at its first frame. `encoded`: nothing is decoded.

        Raises:
            SourceError: it is no video.
        """
        video = Video.open(str(path))
        return cls(path, CodedVideo.of(video) if encoded else video, stop)

    def measure(self) -> float | None:
        """At which it is played."""
        return 1 / self._period_s

    def grab(self) -> Grab:
        """The next frame, when its turn has come.

        Raises:
            SourceError: the file has no frames or cannot be read on, or the stop event is set.
        """
        position, picture, at_s = next(self._pictures)
        step_s = self._period_s
        if position and at_s is not None and self._at_s is not None:
            told_s = at_s - self._at_s
            step_s = told_s if 0 < told_s <= _LONGEST_STEP_S else step_s
        self._at_s = at_s
        captured = self._pacer.wait(round(step_s * SECOND_NS))
        return self._video.grab(picture, captured, Origin(position))

    def _endless(self) -> Iterator[tuple[int, Picture, float | None]]:
        """Position, picture, and seconds on the file's clock if it has one."""
        while True:
            position = 0
            for packet in self._video.packets():
                pictures = self._video.pictures(packet)
                if not pictures and self._stop.is_set():  # else the pacer looks
                    raise SourceError("stopped")
                for picture in pictures:
                    # A damaged frame has no time of its own, so its step is the usual one
                    yield position, picture, None if isinstance(picture, str) else picture.time
                    position += 1
            if not position:
                raise SourceError(f"{self._path} has no frames")
            # Not every format seeks back to its first frame
            self._video.close()
            self._video = self._video.reopened(str(self._path))

    def close(self) -> None:
        self._video.close()

    def __repr__(self) -> str:
        return f"<Film {self._path}>"
