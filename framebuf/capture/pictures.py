"""A folder of pictures as a camera: one after the other by name, for ever."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING

import cv2
import numpy as np

from framebuf.capture.headers import frame_bytes
from framebuf.capture.pace import Pacer
from framebuf.capture.source import Grab
from framebuf.errors import SourceError
from framebuf.frames import Origin
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_LARGEST_FILE = 256 * 2**20
"""Bytes; more is no picture of a camera, and reading it could take all memory."""

_MOST_LOOKED_AT = 1000
"""Files whose sizes are read ahead: a tenth of a second."""

_START, _SCAN, _END = b"\xff\xd8", 0xDA, b"\xff\xd9"


class Pictures:
    """Reads a folder, on one thread. Each picture is read and decoded while its turn comes."""

    def __init__(self, folder: Path, fps: float, stop: threading.Event) -> None:
        self.rate: float | None = fps
        self.clock = None
        self.largest = 0
        self._folder = folder
        self._step_ns = round(SECOND_NS / fps)
        self._pacer = Pacer(stop)
        self._files: list[Path] = []
        self._position = 0
        self._size = (16, 16)  # height, width of the last good picture

    @classmethod
    def open(cls, folder: Path, fps: float, stop: threading.Event) -> Pictures:
        """Take the folder's listing; `fps` pictures a second will come.

        Raises:
            SourceError: it cannot be listed, or has no pictures.
        """
        pictures = cls(folder, fps, stop)
        pictures._list()
        pictures.largest = max(frame_bytes(file) for file in pictures._files[:_MOST_LOOKED_AT])
        return pictures

    def measure(self) -> float | None:
        """At which they are read."""
        return self.rate

    def grab(self) -> Grab:
        """The next picture, when its turn has come. At each repeat the folder is listed again.

        Raises:
            SourceError: the folder has no pictures any more, or the stop event is set.
        """
        if self._position == len(self._files):
            self._list()
        position, file = self._position, self._files[self._position]
        self._position += 1
        # A name that is no UTF-8 could not be published
        origin = Origin(position, os.fsencode(file.name).decode("utf-8", "replace"))
        picture = decoded(file)
        captured = self._pacer.wait(self._step_ns)
        if isinstance(picture, str):
            return Grab(captured, *self._size, origin=origin, error=f"{origin.file}: {picture}")
        height, width = self._size = picture.shape[:2]
        write = functools.partial(np.copyto, src=picture)
        return Grab(captured, height, width, write, origin)

    def close(self) -> None:
        """Nothing is held open between two pictures."""

    def _list(self) -> None:
        try:
            files = sorted(path for path in self._folder.iterdir() if _is_picture(path))
        except OSError as error:
            raise SourceError(f"cannot list {self._folder}: {error.strerror}") from error
        if not files:
            raise SourceError(f"no pictures in {self._folder}: expected {', '.join(SUFFIXES)}")
        self._files = files
        self._position = 0

    def __repr__(self) -> str:
        return f"<Pictures {self._folder} {self._position}/{len(self._files)}>"


def _is_picture(path: Path) -> bool:
    # Programs that copy files give them hidden names until they are whole
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()


def decoded(file: Path) -> NDArray[np.uint8] | str:
    """(height, width, 3) uint8, BGR, turned as its EXIF says; or why there is none."""
    data = _read(file)
    if isinstance(data, str):
        return data
    if data.startswith(_START) and not _jpeg_ends(data):
        return "cannot be decoded: the JPEG is cut short"
    if data.startswith(_START) and (fault := _jpeg_fault(data)):
        return f"cannot be decoded: {fault}"
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # its own limits on size
        return f"cannot be decoded: {error.err}"
    return "cannot be decoded" if picture is None else np.asarray(picture, np.uint8)


def _read(file: Path) -> bytes | str:
    """What is in the file, at least a byte; or why there is nothing."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            return "is no regular file"
        if status.st_size > _LARGEST_FILE:
            return f"is larger than {_LARGEST_FILE >> 20} MiB"
        return file.read_bytes() or "is empty"
    except FileNotFoundError:
        return "is no longer there"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _jpeg_fault(jpeg: bytes) -> str | None:
    """What is wrong within; OpenCV passes a JPEG whose middle is damaged with a warning."""
    from framebuf.capture.libav import jpeg_fault  # noqa: PLC0415 - a folder of PNGs needs no av

    return jpeg_fault(jpeg)


def _jpeg_ends(jpeg: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan (ITU-T T.81, B.1.1 and B.2.1).

    OpenCV 4 decodes half a baseline JPEG to a picture that is half grey; OpenCV 5 refuses it.
    Segments before the scan are passed over: a thumbnail among them has an end of its own.
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] == _SCAN:
            return jpeg.find(_END, at) >= 0
        if jpeg[at + 1] == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return False
