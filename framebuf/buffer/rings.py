"""Rings: one camera's ring files, the one that is written and those of before, in one memory."""

from __future__ import annotations

import logging
import statistics
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

from framebuf.buffer import recovery
from framebuf.buffer.extent import ASSUMED_RATE, Extent, extent, smallest
from framebuf.buffer.layout import STAMP_AFTER_GAP, STAMP_DROPPED
from framebuf.buffer.ring import FrameRing
from framebuf.errors import ConfigError, RingError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.layout import Shape
    from framebuf.buffer.lease import Lease
    from framebuf.contract import Reason
    from framebuf.units import Size, Span

_log = logging.getLogger(__name__)


class Rings:
    """The newest ring is written; older ones, of another shape, keep their frames meanwhile.

    All of them together never have more than `memory`. A new ring whose size `memory` does not
    allow beside the old ones begins with what is free, and grows slot by slot, each out of the
    memory of an old ring's oldest frame that nobody leases; so the history goes over from one to
    the other. Where leases leave not one slot, frames are dropped until they end. Once the new
    ring is full, what is in old ones is beyond the history: they go, but for leased frames.

    Only the camera's thread calls `recover` and `to_write`; any thread the rest. `_lock` guards
    the list.
    """

    def __init__(
        self, name: str, directory: RingDirectory, span: Span, memory: Size, boot_id: str
    ) -> None:
        self.extent: Extent | None = None
        self._name = name
        self._directory = directory
        self._span = span
        self._memory = memory
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._rings: list[FrameRing] = []  # the newest last
        self._made = 0
        self._is_judged = True  # the newest ring is of the shape that the configuration asks for
        self._is_full = False  # it was told that the tmpfs is
        self._lost: set[int] = set()  # seqs that went before they were beyond the history

    def recover(self, now_ns: int) -> list[Stamp]:
        """Take over what is left of this boot; the stamps known, in order.

        A file that cannot be used is removed, with a warning.
        """
        found: list[tuple[int, int, recovery.Recovered]] = []
        for name in self._directory.names():
            number = recovery.number_of(name, self._name)
            if number is None:
                continue
            self._made = max(self._made, number + 1)
            try:
                one = recovery.recover(self._directory, name, self._name, self._boot_id, now_ns)
            except RingError as error:
                recovery.remove_broken(self._directory, name, error)
            else:
                found.append((one.stamps[-1].seq if one.stamps else -1, number, one))
        found.sort(key=lambda entry: entry[:2])
        stamps = _merged([one.stamps for _, _, one in found])
        with self._lock:
            self._rings = [one.ring for _, _, one in found]
        self._is_judged = False
        if stamps and not stamps[-1].dropped and not self._holds(stamps[-1].seq):
            self._lost.add(stamps[-1].seq)  # the crash came before its pixels were whole
        if stamps:
            slot_bytes = self._rings[-1].shape.stride
            self.extent = extent(self._span, self._memory, _rate(stamps), slot_bytes)
        # the configuration may allow less than it did
        self._give_room(0, self._rings, stamps[-1].seq + 1 if stamps else 0, weak=True)
        return stamps

    def to_write(
        self,
        height: int,
        width: int,
        *,
        rate: float | None,
        largest: int,
        known: Callable[[int], Sequence[Stamp]],
    ) -> FrameRing:
        """The ring for the next frame; a new one for a frame larger than any before.

        Where leases leave no room for that, the one there is, in which the frame finds no slot.
        `rate`: of the source, if it tells. `largest`: bytes of its largest frame, if known ahead.
        `known`: the stamps newer than a seq, for a new ring to go on with.

        Raises:
            ConfigError: `memory` does not hold two such frames.
            RingError: the tmpfs has no room.
        """
        newest = self._rings[-1] if self._rings else None
        rate = rate or ASSUMED_RATE
        if (
            newest is not None
            and newest.fits(height, width)
            and (self._is_judged or self._suits(newest, height, width, rate, largest))
        ):
            self._is_judged = True
            self._go_over(newest, known)
            return newest
        return self._renewed(height, width, rate, largest, known) or self._rings[-1]

    def lease(self, seq: int) -> Lease | None:
        """Hold frame `seq`. None: it is gone."""
        for ring in reversed(self._all()):
            if lease := ring.lease(seq):
                return lease
        return None

    def why_gone(self, stamp: Stamp) -> Reason:
        """Why the pixels of a frame that cannot be leased are not there."""
        if stamp.dropped:
            return "memory"
        return "frames_lost" if stamp.seq in self._lost else "evicted"

    def largest(self) -> tuple[int, int] | None:
        """Width, height of the largest frame held."""
        sizes = [size for ring in self._all() for size in ring.sizes()]
        return max(sizes, key=lambda size: size[0] * size[1], default=None)

    def leased(self) -> int:
        return sum(ring.leased() for ring in self._all())

    def bytes(self) -> int:
        """Memory of all rings."""
        return sum(ring.bytes for ring in self._all())

    def _all(self) -> tuple[FrameRing, ...]:
        with self._lock:
            return tuple(self._rings)

    def _holds(self, seq: int) -> bool:
        return any(ring.holds(seq) for ring in self._all())

    def _suits(self, ring: FrameRing, height: int, width: int, rate: float, largest: int) -> bool:
        """Whether a recovered ring is what would be made now."""
        slots, size = ring.shape.slots, self._extent(rate, ring.shape.stride)
        # A stream's rate is measured anew each time, and never quite the same
        if size is None or abs(size.slots - slots) > max(1, size.slots // 50):
            return False
        if ring.shape.file_bytes > self._memory.bytes:
            return False
        if size.shortened:  # by frames that were larger then?
            fresh = self._extent(rate, self._slot_bytes(height, width, rate, largest))
            if fresh is not None and fresh.history > size.history:
                return False
            self._tell_shortened(size, height, width)
        history = min(size.history, slots - 1)
        self.extent = Extent(history, slots - history, size.shortened)
        return True

    def _renewed(
        self,
        height: int,
        width: int,
        rate: float,
        largest: int,
        known: Callable[[int], Sequence[Stamp]],
    ) -> FrameRing | None:
        """A new ring, the last of the list. None: all memory is leased."""
        slot_bytes = self._slot_bytes(height, width, rate, largest)
        size = self._extent(rate, slot_bytes)
        if size is None:
            raise ConfigError(
                "memory",
                f"{self._memory} does not hold two frames of {width}×{height}",
                f"give it at least {-(-smallest(slot_bytes) // 2**20)} MiB",
            )
        shape, stamps = size.shape(slot_bytes), known(-1)
        next_seq = stamps[-1].seq + 1 if stamps else 0
        for ring in self._all():
            if not len(ring):
                self._remove(ring)
        if not self._give_room(shape.slot_at(1), self._rings, next_seq, weak=True):
            return None
        ring = self._create(shape, next_seq)
        for stamp in stamps[-shape.stamps :]:
            mark(ring, stamp)
        if size.shortened:
            self._tell_shortened(size, height, width)
        with self._lock:
            self._rings.append(ring)
        self.extent = size
        self._is_judged = True
        self._lost = {seq for seq in self._lost if stamps and seq >= stamps[0].seq}
        return ring

    def _create(self, shape: Shape, next_seq: int) -> FrameRing:
        """A file with as many slots as `memory` has room for beside the others."""
        while True:
            room = self._memory.bytes - self.bytes() - shape.pixels_at
            try:
                ring = FrameRing.create(
                    self._directory,
                    self._name,
                    shape,
                    file_name=f"{self._name}.{self._made}.ring",
                    boot=self._boot_id,
                    slots=min(shape.slots, room // shape.stride),
                )
            except RingError:
                # The tmpfs has less than `memory`: without the old frames it may do
                if not self._shed(self._rings, next_seq, weak=True):
                    raise
                while self._shed(self._rings, next_seq, weak=True):
                    pass
            else:
                self._made += 1
                return ring

    def _go_over(self, newest: FrameRing, known: Callable[[int], Sequence[Stamp]]) -> None:
        """Let the newest ring have a slot for the next frame, out of the old ones if need be."""
        old = self._rings[:-1]
        if newest.unused or not (old or newest.absent):
            return
        last = known(-1)[-1:]
        next_seq = last[0].seq + 1 if last else 0
        if not newest.absent:
            while self._shed(old, next_seq, weak=False):
                pass
        elif self._give_room(newest.shape.stride, old, next_seq, weak=False):
            try:
                newest.gain(self._directory)
            except RingError as error:
                # Others filled the tmpfs: go on with the slots there are, and try again
                if not self._shed(old, next_seq, weak=False) and not self._is_full:
                    self._is_full = True
                    _log.warning(
                        "camera %s: the history stays short: %s", self._name, error,
                        extra={"CAMERA": self._name},
                    )  # fmt: skip

    def _give_room(
        self, wanted: int, old: Sequence[FrameRing], next_seq: int, *, weak: bool
    ) -> bool:
        """Shed frames of `old` until so many bytes more are within `memory`. False: leased."""
        while self.bytes() + wanted > self._memory.bytes:
            if not self._shed(old, next_seq, weak=weak):
                return False
        return True

    def _shed(self, old: Sequence[FrameRing], next_seq: int, *, weak: bool) -> bool:
        """Free the memory of one slot of `old`, the oldest frame's. False: all are leased."""
        for ring in tuple(old):
            if ring not in self._rings:
                continue
            seq = ring.shed(weak=weak)
            if not len(ring):
                self._remove(ring)
            if seq is not None:
                if seq >= 0 and self.extent and next_seq - seq <= self.extent.history:
                    self._lost.add(seq)
                return True
        return False

    def _remove(self, ring: FrameRing) -> None:
        self._directory.remove(ring.file_name)
        with self._lock:
            self._rings.remove(ring)

    def _extent(self, rate: float, slot_bytes: int) -> Extent | None:
        return extent(self._span, self._memory, rate, slot_bytes)

    def _slot_bytes(self, height: int, width: int, rate: float, largest: int) -> int:
        """One ring for all sizes, unless that costs history: what was told ahead may be wrong."""
        frame_bytes = height * width * 3
        if largest > frame_bytes:
            roomy = self._extent(rate, largest)
            if roomy is not None and not roomy.shortened:
                return largest
        return frame_bytes

    def _tell_shortened(self, size: Extent, height: int, width: int) -> None:
        _log.warning(
            "camera %s: memory of %s holds %d frames of %d×%d, not %s; raise memory",
            self._name, self._memory, size.history, width, height, self._span,
            extra={"CAMERA": self._name},
        )  # fmt: skip

    def __len__(self) -> int:
        """Frames held."""
        return sum(len(ring) for ring in self._all())

    def __repr__(self) -> str:
        return f"<Rings {self._name} {list(self._all())}>"


def mark(ring: FrameRing, stamp: Stamp) -> None:
    """Write the stamp of a frame into the ring's file."""
    flags = STAMP_DROPPED * stamp.dropped | STAMP_AFTER_GAP * stamp.after_gap
    ring.stamp(stamp.seq, stamp.captured, flags)


def _merged(lists: Iterable[list[Stamp]]) -> list[Stamp]:
    """The stamps of several rings in one order, of their seqs and of time."""
    by_seq = {stamp.seq: stamp for stamps in lists for stamp in stamps}
    merged: list[Stamp] = []
    for seq in sorted(by_seq):
        if not merged or by_seq[seq].mono_ns >= merged[-1].mono_ns:
            merged.append(by_seq[seq])
    return merged


def _rate(stamps: Sequence[Stamp]) -> float:
    """Frames a second, of those that came last."""
    steps = [b.mono_ns - a.mono_ns for a, b in pairwise(stamps[-32:])]
    return SECOND_NS / max(1, statistics.median(steps)) if steps else ASSUMED_RATE
