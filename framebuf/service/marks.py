"""Marks: what each request is at this very moment, for whoever comes after a crash."""

from __future__ import annotations

import mmap
import os
import struct
import threading
from typing import TYPE_CHECKING

from framebuf.errors import RingError

if TYPE_CHECKING:
    from framebuf.buffer.directory import RingDirectory

NAME = "at-work"
MAGIC = b"fbwork01"
PLACES = 1024
"""More than requests may be unfinished."""
_HEAD = struct.Struct("<8s36sI")  # magic, boot id, 1 while an end of the process is a crash
_PLACE = struct.Struct("<qIIII")  # number, strikes so far, 1 while in a tensor, results sent, 0
_WORD = struct.Struct("<I")
_BUSY_AT, _SENT_AT = 12, 16
_SIZE = _HEAD.size + PLACES * _PLACE.size


class Marks:
    """A small file in the folder of the rings, mapped: it outlives the process, not a reboot.

    Writing costs a store, and no system call. `open`, `forget` and `disarm`
    are the main thread's; the rest as it says.
    """

    def __init__(self, memory: mmap.mmap, struck: dict[int, int], sent: dict[int, int]) -> None:
        self.sent = sent
        """By the numbers of requests: so many of the first frames may have a result out there."""
        self.struck = struck
        """By the numbers of requests that had a frame in a tensor when the process died: how many
        times that is by now."""
        self._memory = memory
        self._free = list(range(PLACES - 1, -1, -1))

    @classmethod
    def open(cls, directory: RingDirectory, boot_id: str) -> Marks:
        """Read what the process before has left, and begin anew.

        What was read stands in the file until `forget`.

        Raises:
            RingError: the file cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(directory.path / NAME, flags, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _SIZE)
                memory = mmap.mmap(descriptor, _SIZE)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RingError(f"{directory.path / NAME}: {error.strerror}") from error
        return cls(memory, *_read(memory, boot_id))

    def forget(self, boot_id: str) -> None:
        """What was read is in the journal: from now on the file is of this process."""
        self._memory[:] = bytes(_SIZE)
        _HEAD.pack_into(self._memory, 0, MAGIC, boot_id.encode("ascii"), 1)

    def watch(self, number: int, strikes: int, sent: int = 0) -> Mark:
        """A mark for a request, until it is released. Only the requests' thread."""
        if not self._free:
            return Mark()
        place = self._free.pop()
        _PLACE.pack_into(self._memory, _at(place), number, strikes, 0, sent, 0)
        return Mark(self, place)

    def set_busy(self, place: int, busy: int) -> None:
        """As its Mark does. Any thread."""
        _WORD.pack_into(self._memory, _at(place) + _BUSY_AT, busy)

    def set_sent(self, place: int, count: int) -> None:
        """As its Mark does. Only the requests' thread."""
        _WORD.pack_into(self._memory, _at(place) + _SENT_AT, count)

    def free(self, place: int) -> None:
        """As its Mark does. Only the requests' thread."""
        self.set_busy(place, 0)
        self._free.append(place)

    def disarm(self) -> None:
        """The process is asked to stop: however it ends, that is no crash."""
        _WORD.pack_into(self._memory, _HEAD.size - _WORD.size, 0)

    def __repr__(self) -> str:
        return f"<Marks {PLACES - len(self._free)} watched, {len(self.struck)} struck>"


class Mark:
    """Of one request; any thread. One that is made by hand marks nothing."""

    __slots__ = ("_count", "_lock", "_marks", "_place")

    def __init__(self, marks: Marks | None = None, place: int = 0) -> None:
        self._marks = marks
        self._place = place
        self._count = 0
        self._lock = threading.Lock()  # guards _count and _marks

    def begin(self) -> None:
        """A frame of the request is about to be put into a tensor."""
        with self._lock:
            self._count += 1
            if self._count == 1 and self._marks is not None:
                self._marks.set_busy(self._place, 1)

    def end(self) -> None:
        """That frame is answered."""
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._marks is not None:
                self._marks.set_busy(self._place, 0)

    def send(self, count: int) -> None:
        """So many of its first frames have a result out there. Only the requests' thread."""
        if self._marks is not None:
            self._marks.set_sent(self._place, count)

    def release(self) -> None:
        """The request has ended; a frame of it may still be in a tensor."""
        with self._lock:
            marks, self._marks = self._marks, None
        if marks is not None:
            marks.free(self._place)


def _read(memory: mmap.mmap, boot_id: str) -> tuple[dict[int, int], dict[int, int]]:
    """What `Marks.struck` and `Marks.sent` say."""
    magic, boot, armed = _HEAD.unpack_from(memory, 0)
    if magic != MAGIC or boot.rstrip(b"\0") != boot_id.encode("ascii"):
        return {}, {}
    struck, sent_of = {}, {}
    for place in range(PLACES):
        number, strikes, busy, sent, _ = _PLACE.unpack_from(memory, _at(place))
        sent_of[number] = sent
        if busy and armed:
            struck[number] = strikes + 1
    return struck, sent_of


def _at(place: int) -> int:
    return _HEAD.size + place * _PLACE.size
