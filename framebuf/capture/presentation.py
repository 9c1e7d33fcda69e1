"""Presentation: packets come in the order of decoding, their pictures are shown in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.buffer.coded import Packet

_MOST_HELD = 20
"""No codec holds back more than 16 pictures; what looks like more is a broken clock."""


class CodedPicture(msgspec.Struct, eq=False):
    """One picture that is not decoded, and when it is shown."""

    packet: Packet
    number: int
    """In the order of decoding."""
    pts: int | None
    time_ns: int | None
    """On the clock of its container."""
    height: int
    width: int
    plausible: bool = True
    """It looks like a picture of its codec, as far as that can be said without decoding it."""
    skipped: bool = False
    """It refers to what never came: no decoder shows it."""

    @property
    def time(self) -> float | None:
        """Seconds on the clock of its container."""
        return None if self.time_ns is None else self.time_ns / SECOND_NS


class Presentation:
    """Puts pictures in the order in which they are shown. One thread.

    A picture is let go once it is certain that none comes before it (a packet is not decoded later
    than it is shown; without such times, a decoder's `depth` of pictures held back says it), and
    that all packets before its own show theirs too: a decoder that is given no more packets than
    have come has then said of each of them whether it is damaged. Those that are skipped are not
    given.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._held: list[CodedPicture] = []
        self._shown: list[CodedPicture] = []  # in order, behind one whose turn has not come
        self._out: set[int] = set()
        self._all_until = -1  # all numbers up to this one are out
        self._dts: int | None = None

    def add(self, picture: CodedPicture, dts: int | None) -> list[CodedPicture]:
        """A packet has come, decoded at `dts` of its clock; the pictures that go now."""
        if not self._held and not self._shown:  # as most cameras send them
            pts = picture.pts
            if (not self._depth) if dts is None or pts is None else pts <= dts:
                self._dts, self._all_until = dts, picture.number
                return [] if picture.skipped else [picture]
        gone = []
        if dts is not None and self._dts is not None and dts < self._dts:
            gone = self.flush()  # the clock went back
        self._dts = dts
        self._held.append(picture)
        self._held.sort(key=_pts)
        while self._held and self._goes(dts):
            self._take(self._held.pop(0))
        return gone + self._ready()

    def flush(self) -> list[CodedPicture]:
        """No more come that belong to these."""
        for picture in self._held:
            self._take(picture)
        self._held.clear()
        gone, self._shown = self._shown, []
        if self._out:
            self._all_until = max(self._all_until, *self._out)
            self._out.clear()
        return [picture for picture in gone if not picture.skipped]

    def _goes(self, dts: int | None) -> bool:
        first = self._held[0]
        if len(self._held) > _MOST_HELD or first.pts is None:
            return True
        if dts is not None:
            return dts >= first.pts
        return len(self._held) > self._depth

    def _take(self, picture: CodedPicture) -> None:
        self._shown.append(picture)
        self._out.add(picture.number)
        while self._all_until + 1 in self._out:
            self._all_until += 1
            self._out.discard(self._all_until)

    def _ready(self) -> list[CodedPicture]:
        count = 0
        while count < len(self._shown) and self._shown[count].number <= self._all_until:
            count += 1
        gone, self._shown = self._shown[:count], self._shown[count:]
        return [picture for picture in gone if not picture.skipped]

    def __repr__(self) -> str:
        return f"<Presentation {len(self._held) + len(self._shown)} held, depth {self._depth}>"


def _pts(picture: CodedPicture) -> int:
    return -(2**63) if picture.pts is None else picture.pts
