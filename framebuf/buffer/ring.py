"""FrameRing: the last frames, in fixed slots of a memory-mapped file, leased to readers."""

from __future__ import annotations

import contextlib
import mmap
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.buffer import layout
from framebuf.buffer.lease import Lease
from framebuf.buffer.slots import Slots
from framebuf.frames import Frame
from framebuf.units import Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.buffer.directory import RingDirectory
    from framebuf.frames import Origin


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

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def commit(self, error: str | None = None) -> None:
        """See FrameRing."""
        self.ring.commit(self, error)

    def discard(self) -> None:
        """See FrameRing."""
        self.ring.discard(self)


class FrameRing:
    """Fixed slots; one thread writes, any thread leases.

    `_lock` guards `_use`, which says which slot is taken next; pixels are written outside it, to a
    slot that nobody else can reach. Slots may be without memory, for a while, where another ring
    has it.
    """

    def __init__(
        self, name: str, shape: layout.Shape, memory: mmap.mmap, file_name: str, use: Slots
    ) -> None:
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
        self._use = use

    @classmethod
    def create(
        cls,
        directory: RingDirectory,
        name: str,
        shape: layout.Shape,
        *,
        file_name: str,
        boot: str,
        slots: int | None = None,
    ) -> FrameRing:
        """A new ring in `directory`, its memory allocated and touched.

        `slots`: how many of them get memory now; None: all. A process that dies meanwhile leaves
        a file without its magic, which is no ring.

        Raises:
            RingError: the tmpfs has no room for it.
        """
        present = shape.slots if slots is None else slots
        memory = directory.map_new(
            file_name, shape.file_bytes, shape.slot_at(present), f"camera {name}"
        )
        header = np.ndarray(1, layout.HEADER, memory)
        header[0] = (
            b"",
            layout.VERSION,
            shape.slots,
            shape.stride,
            shape.stamps,
            layout.PAGE,
            boot.encode("ascii"),
            name.encode("ascii"),
        )
        header["magic"] = layout.MAGIC
        use = Slots(shape.slots, absent=range(present, shape.slots))
        return cls(name, shape, memory, file_name, use)

    @property
    def bytes(self) -> int:
        """The memory that it has."""
        return self.shape.file_bytes - self._use.absent * self.shape.stride

    @property
    def unused(self) -> int:
        """Slots with memory and no frame."""
        return self._use.unused

    @property
    def absent(self) -> int:
        """Slots without memory."""
        return self._use.absent

    def fits(self, height: int, width: int) -> bool:
        return height * width * 3 <= self.shape.stride

    def gain(self, directory: RingDirectory) -> None:
        """Give one more slot its memory. Only the camera's thread.

        Raises:
            RingError: the tmpfs has no room for it.
        """
        number = self._use.next_absent()
        if number is not None:
            directory.allocate(self.file_name, self.shape.slot_at(number), self.shape.stride)
            with self._lock:
                self._use.gain()

    def shed(self, *, weak: bool) -> int | None:
        """Give the memory of one slot back; the seq that is gone with it, −1 where it held none.

        The oldest that nobody leases; with `weak` also one whose leases are all weak. None: all are
        leased. Only the camera's thread.
        """
        with self._lock:
            left = self._use.shed(weak=weak)
        if left is None:
            return None
        self._generation[left.number] = 0
        # A tmpfs frees the pages; where it cannot, they are freed with the file
        with contextlib.suppress(OSError):
            self._memory.madvise(
                mmap.MADV_REMOVE, self.shape.slot_at(left.number), self.shape.stride
            )
        return left.seq

    def begin(
        self, seq: int, captured: Moment, height: int, width: int, origin: Origin
    ) -> Slot | None:
        """Take a slot for a new frame. None: every slot is leased, or too small for it.

        Only the camera's thread.
        """
        if not self.fits(height, width):
            return None
        with self._lock:
            number = self._use.take()
        if number is None:
            return None
        self._generation[number] = 0
        return Slot(self, number, seq, captured, origin, self._pixels(number, height, width))

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
            self._use.fill(slot.number, slot.seq, slot.origin)

    def discard(self, slot: Slot) -> None:
        """Give back a slot that was begun. Only the camera's thread."""
        with self._lock:
            self._use.give_back(slot.number)

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
        return self._use.holds(seq)

    def lease(self, seq: int) -> Lease | None:
        """Keep frame `seq` from being overwritten. None: it is gone."""
        with self._lock:
            found = self._use.lease(seq)
        return Lease(self, self._frame(seq, *found)) if found else None

    def hold(self, lease: Lease, strong: int, weak: int) -> None:
        """What `lease`, one of this ring's, holds from now on."""
        with self._lock:
            if added := lease.turn(strong, weak):
                self._use.change(lease.seq, *added)

    def sizes(self) -> set[tuple[int, int]]:
        """Width, height of the frames that are held."""
        rows = self._slots[self._generation != 0]
        return set(zip(rows["width"].tolist(), rows["height"].tolist(), strict=True))

    def leased(self) -> int:
        """Frames with a lease, weak ones included."""
        with self._lock:
            return self._use.leased()

    @property
    def evicted(self) -> int:
        """Frames that gave way to newer ones, or lost their memory."""
        return self._use.evicted

    def leases(self) -> dict[int, bool]:
        """The frames held, and of each whether somebody leases it, weakly too."""
        with self._lock:
            return self._use.leases()

    def _frame(self, seq: int, number: int, origin: Origin) -> Frame:
        row = self._slots[number]
        pixels = self._pixels(number, int(row["height"]), int(row["width"]))
        error = row["error"].decode("utf-8", "replace") if row["failed"] else None
        return Frame(seq, Moment(int(row["mono_ns"]), int(row["utc_ns"])), pixels, origin, error)

    def _pixels(self, number: int, height: int, width: int) -> NDArray[np.uint8]:
        return np.ndarray(
            (height, width, 3), np.uint8, self._memory, offset=self.shape.slot_at(number)
        )

    def __len__(self) -> int:
        return len(self._use)

    def __repr__(self) -> str:
        return f"<FrameRing {self.name} {len(self)}/{self.shape.slots}, {self.leased()} leased>"
