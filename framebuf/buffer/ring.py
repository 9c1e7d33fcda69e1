"""FrameRing: the last frames, in fixed slots of a memory-mapped file, leased to readers."""

from __future__ import annotations

import heapq
import mmap
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.buffer import layout
from framebuf.errors import FrameLostError, RingError
from framebuf.frames import LIVE, Frame, Origin
from framebuf.units import Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.buffer.directory import RingDirectory


@dataclass(slots=True, eq=False)
class Slot:
    """One slot while the camera writes it."""

    ring: FrameRing
    number: int
    seq: int
    captured: Moment
    origin: Origin
    pixels: NDArray[np.uint8]
    """(height, width, 3) uint8, BGR; to be written in place."""


@dataclass(slots=True)
class _Use:
    """Who needs the frame in a slot. Guarded by the ring's lock."""

    seq: int = -1  # −1: holds nothing, or is being written
    strong: int = 0
    weak: int = 0
    origin: Origin = LIVE
    in_idle: bool = False  # its seq stands in that heap, once
    in_weak: bool = False


class FrameRing:
    """Fixed slots; one thread writes, any thread leases.

    A slot is taken for a new frame in this order: never used, then the oldest frame that nobody
    leases, then the oldest whose leases are all weak. `_lock` guards `_uses`, `_slot_of` and the
    heaps; pixels are written outside it, to a slot that nobody else can reach.
    """

    def __init__(self, name: str, shape: layout.Shape, memory: mmap.mmap, file_name: str) -> None:
        self.name = name
        self.shape = shape
        self.file_name = file_name
        self._memory = memory
        self._slots: NDArray[Any] = np.ndarray(
            shape.slots, layout.SLOT, memory, offset=shape.slots_at
        )
        self._generation = self._slots["generation"]
        self._stamps: NDArray[Any] = np.ndarray(
            shape.stamps, layout.STAMP, memory, offset=shape.stamps_at
        )
        self._lock = threading.Lock()
        self._uses = [_Use() for _ in range(shape.slots)]
        self._slot_of: dict[int, int] = {}
        self._unused = list(range(shape.slots - 1, -1, -1))
        # heaps of seqs that nobody leases, and that have weak leases only; what was leased since
        # it was pushed is passed over when it is popped
        self._idle: list[int] = []
        self._weak: list[int] = []

    @classmethod
    def create(
        cls, directory: RingDirectory, name: str, shape: layout.Shape, *, file_name: str, boot: str
    ) -> FrameRing:
        """A new ring in `directory`, its memory allocated and touched.

        Raises:
            RingError: the tmpfs has no room for it.
        """
        descriptor = directory.create(file_name)
        try:
            os.posix_fallocate(descriptor, 0, shape.file_bytes)
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            memory = mmap.mmap(descriptor, shape.file_bytes, flags)
        except OSError as error:
            directory.remove(file_name)
            raise RingError(
                f"{directory.path}: {error.strerror}; camera {name} needs "
                f"{shape.file_bytes / 2**20:.0f} MiB there: lower its memory or buffer, "
                "or make that tmpfs larger"
            ) from error
        finally:
            os.close(descriptor)
        header = np.ndarray(1, layout.HEADER, memory)
        header[0] = (
            layout.MAGIC,
            layout.VERSION,
            shape.slots,
            shape.stride,
            shape.stamps,
            layout.PAGE,
            boot.encode("ascii"),
            name.encode("ascii"),
        )
        return cls(name, shape, memory, file_name)

    def fits(self, height: int, width: int) -> bool:
        return height * width * 3 <= self.shape.stride

    def begin(
        self, seq: int, captured: Moment, height: int, width: int, origin: Origin
    ) -> Slot | None:
        """Take a slot for a new frame. None: every slot is leased. Only the camera's thread."""
        with self._lock:
            number = self._take()
            if number is None:
                return None
        self._generation[number] = 0
        start = self.shape.pixels_at + number * self.shape.stride
        pixels: NDArray[np.uint8] = np.ndarray(
            (height, width, 3), np.uint8, self._memory, offset=start
        )
        return Slot(self, number, seq, captured, origin, pixels)

    def commit(self, slot: Slot, error: str | None = None) -> None:
        """Show the slot's frame to readers. Only the camera's thread."""
        row = self._slots[slot.number]
        row["mono_ns"] = slot.captured.mono_ns
        row["utc_ns"] = slot.captured.utc_ns
        row["height"], row["width"] = slot.pixels.shape[:2]
        row["position"] = -1 if slot.origin.position is None else slot.origin.position
        row["file"] = layout.clipped(slot.origin.file, layout.FILE_BYTES)
        row["failed"] = error is not None
        row["error"] = layout.clipped(error, layout.ERROR_BYTES)
        self._generation[slot.number] = slot.seq + 1
        with self._lock:
            use = self._uses[slot.number] = _Use(slot.seq, origin=slot.origin)
            self._slot_of[slot.seq] = slot.number
            self._queue(use)

    def discard(self, slot: Slot) -> None:
        """Give back a slot that was begun. Only the camera's thread."""
        with self._lock:
            self._unused.append(slot.number)

    def stamp(self, seq: int, captured: Moment, flags: int) -> None:
        """Note that frame `seq` was captured, whether it found a slot or not."""
        row = self._stamps[seq % self.shape.stamps]
        row["mark"] = 0
        row["seq"] = seq
        row["mono_ns"] = captured.mono_ns
        row["utc_ns"] = captured.utc_ns
        row["flags"] = flags
        row["mark"] = seq + 1

    def holds(self, seq: int) -> bool:
        return seq in self._slot_of

    def oldest(self) -> int | None:
        """The lowest seq held; None while empty."""
        with self._lock:
            return min(self._slot_of, default=None)

    def lease(self, seq: int) -> Lease | None:
        """Keep frame `seq` from being overwritten. None: it is gone."""
        with self._lock:
            number = self._slot_of.get(seq)
            if number is None:
                return None
            use = self._uses[number]
            use.strong += 1
        return Lease(self, self._frame(number, seq, use.origin))

    def _frame(self, number: int, seq: int, origin: Origin) -> Frame:
        row = self._slots[number]
        start = self.shape.pixels_at + number * self.shape.stride
        pixels: NDArray[np.uint8] = np.ndarray(
            (int(row["height"]), int(row["width"]), 3), np.uint8, self._memory, offset=start
        )
        error = row["error"].decode("utf-8", "replace") if row["failed"] else None
        return Frame(seq, Moment(int(row["mono_ns"]), int(row["utc_ns"])), pixels, origin, error)

    def _take(self) -> int | None:
        """The slot for the next frame, emptied. Under the lock."""
        if self._unused:
            return self._unused.pop()
        while self._idle:
            use = self._uses[self._slot_of[heapq.heappop(self._idle)]]
            use.in_idle = False
            if not use.strong and not use.weak:
                return self._emptied(use)
        while self._weak:
            seq = heapq.heappop(self._weak)
            if (number := self._slot_of.get(seq)) is None:
                continue  # released since, and taken from the other heap
            use = self._uses[number]
            use.in_weak = False
            if not use.strong:
                return self._emptied(use)
        return None

    def _emptied(self, use: _Use) -> int:
        number = self._slot_of.pop(use.seq)
        self._uses[number] = _Use()
        return number

    def _queue(self, use: _Use) -> None:
        """Offer the frame to the writer, in the heap that its leases say. Under the lock."""
        if use.strong:
            return
        if use.weak and not use.in_weak:
            use.in_weak = True
            heapq.heappush(self._weak, use.seq)
            if len(self._weak) > 2 * self.shape.slots:
                # most were answered, and left through the other heap
                self._weak = [seq for seq in self._weak if seq in self._slot_of]
                heapq.heapify(self._weak)
        elif not use.weak and not use.in_idle:
            use.in_idle = True
            heapq.heappush(self._idle, use.seq)

    def _hold(self, lease: Lease, strong: int, weak: int) -> None:
        """What `lease` holds from now on; nothing where its slot was taken."""
        with self._lock:
            was_strong, was_weak = lease._held  # noqa: SLF001 - guarded by this lock
            if weak and not was_strong:
                return  # released meanwhile, by another thread
            lease._held = (strong, weak)  # noqa: SLF001
            number = self._slot_of.get(lease.seq)
            if number is None:
                return
            use = self._uses[number]
            use.strong += strong - was_strong
            use.weak += weak - was_weak
            self._queue(use)

    def leased(self) -> int:
        """Frames with a lease, weak ones included."""
        with self._lock:
            return sum(1 for use in self._uses if use.strong or use.weak)

    def __len__(self) -> int:
        return len(self._slot_of)

    def __repr__(self) -> str:
        return f"<FrameRing {self.name} {len(self)}/{self.shape.slots}, {self.leased()} leased>"


class Lease:
    """One reader's hold on one frame: strong, then weak, then released. Any thread."""

    __slots__ = ("_frame", "_held", "_ring")

    def __init__(self, ring: FrameRing, frame: Frame) -> None:
        self._ring = ring
        self._frame = frame
        self._held = (1, 0)  # strong, weak

    @property
    def frame(self) -> Frame:
        """The frame; its pixels are safe to read while the lease is strong.

        Raises:
            FrameLostError: the lease is weak, and the slot was needed for a newer frame.
        """
        if not self._held[0] and not self._ring.holds(self._frame.seq):
            raise FrameLostError(f"frame {self._frame.seq} of {self._ring.name} was overwritten")
        return self._frame

    @property
    def seq(self) -> int:
        return self._frame.seq

    def weaken(self) -> None:
        """The frame is in a tensor: keep the slot for a second try, if none other is free."""
        self._ring._hold(self, 0, 1)  # noqa: SLF001 - a lease is its ring's hand

    def release(self) -> None:
        """The frame is answered. Safe to call twice."""
        self._ring._hold(self, 0, 0)  # noqa: SLF001 - see weaken
