"""Buffer: one camera's history, whatever its frames' size: rings, and stamps of what is gone."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from framebuf.buffer.arrivals import Arrivals
from framebuf.buffer.extent import ASSUMED_RATE, extent, smallest
from framebuf.buffer.history import History, Stamp
from framebuf.buffer.layout import STAMP_AFTER_GAP, STAMP_DROPPED
from framebuf.buffer.ring import FrameRing
from framebuf.errors import ConfigError
from framebuf.frames import LIVE
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.extent import Extent
    from framebuf.buffer.ring import Lease, Slot
    from framebuf.contract import Reason
    from framebuf.frames import Origin
    from framebuf.units import Moment, Size, Span

_log = logging.getLogger(__name__)


class Buffer:
    """What a camera writes and requests read.

    The camera's thread calls `opened`, `interrupted`, and for each frame `arrived` and then either
    `passed_over`, or `begin` and `commit` or `discard`; any thread the rest. `_lock` guards the
    history, the rings' list and what is arriving. `on_commit` is called after each commit, outside
    the lock, on the camera's thread.
    """

    def __init__(
        self,
        name: str,
        directory: RingDirectory,
        *,
        span: Span,
        memory: Size,
        stale_ns: int,
        boot_id: str,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.extent: Extent | None = None
        self.size: tuple[int, int] | None = None
        """Width, height of the largest frame so far."""
        self.rate: float | None = None
        self.lateness_ns = 0
        self.kept = 0
        self.dropped = 0
        self._directory = directory
        self._span = span
        self._memory = memory
        self._stale_ns = stale_ns
        self._boot_id = boot_id
        self._on_commit = on_commit
        self._lock = threading.Lock()
        self._history = History()
        self._arrivals = Arrivals(stale_ns)
        self._largest = 0
        self._rings: list[FrameRing] = []  # the newest last
        self._made = 0
        self._ring_begins = 0  # the first seq of the newest ring
        self._next_seq = 0
        self._arriving: Stamp | None = None
        self._interrupted = True
        self._after_gap = False

    def opened(self, rate: float | None, lateness_ns: int = 0, largest: int = 0) -> None:
        """The source is open and keeps `rate` frames a second, if it knows.

        `lateness_ns`: frames may be stamped earlier than they arrive, and are waited for so long.
        `largest`: bytes of the largest frame, as far as is known ahead.
        """
        with self._lock:
            self.rate = rate
            self.lateness_ns = lateness_ns
            self._largest = largest
            self._arrivals.opened(lateness_ns)
            self._history.period_ns = round(SECOND_NS / rate) if rate else None
            self._interrupted = False

    def interrupted(self) -> None:
        """The source failed: what follows comes after a gap."""
        with self._lock:
            self._interrupted = True
            self._arrivals.interrupted()
            self._after_gap = self._history.newest is not None

    def arrived(self, captured: Moment) -> Moment | None:
        """A frame is here; the stamp that it is kept under, after all that was told to be settled.

        None: it comes too late, and is of a time of which was told that no more frames come.
        """
        with self._lock:
            return self._arrivals.arrived(captured)

    def passed_over(self) -> None:
        """The frame that has arrived is not kept."""
        with self._lock:
            self._arrivals.ended()

    def begin(
        self, captured: Moment, height: int, width: int, origin: Origin = LIVE
    ) -> Slot | None:
        """A slot for the frame that has just arrived. None: all are leased; it is counted.

        Raises:
            ConfigError: `memory` does not hold two such frames.
            RingError: the tmpfs has no room.
        """
        ring = self._ring_for(height, width)
        with self._lock:
            newest = self._history.newest
            silent = newest is not None and captured.mono_ns - newest.mono_ns > self._stale_ns
            stamp = Stamp(self._next_seq, captured, after_gap=self._after_gap or silent)
            self._next_seq += 1
            self._after_gap = False
            self._arriving = stamp
            self._arrivals.begun(captured.mono_ns)
        slot = ring.begin(stamp.seq, captured, height, width, origin)
        if slot is None:
            self._remember(self._stamped(ring, dropped=True), ring)
        return slot

    def commit(self, slot: Slot, error: str | None = None) -> None:
        """The slot is written; `error` says why its pixels mean nothing."""
        height, width = slot.pixels.shape[:2]
        if self.size is None or width * height > self.size[0] * self.size[1]:
            self.size = (width, height)
        stamp = self._stamped(slot.ring, dropped=False)
        slot.ring.commit(slot, error)
        self._remember(stamp, slot.ring)

    def discard(self, slot: Slot) -> None:
        """Nothing came of the slot; its number is given again."""
        slot.ring.discard(slot)
        with self._lock:
            if self._arriving is not None:
                self._next_seq = self._arriving.seq
                self._after_gap = self._arriving.after_gap
            self._arriving = None
            self._arrivals.ended()
        self._on_commit()

    def lease(self, seq: int) -> Lease | None:
        """Hold frame `seq`. None: it is gone."""
        with self._lock:
            rings = tuple(self._rings)
        for ring in reversed(rings):
            if lease := ring.lease(seq):
                return lease
        return None

    def why_gone(self, stamp: Stamp) -> Reason:
        """Why the pixels of a frame that cannot be leased are not there."""
        if stamp.dropped:
            return "memory"
        return "frames_lost" if stamp.seq < self._ring_begins else "evicted"

    def between(self, from_ns: int, to_ns: int) -> Sequence[Stamp]:
        """Stamps in [from, to] on the monotonic clock, oldest first, evicted ones included."""
        with self._lock:
            return self._history.between(from_ns, to_ns)

    def newest_until(self, to_ns: int, count: int) -> Sequence[Stamp]:
        """The `count` newest stamps at or before `to`, oldest first."""
        with self._lock:
            return self._history.newest_until(to_ns, count)

    def whole_history(self, to_ns: int) -> Sequence[Stamp]:
        """The stamps up to `to` that the history is meant to hold, oldest first."""
        count = self.extent.history if self.extent else 0
        with self._lock:
            stamps = self._history.newest_until(to_ns, count)
        if self._span.frames is not None:
            return stamps
        return [stamp for stamp in stamps if stamp.mono_ns >= to_ns - self._span.ns]

    def after(self, seq: int) -> Sequence[Stamp]:
        """Stamps of frames newer than `seq`; −1 for all."""
        with self._lock:
            return self._history.after(seq)

    def newest(self) -> Stamp | None:
        with self._lock:
            return self._history.newest

    def online(self, now_ns: int) -> bool:
        """Whether the newest frame is fresh."""
        newest = self._history.newest
        return newest is not None and now_ns - newest.mono_ns <= self._stale_ns

    def captured_until(self, now_ns: int) -> int:
        """Up to this moment no frame can still appear."""
        with self._lock:
            return self._arrivals.told(self._captured_until(now_ns))

    def settled_until(self, now_ns: int) -> int:
        """Up to this moment it is known which frames there are, and which a gap took."""
        with self._lock:
            limit = self._captured_until(now_ns)
            newest, period = self._history.newest, self._history.typical_period_ns()
            silent = newest is not None and now_ns - newest.mono_ns > self._stale_ns
            if newest is not None and period is not None and not (self._interrupted or silent):
                # A live camera that is late by more may be in a gap, which its next frame tells
                limit = min(limit, newest.mono_ns + 3 * period)
            return self._arrivals.told(limit)

    def _captured_until(self, now_ns: int) -> int:
        return self._arrivals.certain_until(now_ns, self._history.typical_period_ns())

    def lost_in_gaps(self, from_ns: int, to_ns: int, now_ns: int) -> int:
        """Frames that the camera would have given in [from, to], had it not been away."""
        away = not self.online(now_ns)
        with self._lock:
            return self._history.lost_in_gaps(from_ns, to_ns, open_gap=self._interrupted or away)

    def forgotten(self, from_ns: int, to_ns: int) -> int:
        """Frames in [from, to] of which not even the stamps are known any more; an estimate."""
        with self._lock:
            return self._history.forgotten(from_ns, to_ns)

    def period_ns(self) -> int | None:
        with self._lock:
            return self._history.typical_period_ns()

    def oldest_seq(self) -> int:
        """The oldest frame that is remembered; 0 before the first."""
        with self._lock:
            oldest = self._history.oldest
            return oldest.seq if oldest else 0

    def leased(self) -> int:
        return sum(ring.leased() for ring in tuple(self._rings))

    def held(self) -> int:
        return sum(len(ring) for ring in tuple(self._rings))

    def bytes(self) -> int:
        """Memory of all rings."""
        return sum(ring.shape.file_bytes for ring in tuple(self._rings))

    def close(self) -> None:
        """Remove the ring files. The camera has stopped."""
        for ring in self._rings:
            self._directory.remove(ring.file_name)

    def _stamped(self, ring: FrameRing, *, dropped: bool) -> Stamp:
        """The stamp of the frame that is arriving, in the file before its slot is whole."""
        arriving = self._arriving
        if arriving is None:
            raise RuntimeError("commit without begin")
        stamp = replace(arriving, dropped=dropped)
        flags = STAMP_DROPPED * stamp.dropped | STAMP_AFTER_GAP * stamp.after_gap
        ring.stamp(stamp.seq, stamp.captured, flags)
        return stamp

    def _remember(self, stamp: Stamp, ring: FrameRing) -> None:
        with self._lock:
            self._history.append(stamp, ring.shape.stamps)
            self._arriving = None
            self._arrivals.ended()
            self.dropped += stamp.dropped
            self.kept += not stamp.dropped
        self._on_commit()

    def _ring_for(self, height: int, width: int) -> FrameRing:
        """The ring to write to; a new one for frames larger than any before."""
        if self._rings and self._rings[-1].fits(height, width):
            self._drop_answered(self._rings[:-1])
            return self._rings[-1]
        frame_bytes = height * width * 3
        rate = self.rate or ASSUMED_RATE
        # One ring for all sizes, unless that costs history: what was told ahead may be wrong
        if self._largest > frame_bytes:
            roomy = extent(self._span, self._memory, rate, self._largest)
            if roomy is not None and not roomy.shortened:
                frame_bytes = self._largest
        size = extent(self._span, self._memory, rate, frame_bytes)
        if size is None:
            raise ConfigError(
                "memory",
                f"{self._memory} does not hold two frames of {width}×{height}",
                f"give it at least {-(-smallest(frame_bytes) // 2**20)} MiB",
            )
        if size.shortened:
            _log.warning(
                "camera %s: memory of %s holds %d frames of %d×%d, not %s; raise memory",
                self.name, self._memory, size.history, width, height, self._span,
                extra={"CAMERA": self.name},
            )  # fmt: skip
        with self._lock:
            self._ring_begins = self._next_seq
        self._drop_answered(tuple(self._rings))  # first: there may not be room for both
        ring = FrameRing.create(
            self._directory,
            self.name,
            size.shape(frame_bytes),
            file_name=f"{self.name}.{self._made}.ring",
            boot=self._boot_id,
        )
        with self._lock:
            self._made += 1
            self._rings.append(ring)
            self.extent = size
        return ring

    def _drop_answered(self, old: Sequence[FrameRing]) -> None:
        """Let go of old rings whose leases have ended."""
        for ring in old:
            if not ring.leased():
                self._directory.remove(ring.file_name)
                with self._lock:
                    self._rings.remove(ring)

    def __repr__(self) -> str:
        slots = self._rings[-1].shape.slots if self._rings else 0
        return (
            f"<Buffer {self.name} {self.held()}/{slots}, "
            f"{self.leased()} leased, {self.dropped} dropped>"
        )
