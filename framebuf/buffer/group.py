"""Group: a key frame and all packets up to the next, where they are, and who needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from framebuf.frames import LIVE

if TYPE_CHECKING:
    from framebuf.buffer.coded import Head
    from framebuf.frames import Origin
    from framebuf.units import Moment


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record's payload is in its group's chain of blocks."""

    at: int
    size: int
    leading: bool


class Shown(msgspec.Struct, frozen=True, eq=False):
    """A frame of a group."""

    group: Group
    nth: int
    """Which of its group's records."""
    captured: Moment
    origin: Origin = LIVE
    error: str | None = None


class Group:
    """Packets that are decoded together, and go together. Its ring's lock guards it.

    Records are only added, by the camera's thread; a reader may see fewer than there are.
    """

    __slots__ = (
        "after", "before", "blocks", "gone", "head", "last_ns", "last_seq", "number", "records",
        "seqs", "strong", "tail", "weak", "whole",
    )  # fmt: skip

    def __init__(self, number: int, head: Head, before: Group | None) -> None:
        """`before`: the group that its leading pictures refer to."""
        self.number = number
        self.head = head
        self.before = before
        self.after: Group | None = None
        """The group that refers to this one."""
        if before is not None:
            before.after = self
        self.blocks: list[int] = []
        self.tail = 0
        """Bytes of its chain that are used."""
        self.records: list[Record] = []
        """The first is its head."""
        self.seqs: list[int] = []
        """Its frames, in the order of presentation."""
        self.last_ns = -1
        self.last_seq = -1
        """The newest frame when it was written to last; of this group or one before."""
        self.strong = 0
        self.weak = 0
        self.whole = True
        """False: a packet found no room, so that those after it cannot be decoded."""
        self.gone = False
        """Its blocks may hold anything. Set before they do."""

    @property
    def is_idle(self) -> bool:
        """Nobody needs it: neither for its own frames nor for those that refer to it."""
        after = self.after
        return not (self.strong or self.weak or (after and (after.strong or after.weak)))

    @property
    def is_weak(self) -> bool:
        """Nobody needs it but for a second try after a crash."""
        return not (self.strong or (self.after and self.after.strong))

    def leave(self) -> None:
        """Go: its blocks may hold anything from now on."""
        self.gone = True
        before, self.before = self.before, None
        if before is not None:
            before.after = None
        after, self.after = self.after, None
        if after is not None:
            after.before = None

    def __repr__(self) -> str:
        return (
            f"<Group {self.number} {self.head.codec}, {len(self.records)} records, "
            f"{self.strong} strong, {self.weak} weak{', gone' if self.gone else ''}>"
        )
