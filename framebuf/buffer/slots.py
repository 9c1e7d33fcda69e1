"""Slots: which slot holds which frame, who leases it, and which one is taken next."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from framebuf.frames import LIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from framebuf.frames import Origin


@dataclass(slots=True)
class Use:
    """Who needs the frame in a slot."""

    seq: int = -1  # −1: holds nothing, or is being written
    strong: int = 0
    weak: int = 0
    origin: Origin = LIVE
    in_idle: bool = False  # its seq stands in that heap, once
    in_weak: bool = False


class Left(NamedTuple):
    """A slot whose frame is gone."""

    number: int
    seq: int
    """−1: there was none."""


class Slots:
    """The slots of one ring. Not locked: its ring's lock guards it.

    A slot is taken for a new frame in this order: never used, then the oldest frame that nobody
    leases, then the oldest whose leases are all weak. The newest sixteenth of the slots, one at
    least, is taken only after those: an open window may be about to lease what was just captured,
    while a weak lease is only for a second try after a crash.
    """

    def __init__(
        self,
        count: int,
        absent: Iterable[int] = (),
        held: Mapping[int, tuple[int, Origin]] | None = None,
    ) -> None:
        """`absent`: the slots without memory. `held`: seq and origin of the frame in a slot."""
        held = held or {}
        self._absent = sorted(absent, reverse=True)
        taken = {*self._absent, *held}
        self._uses = [Use() for _ in range(count)]
        self._slot_of: dict[int, int] = {}
        self._unused = [number for number in range(count - 1, -1, -1) if number not in taken]
        # heaps of seqs that nobody leases, and that have weak leases only; what was leased or
        # taken since it was pushed is passed over when it is popped
        self._idle: list[int] = []
        self._weak: list[int] = []
        self._newest = -1
        self.evicted = 0
        """Frames that were emptied for newer ones, or for want of memory."""
        self._fresh = max(1, count // 16)
        for number, (seq, origin) in held.items():
            self.fill(number, seq, origin)

    @property
    def absent(self) -> int:
        """How many have no memory."""
        return len(self._absent)

    @property
    def unused(self) -> int:
        """How many have memory and no frame."""
        return len(self._unused)

    def holds(self, seq: int) -> bool:
        return seq in self._slot_of

    def seqs(self) -> list[int]:
        return list(self._slot_of)

    def leases(self) -> dict[int, bool]:
        """The frames held, and of each whether somebody leases it, weakly too."""
        return {use.seq: bool(use.strong or use.weak) for use in self._uses if use.seq >= 0}

    def take(self) -> int | None:
        """The slot for the next frame, emptied. None: every frame is strongly leased."""
        if self._unused:
            return self._unused.pop()
        left = (
            self._leave_idle(self._newest - self._fresh)
            or self._leave_weak()
            or self._leave_idle(self._newest)
        )
        return left.number if left else None

    def shed(self, *, weak: bool) -> Left | None:
        """Empty a slot that is to lose its memory.

        Unused ones first, then the oldest that nobody leases; with `weak` also those whose leases
        are all weak.
        """
        left: Left | None
        if self._unused:
            left = Left(self._unused.pop(), -1)
        else:
            left = self._leave_idle(self._newest) or (self._leave_weak() if weak else None)
        if left:
            self._absent.append(left.number)
        return left

    def next_absent(self) -> int | None:
        """One without memory, which `gain` makes an unused one."""
        return self._absent[-1] if self._absent else None

    def gain(self) -> None:
        """What `next_absent` named has its memory."""
        self._unused.append(self._absent.pop())

    def give_back(self, number: int) -> None:
        """Nothing came of a slot that was taken."""
        self._unused.append(number)

    def fill(self, number: int, seq: int, origin: Origin) -> None:
        """The frame is in the slot that was taken for it."""
        self._uses[number] = use = Use(seq, origin=origin)
        self._slot_of[seq] = number
        self._newest = max(self._newest, seq)
        self._queue(use)

    def lease(self, seq: int) -> tuple[int, Origin] | None:
        """One more strong lease; the frame's slot and origin. None: it is gone."""
        number = self._slot_of.get(seq)
        if number is None:
            return None
        use = self._uses[number]
        use.strong += 1
        return number, use.origin

    def change(self, seq: int, strong: int, weak: int) -> None:
        """So many leases more; nothing where the frame is gone."""
        number = self._slot_of.get(seq)
        if number is None:
            return
        use = self._uses[number]
        use.strong += strong
        use.weak += weak
        self._queue(use)

    def leased(self) -> int:
        """Frames with a lease, weak ones included."""
        return sum(1 for use in self._uses if use.strong or use.weak)

    def _leave_idle(self, until_seq: int) -> Left | None:
        while self._idle and self._idle[0] <= until_seq:
            number = self._slot_of.get(heapq.heappop(self._idle))
            if number is None:
                continue  # leased since, and taken from the other heap
            use = self._uses[number]
            use.in_idle = False
            if not use.strong and not use.weak:
                return self._emptied(use)
        return None

    def _leave_weak(self) -> Left | None:
        while self._weak:
            number = self._slot_of.get(heapq.heappop(self._weak))
            if number is None:
                continue  # released since, and taken from the other heap
            use = self._uses[number]
            use.in_weak = False
            if use.weak and not use.strong:  # else it is in the other heap, or leased again
                return self._emptied(use)
        return None

    def _emptied(self, use: Use) -> Left:
        number = self._slot_of.pop(use.seq)
        self._uses[number] = Use()
        self.evicted += 1
        return Left(number, use.seq)

    def _queue(self, use: Use) -> None:
        """Offer the frame to the writer, in the heap that its leases say."""
        if use.strong:
            return
        if use.weak and not use.in_weak:
            use.in_weak = True
            heapq.heappush(self._weak, use.seq)
            if len(self._weak) > 2 * len(self._uses):
                # most were answered, and left through the other heap
                self._weak = [seq for seq in self._weak if seq in self._slot_of]
                heapq.heapify(self._weak)
        elif not use.weak and not use.in_idle:
            use.in_idle = True
            heapq.heappush(self._idle, use.seq)

    def __len__(self) -> int:
        return len(self._slot_of)

    def __repr__(self) -> str:
        return f"<Slots {len(self)}/{len(self._uses)}, {self.absent} without memory>"
