"""Rings: one camera's rings in one memory: the newest is written, the others give way to it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.lease import Lease
    from framebuf.buffer.ring import FrameRing
    from framebuf.contract import Reason
    from framebuf.units import Size


class Rings:
    """All of them together never have more than `memory`.

    Only the camera's thread adds, sheds and removes; any thread does the rest. `_lock` guards the
    list.
    """

    def __init__(self, directory: RingDirectory, memory: Size) -> None:
        self.memory = memory
        self._directory = directory
        self._lock = threading.Lock()
        self._rings: list[FrameRing] = []  # the newest last
        self._evicted = 0  # of rings that are gone
        self._lost: set[int] = set()  # seqs that went before they were beyond the history

    @property
    def newest(self) -> FrameRing | None:
        rings = self.all()
        return rings[-1] if rings else None

    def all(self) -> tuple[FrameRing, ...]:
        """The newest last."""
        with self._lock:
            return tuple(self._rings)

    def old(self) -> tuple[FrameRing, ...]:
        """All but the newest."""
        return self.all()[:-1]

    def add(self, ring: FrameRing) -> None:
        """From now on this is the newest."""
        with self._lock:
            self._rings.append(ring)

    def lease(self, seq: int) -> Lease | None:
        """Hold frame `seq`. None: it is gone."""
        for ring in reversed(self.all()):
            if lease := ring.lease(seq):
                return lease
        return None

    def holds(self, seq: int) -> bool:
        return any(ring.holds(seq) for ring in self.all())

    def why_gone(self, stamp: Stamp) -> Reason:
        """Why the pixels of a frame that cannot be leased are not there."""
        if stamp.dropped:
            return "memory"
        return "frames_lost" if stamp.seq in self._lost else "evicted"

    def lose(self, seq: int) -> None:
        """The frame went though it is not beyond the history."""
        self._lost.add(seq)

    def forget_before(self, seq: int) -> None:
        """Nobody asks any more why older frames are gone."""
        self._lost = {lost for lost in self._lost if lost >= seq}

    def largest(self) -> tuple[int, int] | None:
        """Width, height of the largest frame held."""
        sizes = [size for ring in self.all() for size in ring.sizes()]
        return max(sizes, key=lambda size: size[0] * size[1], default=None)

    def leased(self) -> int:
        return sum(ring.leased() for ring in self.all())

    def leases(self) -> dict[int, bool]:
        """The frames held, and of each whether somebody leases it, weakly too."""
        held: dict[int, bool] = {}
        for ring in self.all():
            held |= ring.leases()
        return held

    def evicted(self) -> int:
        """Frames that gave way to newer ones, or went with their memory."""
        with self._lock:
            return self._evicted + sum(ring.evicted for ring in self._rings)

    def bytes(self) -> int:
        """The memory that they have."""
        return sum(ring.bytes for ring in self.all())

    def room(self) -> int:
        """How much of `memory` is left; less than nothing where it was more before."""
        return self.memory.bytes - self.bytes()

    def give_room(
        self, wanted: int, rings: Iterable[FrameRing], *, within: int, weak: bool
    ) -> bool:
        """Shed frames of `rings` until so many bytes are left. False: the others are leased."""
        while self.room() < wanted:
            if not self.shed(rings, within=within, weak=weak):
                return False
        return True

    def shed(self, rings: Iterable[FrameRing], *, within: int, weak: bool) -> bool:
        """Free one slot's memory, that of the oldest frame in the first of `rings` that can.

        A frame from seq `within` on is lost; one before is beyond the history. A ring without
        frames goes. False: all are leased.
        """
        for ring in rings:
            seq = ring.shed(weak=weak)
            if not len(ring):
                self.remove(ring)
            if seq is not None:
                if seq >= max(within, 0):
                    self.lose(seq)
                return True
        return False

    def remove(self, ring: FrameRing) -> None:
        """Its file goes; whoever has it mapped keeps its memory. Nothing where it went before."""
        with self._lock:
            if ring not in self._rings:
                return
            self._rings.remove(ring)
            self._evicted += ring.evicted + len(ring)
        self._directory.remove(ring.file_name)

    def __len__(self) -> int:
        """Frames held."""
        return sum(len(ring) for ring in self.all())

    def __repr__(self) -> str:
        return f"<Rings {list(self.all())}>"
