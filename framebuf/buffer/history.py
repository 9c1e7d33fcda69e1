"""When frames were captured: also those that are gone, so that they can be counted."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.units import Moment


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """One frame's capture. Its pixels may be gone."""

    seq: int
    captured: Moment
    dropped: bool = False
    """No slot was free: its pixels were never kept."""
    after_gap: bool = False
    """The source was reopened, or silent, before it."""

    @property
    def mono_ns(self) -> int:
        return self.captured.mono_ns


def _mono(stamp: Stamp) -> int:
    return stamp.captured.mono_ns


class History:
    """The newest stamps, in capture order. Not locked: its buffer's lock guards it."""

    MOST_RUNS = 64
    """Times between gaps of which is known that frames were there, though not which."""

    def __init__(self) -> None:
        self._stamps: list[Stamp] = []
        self.newest: Stamp | None = None
        # first and last of the frames before those, between gaps
        self._runs: deque[tuple[int, int]] = deque(maxlen=self.MOST_RUNS)
        self.period_ns: int | None = None
        """Nanoseconds from frame to frame as the source says; None: measured."""

    def append(self, stamp: Stamp, keep: int) -> None:
        """Add the newest; remember about the `keep` newest ones (at least, at most twice)."""
        self._stamps.append(stamp)
        self.newest = stamp
        if len(self._stamps) >= 2 * keep:
            for old in self._stamps[:-keep]:
                goes_on = self._runs and not old.after_gap
                first_ns = self._runs.pop()[0] if goes_on else old.mono_ns
                self._runs.append((first_ns, old.mono_ns))
            del self._stamps[:-keep]

    @property
    def oldest(self) -> Stamp | None:
        return self._stamps[0] if self._stamps else None

    def between(self, from_ns: int, to_ns: int) -> Sequence[Stamp]:
        """Stamps in [from, to], on the monotonic clock, oldest first."""
        first = bisect_left(self._stamps, from_ns, key=_mono)
        return self._stamps[first : bisect_right(self._stamps, to_ns, key=_mono)]

    def newest_until(self, to_ns: int, count: int) -> Sequence[Stamp]:
        """The `count` newest stamps at or before `to`, oldest first."""
        end = bisect_right(self._stamps, to_ns, key=_mono)
        return self._stamps[max(0, end - count) : end]

    def after(self, seq: int) -> Sequence[Stamp]:
        """Stamps of frames newer than `seq`."""
        return self._stamps[bisect_right(self._stamps, seq, key=lambda stamp: stamp.seq) :]

    def typical_period_ns(self) -> int | None:
        """From frame to frame: told by the source, else the median of the last ones."""
        last = self._stamps[-32:]
        steps = [b.mono_ns - a.mono_ns for a, b in pairwise(last)]
        measured = round(statistics.median(steps)) if steps else None
        if not self.period_ns:
            return measured
        # `fps` may ask for more than the source gives
        slower = measured is not None and len(steps) >= 8 and 2 * measured > 3 * self.period_ns
        return measured if slower else self.period_ns

    def lost_in_gaps(self, from_ns: int, to_ns: int, *, open_gap: bool) -> int:
        """Frames that the camera would have given in [from, to], had it not been away.

        Counted at the camera's period on from the frame before each gap. With `open_gap` the
        camera is away since its newest frame. Time before the first frame known is a gap too,
        counted back from that frame, but for when frames were that are `forgotten`.
        """
        period = self.typical_period_ns()
        if not period:
            return int(open_gap or not self._stamps)
        if not self._stamps:
            return max(0, to_ns - from_ns) // period
        before = _ticks(-self._stamps[0].mono_ns, period, -to_ns, -from_ns)
        lost = max(0, before - self.forgotten(from_ns, to_ns))
        near = bisect_left(self._stamps, from_ns, key=_mono)
        for at in range(max(1, near), len(self._stamps)):
            before, stamp = self._stamps[at - 1].mono_ns, self._stamps[at]
            if before > to_ns:
                break
            if stamp.after_gap:
                end = min(to_ns, stamp.mono_ns - period // 2 - 1)
                lost += _ticks(before, period, from_ns, end)
        if open_gap:
            lost += _ticks(self._stamps[-1].mono_ns, period, from_ns, to_ns)
        return lost

    def forgotten(self, from_ns: int, to_ns: int) -> int:
        """Frames in [from, to] that are gone, their stamps too; counted at the camera's period."""
        period = self.typical_period_ns()
        if not period:
            return 0
        return sum(
            _ticks(first_ns - period, period, from_ns, min(to_ns, last_ns))
            for first_ns, last_ns in self._runs
        )


def _ticks(start: int, period: int, from_ns: int, to_ns: int) -> int:
    """How many of start + period, start + 2·period … lie in [from, to]."""
    first = max(1, -(-(from_ns - start) // period))
    last = (to_ns - start) // period
    return max(0, last - first + 1)
