"""Which frames a trigger asks for, in capture order, and how many of them it cannot have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.history import Stamp
    from framebuf.units import Span


_COUNTS = {
    name.strip("_"): name
    for name in (
        "asked", "thinned", "already_claimed", "last_seq", "first_ns", "last_ns",
        "_before", "_after", "_eligible", "_expected",
    )
}  # fmt: skip
"""What a window remembers: the name it is written down by, and its attribute."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """`[moment − before, moment + after]`, every `stride`-th frame, at most `max_frames`."""

    moment_ns: int
    """Monotonic."""
    before: Span | None
    """None: the whole history."""
    after: Span
    stride: int = 1
    max_frames: int = 2**31
    give_up_ns: int = 2**63
    """Monotonic; no frame is waited for beyond."""

    @property
    def is_moment(self) -> bool:
        """No length: the one frame nearest before."""
        return self.before is not None and self.before.is_zero and self.after.is_zero

    @property
    def counts_from_moment(self) -> bool:
        """Its first frame is known only once the moment is past."""
        counted = self.before is None or self.before.frames is not None
        return counted or self.stride > 1 or self.is_moment

    @property
    def end_ns(self) -> int | None:
        """When it ends; None: after a number of frames."""
        return None if self.after.frames else self.moment_ns + self.after.ns


@dataclass(frozen=True, slots=True)
class Asked:
    """A frame that a request wants an answer for."""

    index: int
    """Its place in the window, from 0."""
    stamp: Stamp


class Claims:
    """The frames of one camera that drains have claimed. Only the requests' thread."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges` are those claimed before, first to last."""
        self._seqs = {seq for first, last in ranges for seq in range(first, last + 1)}
        self._fresh: list[int] = []
        self._prune_at = 1024

    def claim(self, seq: int) -> bool:
        """Claim a frame; False: it was claimed before."""
        if seq in self._seqs:
            return False
        self._seqs.add(seq)
        self._fresh.append(seq)
        return True

    @property
    def is_fresh(self) -> bool:
        """Whether frames were claimed since the last `saved`."""
        return bool(self._fresh)

    def fresh(self) -> list[tuple[int, int]]:
        """Frames claimed since the last `saved`, first to last."""
        ranges: list[tuple[int, int]] = []
        for seq in self._fresh:
            if ranges and seq == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        return ranges

    def saved(self) -> None:
        """The fresh ones are in the journal."""
        self._fresh.clear()

    def newest(self) -> int:
        """−1 where there are none."""
        return max(self._seqs, default=-1)

    def forget_before(self, seq: int) -> None:
        """Frames older than `seq` are gone from every history."""
        if len(self._seqs) > self._prune_at:
            self._seqs = {claimed for claimed in self._seqs if claimed >= seq}
            self._prune_at = max(1024, 2 * len(self._seqs))

    def __len__(self) -> int:
        return len(self._seqs)


class Window:
    """One request's window, filled in capture order: `start` once, then `extend`.

    With `claims` it is a drain: it claims every unclaimed frame of its window, and asks only for
    those. Only the requests' thread.
    """

    def __init__(self, spec: WindowSpec, claims: Claims | None) -> None:
        self.spec = spec
        self.thinned = 0
        self.already_claimed = 0
        self.asked = 0
        self.last_seq = -1
        """Every frame up to this one was considered."""
        self.first_ns: int | None = None
        """The first frame of the window, asked for or not."""
        self.last_ns: int | None = None
        self._claims = claims
        self._before = 0  # frames at or before the moment
        self._after = 0
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
        return self._within_maximum(self._expected - self._eligible)

    def start(self, buffer: Buffer, newest_seq: int, now_ns: int) -> list[Asked]:
        """Take what exists up to frame `newest_seq`. Times that are past may be settled later.

        Frames after `newest_seq` are left to `extend`, that windows accepted before may come first.
        """
        past = [stamp for stamp in self._past(buffer) if stamp.seq <= newest_seq]
        later = [s for s in buffer.after(past[-1].seq if past else -1) if s.seq <= newest_seq]
        later = [stamp for stamp in later if stamp.mono_ns > self.spec.moment_ns]
        chosen = self._chosen(past, first_offset=1 - len(past)) + self._following(later)
        self._before = len(past)
        self.last_seq = newest_seq
        self._expected = len(chosen) + self._to_come(buffer, now_ns)
        return self._thin(chosen)

    def extend(self, stamps: Iterable[Stamp]) -> list[Asked]:
        """Take those of the frames captured since that belong here."""
        fresh = [stamp for stamp in stamps if stamp.seq > self.last_seq]
        if fresh:
            self.last_seq = fresh[-1].seq
        at_or_before = [s for s in fresh if s.mono_ns <= self.spec.moment_ns and self._reaches(s)]
        self._before += len(at_or_before)
        # Offsets matter only to a stride, and such a window starts once its moment is past
        chosen = self._chosen(at_or_before, first_offset=0) + self._following(
            stamp for stamp in fresh if stamp.mono_ns > self.spec.moment_ns
        )
        return self._thin(chosen)

    def can_fill(self, buffer: Buffer, now_ns: int) -> bool:
        """Whether a frame of it is known, or may still come."""
        end = self.spec.end_ns
        if end is None or end > now_ns or self._past(buffer):
            return True
        return bool(buffer.between(self.spec.moment_ns, end))

    def closed(self, buffer: Buffer, now_ns: int) -> bool:
        """Whether no frame can join it any more, and all that could were considered."""
        if self.spec.after.frames:
            return self._after >= self.spec.after.frames
        if buffer.settled_until(now_ns) < self.spec.moment_ns + self.spec.after.ns:
            return False
        newest = buffer.newest()  # read after what is settled: one of its frames may be new
        return newest is None or newest.seq <= self.last_seq

    def ends_ns(self, buffer: Buffer, now_ns: int) -> int:
        """When it will have ended; monotonic, by the camera's rate where its end is counted."""
        if not self.spec.after.frames:
            return self.spec.moment_ns + self.spec.after.ns
        left = self.spec.after.frames - self._after
        return max(now_ns, self.spec.moment_ns) + left * (buffer.period_ns() or 0)

    def not_captured(self) -> int:
        """Frames of a counted side that there were not."""
        stride = self.spec.stride
        missing = 0
        counted = 1 if self.spec.is_moment else (self.spec.before and self.spec.before.frames) or 0
        if counted > self._before:
            missing += -(-counted // stride) - -(-self._before // stride)
        if self.spec.after.frames:
            missing += self.spec.after.frames // stride - self._after // stride
        return self._within_maximum(missing)

    def cut_off(self, buffer: Buffer, now_ns: int) -> int:
        """Frames of a timed end that is still to come, by the camera's rate."""
        if self.spec.after.frames or self.closed(buffer, now_ns):
            return 0
        return self._within_maximum(self._to_come(buffer, now_ns))

    def lost_in_gaps(self, buffer: Buffer, now_ns: int) -> int:
        """Frames of a timed side that the camera was away for; an estimate by its rate."""
        spec = self.spec
        if spec.is_moment:
            return 0
        start, end = spec.moment_ns, spec.end_ns or spec.moment_ns
        if spec.before is None:
            start = spec.moment_ns if self.first_ns is None else self.first_ns
        elif spec.before.frames is None:
            start -= spec.before.ns
        if start >= end:
            return 0
        lost = buffer.lost_in_gaps(start, end, now_ns) // spec.stride
        return self._within_maximum(lost, self.not_captured())

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
        offset = self._after + 1
        inside = []
        for stamp in stamps:
            full = self._after >= limit if limit else end is not None and stamp.mono_ns > end
            if full:
                break
            self._after += 1
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
            coming = self.spec.after.frames - self._after
            if period:
                coming = min(coming, max(0, self.spec.give_up_ns - now_ns) // period + 1)
            return (self._after + coming) // stride - self._after // stride
        if newest is None or not period:
            return 0
        # Only what is still to come: a frame that is late, or that a gap took, never joins
        past = max(now_ns - newest.mono_ns, 0) // period
        coming = (self.spec.moment_ns + self.spec.after.ns - newest.mono_ns) // period - past
        return (self._after + max(coming, 0)) // stride - self._after // stride

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

    def _within_maximum(self, missing: int, besides: int = 0) -> int:
        return max(0, min(missing, self.spec.max_frames - self.asked - besides))

    def __repr__(self) -> str:
        return (
            f"<Window {self.asked} asked, {self.thinned} thinned, {self.already_claimed} claimed>"
        )
