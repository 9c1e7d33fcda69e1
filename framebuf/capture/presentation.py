"""Presentation: packets come in the order of decoding, their pictures are shown in another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from framebuf.buffer.coded import Packet

_MOST_HELD = 20
"""No codec holds back more than 16 pictures; what looks like more is a broken clock."""


@dataclass(slots=True, eq=False)
class CodedPicture:
    """One picture that is not decoded, and when it is shown."""

    packet: Packet
    number: int
    """In the order of decoding."""
    pts: int | None
    time_base: Fraction | None
    height: int
    width: int
    plausible: bool = True
    """It looks like a picture of its codec, as far as that can be said without decoding it."""
    skipped: bool = False
    """It refers to what never came: no decoder shows it."""

    @property
    def time(self) -> float | None:
        """Seconds on the clock of its container."""
        if self.pts is None or self.time_base is None:
            return None
        return self.pts * self.time_base.numerator / self.time_base.denominator


class Presentation:
    """Puts pictures in the order in which they are shown. One thread.

    A picture is let go once it is certain that none comes before it (a packet is not decoded later
    than it is shown; without such times, a decoder's `depth` of pictures held back says it), and
    that all packets before its own show theirs too: a decoder that is given no more packets than
    have come has then said of each of them whether it is damaged.
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
        if not self._held and not self._shown and self._is_next(picture, dts):
            self._dts, self._all_until = dts, picture.number
            return [picture]
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
        return gone

    def _is_next(self, picture: CodedPicture, dts: int | None) -> bool:
        """Whether a picture goes at once, where none is held back: as most cameras send them."""
        if dts is None or picture.pts is None:
            return not self._depth
        return picture.pts <= dts

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
        return gone

    def __repr__(self) -> str:
        return f"<Presentation {len(self._held) + len(self._shown)} held, depth {self._depth}>"


def _pts(picture: CodedPicture) -> int:
    return -(2**63) if picture.pts is None else picture.pts
