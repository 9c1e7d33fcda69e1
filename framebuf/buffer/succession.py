"""Succession: which ring is written next, and how the history goes over to it."""

from __future__ import annotations

import logging
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from framebuf.buffer import recovery
from framebuf.buffer.extent import ASSUMED_RATE
from framebuf.buffer.layout import STAMP_AFTER_GAP, STAMP_DROPPED
from framebuf.buffer.ring import FrameRing
from framebuf.errors import RingError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.extent import Extent
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.layout import Shape
    from framebuf.buffer.quota import Format, Quota
    from framebuf.buffer.rings import Rings
    from framebuf.buffer.store import Ring

_log = logging.getLogger(__name__)


class Succession:
    """One ring after another, each of the shape that the frames and the configuration ask for.

    A new ring that has not its whole size within `memory` beside the old ones begins with what is
    left of it, and gains slot by slot, each out of the memory of an old ring's oldest frame that
    nobody leases; so the history goes over from one to the other. Where leases leave not one slot,
    frames are dropped until they end. Once the new ring is full, what is in old ones is beyond the
    history: it goes, but for leased frames.

    Only the camera's thread; before that has started, whoever recovers.
    """

    def __init__(
        self, name: str, directory: RingDirectory, rings: Rings, quota: Quota, boot_id: str
    ) -> None:
        self.extent: Extent | None = None
        self._name = name
        self._directory = directory
        self._rings = rings
        self._quota = quota
        self._boot_id = boot_id
        self._made = 0
        self._is_judged = True  # the newest ring is of the shape that is asked for
        self._is_full = False  # it was told that the tmpfs is

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
        for _, _, one in found:
            self._rings.add(one.ring)
        self._is_judged = False
        stamps = _merged([one.stamps for _, _, one in found])
        newest = self._rings.newest
        if stamps and newest is not None:
            if not stamps[-1].dropped and not self._rings.holds(stamps[-1].seq):
                self._rings.lose(stamps[-1].seq)  # the crash came before its pixels were whole
            self.extent = self._quota.extent(rate_of(stamps), newest.shape.stride)
        # the configuration may allow less than it did
        self._rings.give_room(0, self._rings.all(), within=self._within(stamps), weak=True)
        return stamps

    def ring_for(self, frames: Format, known: Callable[[int], Sequence[Stamp]]) -> FrameRing:
        """The ring for the next frame; a new one for a frame larger than any before.

        Where leases leave no room for that, the one there is, in which the frame finds no slot.
        `known` gives the stamps newer than a seq, for a new ring to go on with.

        Raises:
            ConfigError: `memory` does not hold two such frames.
            RingError: the tmpfs has no room.
        """
        newest = self._rings.newest
        if newest is None or not newest.fits(frames.height, frames.width):
            return self._renewed(newest, frames, known(-1))
        if not self._is_judged:
            size = self._quota.going_on(newest.shape, frames)
            if size is None:
                return self._renewed(newest, frames, known(-1))
            self._is_judged = True
            self._settle(size, frames)
        if not newest.unused and (newest.absent or self._rings.old()):
            self._go_over(newest, known(-1))
        return newest

    def _renewed(
        self, newest: FrameRing | None, frames: Format, stamps: Sequence[Stamp]
    ) -> FrameRing:
        """A new ring, or `newest` where all memory is leased."""
        size, shape = self._quota.ring(frames)
        for ring in self._rings.all():
            if not len(ring):
                self._rings.remove(ring)
        within, rings = self._within(stamps), self._rings.all()
        if not self._rings.give_room(shape.slot_at(1), rings, within=within, weak=True) and newest:
            return newest
        ring = self._create(shape, within)
        for stamp in stamps[-shape.stamps :]:
            mark(ring, stamp)
        self._rings.add(ring)
        self._rings.forget_before(stamps[0].seq if stamps else 0)
        self._is_judged = True
        self._settle(size, frames)
        return ring

    def _create(self, shape: Shape, within: int) -> FrameRing:
        """A file with as many slots as `memory` has room for beside the others."""
        while True:
            room = self._rings.room() - shape.pixels_at
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
                if not self._rings.shed(self._rings.all(), within=within, weak=True):
                    raise
                while self._rings.shed(self._rings.all(), within=within, weak=True):
                    pass
            else:
                self._made += 1
                return ring

    def _go_over(self, newest: FrameRing, stamps: Sequence[Stamp]) -> None:
        """Let the newest ring have one more slot, out of the old ones if need be."""
        old, within = self._rings.old(), self._within(stamps)
        if not newest.absent:
            while self._rings.shed(old, within=within, weak=False):
                pass
        elif self._rings.give_room(newest.shape.stride, old, within=within, weak=False):
            try:
                newest.gain(self._directory)
            except RingError as error:
                # Others filled the tmpfs: go on with the slots there are, and try again
                if not self._rings.shed(old, within=within, weak=False) and not self._is_full:
                    self._is_full = True
                    _log.warning(
                        "camera %s: the history stays short: %s", self._name, error,
                        extra={"CAMERA": self._name},
                    )  # fmt: skip

    def _settle(self, size: Extent, frames: Format) -> None:
        self.extent = size
        if size.shortened:
            _log.warning(
                "camera %s: memory of %s holds %d frames of %d×%d, not %s; raise memory",
                self._name, self._quota.memory, size.history, frames.width, frames.height,
                self._quota.span, extra={"CAMERA": self._name},
            )  # fmt: skip

    def _within(self, stamps: Sequence[Stamp]) -> int:
        """The seq that the history begins with."""
        history = self.extent.history if self.extent else 0
        return stamps[-1].seq + 1 - history if stamps else 0

    def __repr__(self) -> str:
        return f"<Succession {self._name} {self._made} made, {self._rings}>"


def mark(ring: Ring, stamp: Stamp) -> None:
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


def rate_of(stamps: Sequence[Stamp]) -> float:
    """Frames a second, of those that came last."""
    steps = [b.mono_ns - a.mono_ns for a, b in pairwise(stamps[-32:])]
    return SECOND_NS / max(1, statistics.median(steps)) if steps else ASSUMED_RATE
