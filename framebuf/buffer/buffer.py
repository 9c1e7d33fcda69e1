"""Buffer: one camera's history, whatever its frames' size: rings, and stamps of what is gone."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from framebuf.buffer.arrivals import Arrivals
from framebuf.buffer.extent import ASSUMED_RATE
from framebuf.buffer.framestore import FrameStore
from framebuf.buffer.history import History, Stamp
from framebuf.buffer.packetstore import PacketStore
from framebuf.buffer.quota import Format, Quota
from framebuf.buffer.succession import mark
from framebuf.frames import LIVE
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.buffer.coded import Packet
    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.extent import Extent
    from framebuf.buffer.group import Shown
    from framebuf.buffer.lease import Lease
    from framebuf.buffer.packets import PacketRing
    from framebuf.buffer.store import Ring, Store, Written
    from framebuf.contract import Reason
    from framebuf.frames import Origin
    from framebuf.units import Moment, Size, Span

_log = logging.getLogger(__name__)


class Buffer:
    """What a camera writes and requests read.

    The camera's thread calls `opened`, `interrupted`, `take`, and for each frame `arrived` and then
    either `passed_over`, or `begin` and `commit` or `discard`; any thread the rest. `_lock` guards
    the history and what is arriving. `on_commit` is called after each commit, outside the lock, on
    the camera's thread.
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
        encoded: bool = False,
    ) -> None:
        """`encoded`: it keeps packets, which `take` is to be given before their frames."""
        self.name = name
        self.size: tuple[int, int] | None = None
        """Width, height of the largest frame so far."""
        self.rate: float | None = None
        self.lateness_ns = 0
        self.kept = 0
        self.dropped = 0
        self._span = span
        self._stale_ns = stale_ns
        self._on_commit = on_commit
        self._lock = threading.Lock()
        self._history = History()
        self._arrivals = Arrivals(stale_ns)
        self._largest = 0
        kind = PacketStore if encoded else FrameStore
        self._store: Store = kind(name, directory, Quota(span, memory), boot_id)
        self._next_seq = 0
        self._gone = range(0)  # seqs that went with their rings
        self._arriving: Stamp | None = None
        self._interrupted = True
        self._after_gap = False

    @property
    def extent(self) -> Extent | None:
        """How many frames it has room for. None before the first."""
        return self._store.extent

    def recover(self, now_ns: int) -> None:
        """Take over what a process before left of this boot. Before the camera starts.

        Its frames can be leased from now on, and `seq` goes on after them. The next frame comes
        after a gap, which takes none where it was shorter than a frame. A frame that was not whole
        yet is told as lost. No file makes this fail: one that cannot be used is removed, with a
        warning.
        """
        stamps = self._store.recover(now_ns)
        if not stamps:
            return
        newest = stamps[-1]
        with self._lock:
            for stamp in stamps:
                self._history.append(stamp, len(stamps))
            self._next_seq = newest.seq + 1
            self._after_gap = True
            self._arrivals.told(newest.mono_ns)
        self.size = self._store.largest()
        _log.info(
            "camera %s: %d frames of before are there, the newest %.1f s old",
            self.name, self.held(), (now_ns - newest.mono_ns) / SECOND_NS,
            extra={"CAMERA": self.name},
        )  # fmt: skip

    def go_on_from(self, seq: int) -> None:
        """Number frames from `seq` on, if not from a higher one. After `recover`.

        For what others know of frames that went with their rings: those are told as lost.
        """
        with self._lock:
            self._gone = range(self._next_seq, seq)
            self._next_seq = max(self._next_seq, seq)

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
        self._store.interrupted()

    def take(self, packet: Packet) -> None:
        """Keep what the camera has sent, in decoding order; its frame may come later.

        Raises:
            ConfigError: `memory` does not hold a second of packets.
            RingError: the tmpfs has no room.
        """
        self._store.take(packet, self.rate or ASSUMED_RATE)

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
        self,
        captured: Moment,
        height: int,
        width: int,
        origin: Origin = LIVE,
        packet: Packet | None = None,
    ) -> Written | None:
        """A slot for the frame that has just arrived. None: all are leased; it is counted.

        `packet`: the frame's, where packets are kept.

        Raises:
            ConfigError: `memory` does not hold two such frames.
            RingError: the tmpfs has no room.
        """
        frames = Format(height, width, self.rate or ASSUMED_RATE, self._largest)
        ring = self._store.ring_for(frames, self.after)
        with self._lock:
            newest = self._history.newest
            silent = (
                newest is not None and captured.mono_ns - newest.captured.mono_ns > self._stale_ns
            )
            stamp = Stamp(self._next_seq, captured, after_gap=self._after_gap or silent)
            self._next_seq += 1
            self._after_gap = False
            self._arriving = stamp
            self._arrivals.begun(captured.mono_ns)
        slot = self._store.begin(stamp, frames, origin, packet)
        if slot is None:
            lost = replace(stamp, dropped=True)
            mark(ring, lost)
            self._remember(lost, ring)
        return slot

    def commit(self, slot: Written, error: str | None = None) -> None:
        """The slot is written; `error` says why its pixels mean nothing."""
        height, width = slot.height, slot.width
        if self.size is None or width * height > self.size[0] * self.size[1]:
            self.size = (width, height)
        stamp, ring = self._arriving, slot.ring
        if stamp is None:
            raise RuntimeError("commit without begin")
        mark(ring, stamp)  # before its slot is whole
        slot.commit(error)
        self._remember(stamp, ring)

    def discard(self, slot: Written) -> None:
        """Nothing came of the slot; its number is given again."""
        slot.discard()
        with self._lock:
            if self._arriving is not None:
                self._next_seq = self._arriving.seq
                self._after_gap = self._arriving.after_gap
            self._arriving = None
            self._arrivals.ended()
        self._on_commit()

    def lease(self, seq: int) -> Lease | None:
        """Hold frame `seq`. None: it is gone."""
        return self._store.lease(seq)

    def coded(self, seq: int) -> tuple[PacketRing, Shown] | None:
        """Where a frame's packet is; None: it is gone, or the buffer holds pictures."""
        return self._store.coded(seq)

    def why_gone(self, stamp: Stamp) -> Reason:
        """Why the pixels of a frame that cannot be leased are not there."""
        if stamp.seq in self._gone and not stamp.dropped:
            return "frames_lost"
        return self._store.why_gone(stamp)

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
        return now_ns <= self.fresh_until()

    def fresh_until(self) -> int:
        """Up to this moment it is online if no more frames come; −1 before the first."""
        newest = self._history.newest
        return -1 if newest is None else newest.captured.mono_ns + self._stale_ns

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
        return self._store.leased()

    def held(self) -> int:
        return len(self._store)

    def evicted(self) -> int:
        """Frames that were held and gave way to newer ones."""
        return self._store.evicted()

    def strip(self) -> list[tuple[Stamp, bool]]:
        """The frames held, oldest first, and of each whether somebody leases it; a snapshot."""
        held = self._store.leases()
        stamps = self.after(min(held, default=0) - 1)
        return [(stamp, held[stamp.seq]) for stamp in stamps if stamp.seq in held]

    def held_ns(self) -> int:
        """From the oldest frame held to the newest; nanoseconds."""
        strip = self.strip()
        return strip[-1][0].mono_ns - strip[0][0].mono_ns if strip else 0

    def bytes(self) -> int:
        """Memory of all rings."""
        return self._store.bytes()

    def _remember(self, stamp: Stamp, ring: Ring) -> None:
        with self._lock:
            self._history.append(stamp, ring.shape.stamps)
            self._arriving = None
            self._arrivals.ended()
            if stamp.dropped:
                self.dropped += 1
            else:
                self.kept += 1
        self._on_commit()

    def __repr__(self) -> str:
        slots = self.extent.slots if self.extent else 0
        return (
            f"<Buffer {self.name} {self.held()}/{slots}, "
            f"{self.leased()} leased, {self.dropped} dropped>"
        )
