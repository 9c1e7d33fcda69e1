"""Which frames a trigger asks for, in capture order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from framebuf.buffer.shortfall import forgotten, shortfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.windowspec import WindowSpec
    from framebuf.contract import Reason

_COUNTS = {
    name.strip("_"): name
    for name in (
        "asked", "thinned", "already_claimed", "last_seq", "first_ns", "last_ns",
        "before", "after", "_eligible", "_expected",
    )
}  # fmt: skip
"""What a window remembers: the name it is written down by, and its attribute."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A frame that a request wants an answer for."""

    index: int
    """Its place in the window, from 0."""
    stamp: Stamp


class Claiming(Protocol):
    """Who knows which frames are taken: `Claims`, or somebody who only wants to know."""

    def claim(self, seq: int) -> bool:
        """Take a frame; False: it was taken before."""


class Window:
    """One request's window, filled in capture order: `start` once, then `extend`.

    With `claims` it is a drain: it claims every unclaimed frame of its window, and asks only for
    those. Only the requests' thread.
    """

    def __init__(self, spec: WindowSpec, claims: Claiming | None) -> None:
        self.spec = spec
        self.thinned = 0
        self.already_claimed = 0
        self.asked = 0
        self.last_seq = -1
        """Every frame up to this one was considered."""
        self.first_ns: int | None = None
        """The first frame of the window, asked for or not."""
        self.last_ns: int | None = None
        self.before = 0
        """Its frames at or before the moment, so far."""
        self.after = 0
        self._claims = claims
        self._eligible = 0  # frames that stride and claims left, before thinning
        self._expected = 0  # how many of those there will be in all

    def counts(self) -> dict[str, int | None]:
        """All that has become of it, for `resume`."""
        return {name: getattr(self, attribute) for name, attribute in _COUNTS.items()}

    def resume(self, counts: Mapping[str, int | None]) -> None:
        """Go on where another window with the same spec has stopped.

        Raises:
            KeyError: they are not such counts.
        """
        for name, attribute in _COUNTS.items():
            setattr(self, attribute, counts[name])

    @property
    def is_certain(self) -> bool:
        """Whether the same history gives the same frames again."""
        return self._claims is None and self._expected <= self.spec.max_frames

    def foresee(self, history: int, period_ns: int | None) -> None:
        """Reckon before its start how many frames there will be, in case it never starts."""
        spec, frames = self.spec, 0
        for span in (spec.before, spec.after):
            if span is None:
                frames += history
            elif span.frames is not None:
                frames += span.frames
            elif period_ns:
                frames += span.ns // period_ns
        self._expected = max(1, frames // spec.stride)

    def outstanding(self) -> int:
        """How many frames it has not asked for, as was reckoned."""
        return self.within_maximum(self._expected - self._eligible)

    def start(self, buffer: Buffer, newest_seq: int, now_ns: int) -> list[Asked]:
        """Take what exists up to frame `newest_seq`. Times that are past may be settled later.

        Frames after `newest_seq` are left to `extend`, that windows accepted before may come first.
        """
        past = [stamp for stamp in self._past(buffer) if stamp.seq <= newest_seq]
        later = [s for s in buffer.after(past[-1].seq if past else -1) if s.seq <= newest_seq]
        later = [stamp for stamp in later if stamp.mono_ns > self.spec.moment_ns]
        chosen = self._chosen(past, first_offset=1 - len(past)) + self._following(later)
        self.before = len(past)
        self.last_seq = newest_seq
        self._expected = len(chosen) + self._to_come(buffer, now_ns)
        return self._thin(chosen)

    def extend(self, stamps: Iterable[Stamp]) -> list[Asked]:
        """Take those of the frames captured since that belong here."""
        fresh = [stamp for stamp in stamps if stamp.seq > self.last_seq]
        if fresh:
            self.last_seq = fresh[-1].seq
        at_or_before = [s for s in fresh if s.mono_ns <= self.spec.moment_ns and self._reaches(s)]
        self.before += len(at_or_before)
        # Offsets matter only to a stride, and such a window starts once its moment is past
        chosen = self._chosen(at_or_before, first_offset=0) + self._following(
            stamp for stamp in fresh if stamp.mono_ns > self.spec.moment_ns
        )
        return self._thin(chosen)

    def can_fill(self, buffer: Buffer, now_ns: int) -> bool:
        """Whether a frame of it was there, or may still come."""
        end = self.spec.end_ns
        if end is None or end > now_ns or self._past(buffer):
            return True
        return bool(buffer.between(self.spec.moment_ns, end)) or forgotten(self, buffer) > 0

    def reached(self, buffer: Buffer) -> list[Stamp]:
        """Frames of it so far, before any stride, claim or maximum; those that are gone too."""
        past, limit, end = self._past(buffer), self.spec.after.frames, self.spec.end_ns
        later = [
            stamp
            for stamp in buffer.after(past[-1].seq if past else -1)
            if stamp.mono_ns > self.spec.moment_ns and (end is None or stamp.mono_ns <= end)
        ]
        return [*past, *(later[:limit] if limit else later)]

    def closed(self, buffer: Buffer, now_ns: int) -> bool:
        """Whether no frame can join it any more, and all that could were considered."""
        if self.spec.after.frames:
            return self.after >= self.spec.after.frames
        if buffer.settled_until(now_ns) < self.spec.moment_ns + self.spec.after.ns:
            return False
        newest = buffer.newest()  # read after what is settled: one of its frames may be new
        return newest is None or newest.seq <= self.last_seq

    def ends_ns(self, buffer: Buffer, now_ns: int) -> int:
        """When it will have ended; monotonic, by the camera's rate where its end is counted."""
        if not self.spec.after.frames:
            return self.spec.moment_ns + self.spec.after.ns
        left = self.spec.after.frames - self.after
        return max(now_ns, self.spec.moment_ns) + left * (buffer.period_ns() or 0)

    def missing(self, buffer: Buffer, now_ns: int) -> dict[Reason, int]:
        """Frames of it that there are not, and why; once it is closed or given up."""
        return shortfall(self, buffer, now_ns)

    def cut_off(self, buffer: Buffer, now_ns: int) -> int:
        """Frames of a timed end that is still to come, by the camera's rate."""
        if self.spec.after.frames or self.closed(buffer, now_ns):
            return 0
        return self.within_maximum(self._to_come(buffer, now_ns))

    def _past(self, buffer: Buffer) -> Sequence[Stamp]:
        """Frames at or before the moment."""
        spec = self.spec
        if spec.is_moment:
            return buffer.newest_until(spec.moment_ns, 1)
        if spec.before is None:
            return buffer.whole_history(spec.moment_ns)
        if spec.before.frames is not None:
            return buffer.newest_until(spec.moment_ns, spec.before.frames)
        return buffer.between(spec.moment_ns - spec.before.ns, spec.moment_ns)

    def _reaches(self, stamp: Stamp) -> bool:
        """Whether a frame at or before the moment, told after `start`, is one more of them."""
        before = self.spec.before
        if before is None:
            return True
        if before.frames is not None or self.spec.is_moment:
            return False  # they were counted
        return stamp.mono_ns >= self.spec.moment_ns - before.ns

    def _following(self, stamps: Iterable[Stamp]) -> list[Stamp]:
        """Those after the moment that belong here, in stride and unclaimed."""
        limit, end = self.spec.after.frames, self.spec.end_ns
        offset = self.after + 1
        inside = []
        for stamp in stamps:
            full = self.after >= limit if limit else end is not None and stamp.mono_ns > end
            if full:
                break
            self.after += 1
            inside.append(stamp)
        return self._chosen(inside, first_offset=offset)

    def _chosen(self, stamps: Sequence[Stamp], *, first_offset: int) -> list[Stamp]:
        """Those that stride and claims leave; a drain claims the others too."""
        chosen = []
        for offset, stamp in enumerate(stamps, start=first_offset):
            if self.first_ns is None:
                self.first_ns = stamp.mono_ns
            self.last_ns = stamp.mono_ns
            free = self._claims is None or self._claims.claim(stamp.seq)
            if self.spec.stride > 1 and offset % self.spec.stride:
                continue
            if free:
                chosen.append(stamp)
            else:
                self.already_claimed += 1
        return chosen

    def _to_come(self, buffer: Buffer, now_ns: int) -> int:
        """How many frames will still join, by count or by the camera's rate."""
        stride = self.spec.stride
        newest, period = buffer.newest(), buffer.period_ns()
        if self.spec.after.frames:
            coming = self.spec.after.frames - self.after
            if period:
                coming = min(coming, max(0, self.spec.give_up_ns - now_ns) // period + 1)
            return (self.after + coming) // stride - self.after // stride
        if newest is None or not period:
            return 0
        # Only what is still to come: a frame that is late, or that a gap took, never joins
        past = max(now_ns - newest.mono_ns, 0) // period
        coming = (self.spec.moment_ns + self.spec.after.ns - newest.mono_ns) // period - past
        return (self.after + max(coming, 0)) // stride - self.after // stride

    def _thin(self, chosen: Iterable[Stamp]) -> list[Asked]:
        """Keep `max_frames` of all that are expected, evenly spread; never more."""
        limit, expected = self.spec.max_frames, max(self._expected, 1)
        kept = []
        for stamp in chosen:
            at = self._eligible
            self._eligible += 1
            # The first is always kept: an estimate that is too high must not leave nothing
            spread = limit >= expected or at * limit % expected < limit
            if spread and self.asked < limit:
                kept.append(Asked(self.asked, stamp))
                self.asked += 1
            else:
                self.thinned += 1
        return kept

    def within_maximum(self, missing: int, besides: int = 0) -> int:
        """Of so many more frames, those that `max_frames` leaves room for."""
        return max(0, min(missing, self.spec.max_frames - self.asked - besides))

    def __repr__(self) -> str:
        return (
            f"<Window {self.asked} asked, {self.thinned} thinned, {self.already_claimed} claimed>"
        )
