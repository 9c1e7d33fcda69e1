"""A V4L2 device as a camera, by OpenCV: its frames straight into their slots."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import cv2

from framebuf.buffer.coded import Head, Packet
from framebuf.capture.headers import jpeg_size
from framebuf.capture.pace import Meter
from framebuf.capture.source import Grab, now
from framebuf.errors import SourceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.units import Moment

_log = logging.getLogger(__name__)

_SELECT_TIMEOUT = ("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
"""Seconds that a grab waits for a frame: ten, and only the environment changes it."""
_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
_JPEG = b"\xff\xd8"
_HIGHEST_RATE = 1000
_WHY = {
    errno.ENOENT: "there is no such device; is it plugged in?",
    errno.ENODEV: "the device is gone; is it plugged in?",
    errno.ENXIO: "the device is gone; is it plugged in?",
    errno.EACCES: "this user may not open it; add the user to the group video",
    errno.EPERM: "this service may not open it; allow it by DeviceAllow=char-video4linux rw",
    errno.EBUSY: "another program has it",
}


class Device:
    """An open device, on one thread. Frames are stamped as they arrive."""

    def __init__(
        self,
        path: str,
        capture: cv2.VideoCapture,
        size: tuple[int, int],
        stop: threading.Event,
        *,
        encoded: bool = False,
    ) -> None:
        """`size`: width, height. `encoded`: it gives JPEGs, which stay as they are."""
        self.clock = None
        self.largest = 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= _HIGHEST_RATE else None
        self._path = path
        self._capture = capture
        self._size = size
        self._stop = stop
        self._encoded = encoded
        self._head: Head | None = None  # of the last JPEG

    @classmethod
    def open(
        cls,
        path: str,
        stop: threading.Event,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        encoded: bool = False,
        opener: Callable[[str, int], cv2.VideoCapture] = cv2.VideoCapture,
    ) -> Device:
        """Open it and ask for `size` (width, height) and `fps`; what it grants otherwise is logged.

        `encoded`: ask for JPEGs too, and leave them as they are.

        Raises:
            SourceError: it is not there, not ours, or no camera; or it gives no JPEGs.
        """
        _check(path)
        os.environ.setdefault(*_SELECT_TIMEOUT)
        capture = opener(path, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"cannot open {path}: no camera, or another program has it")
        if encoded:
            _ask_jpegs(path, capture, size, fps)
        else:
            _ask(capture, size, fps)
        device = cls(path, capture, _size_of(capture), stop, encoded=encoded)
        device._tell(size, fps)
        return device

    def measure(self) -> float | None:
        """Frames a second: what the driver says, else what comes within a second.

        Raises:
            SourceError: no frame came for two seconds, or the stop event is set.
        """
        meter = Meter()
        while self.rate is None and not meter.enough:
            meter.count(self.grab().captured.mono_ns)
        return self.rate or meter.rate

    def grab(self) -> Grab:
        """The next frame; it is decoded as it is written.

        Raises:
            SourceError: no frame came for two seconds, or the stop event is set.
        """
        if self._stop.is_set():
            raise SourceError("stopped")
        if not self._capture.grab():
            _check(self._path)
            raise SourceError(f"{self._path} gives no frames")
        width, height = self._size
        arrived = now()
        return self._jpeg(arrived) if self._encoded else Grab(arrived, height, width, self._write)

    def _jpeg(self, arrived: Moment) -> Grab:
        """The frame as the device gave it, from the memory that its next one takes."""
        good, data = self._capture.retrieve()
        jpeg = data.tobytes() if good else b""
        if good and not jpeg.startswith(_JPEG):
            raise SourceError(
                f'{self._path} gives pictures that are no JPEGs; give its camera store = "raw"'
            )
        height, width = jpeg_size(jpeg) or (self._size[1], self._size[0])
        head = self._head
        if head is None or (head.height, head.width) != (height, width):
            head = self._head = Head("mjpeg", b"", height, width)
        packet = Packet(jpeg, head)
        return Grab(arrived, height, width, packets=(packet,), packet=packet)

    def _write(self, dst: NDArray[np.uint8]) -> str | None:
        """Into the slot; OpenCV silently makes a new array where the size is another."""
        good, picture = self._capture.retrieve(dst)
        if not good:
            return "cannot be decoded"
        if picture is not dst:
            height, width = picture.shape[:2]
            raise SourceError(
                f"{self._path} gives {width}×{height} where it said {self._size[0]}×{self._size[1]}"
            )
        return None

    def close(self) -> None:
        self._capture.release()

    def _tell(self, size: tuple[int, int] | None, fps: float | None) -> None:
        """What was asked for and not granted. Fewer frames than asked are not made up for."""
        width, height = self._size
        smaller = size is not None and size != self._size
        slower = fps is not None and self.rate is not None and self.rate < fps
        if smaller or slower:
            asked = [f"{size[0]}×{size[1]}"] if size else []
            asked += [f"{fps:g} frames a second"] if fps else []
            _log.warning(
                "%s grants %d×%d and %s frames a second, asked for %s", self._path,
                width, height, f"{self.rate:g}" if self.rate else "unknown", ", ".join(asked),
            )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Device {self._path} {self._size[0]}×{self._size[1]}>"


def _check(path: str) -> None:
    """Whether the device is there and ours.

    Raises:
        SourceError: with what to do about it; OpenCV says no more than no.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        why = _WHY.get(error.errno or 0, error.strerror)
        raise SourceError(f"cannot open {path}: {why}") from error


def _ask(capture: cv2.VideoCapture, size: tuple[int, int] | None, fps: float | None) -> None:
    """Ask for size and rate; a cable too slow for raw pictures may do for JPEGs."""
    _ask_size(capture, size, fps)
    granted = capture.get(cv2.CAP_PROP_FPS)
    if (size is not None and size != _size_of(capture)) or (fps and 0 < granted < fps):
        capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        _ask_size(capture, size, fps)


def _ask_jpegs(
    path: str, capture: cv2.VideoCapture, size: tuple[int, int] | None, fps: float | None
) -> None:
    """Ask for JPEGs as they are.

    Raises:
        SourceError: the device has none.
    """
    capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
    _ask_size(capture, size, fps)
    capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    if int(capture.get(cv2.CAP_PROP_FOURCC)) != _MJPG or capture.get(cv2.CAP_PROP_CONVERT_RGB):
        capture.release()
        raise SourceError(f'{path} gives no JPEGs as they are; give its camera store = "raw"')


def _ask_size(capture: cv2.VideoCapture, size: tuple[int, int] | None, fps: float | None) -> None:
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)


def _size_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    return (
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )
