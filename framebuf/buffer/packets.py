"""PacketRing: what a camera sent in the last seconds or minutes, as it sent it, in bounded memory.

A ring of bytes in a memory-mapped file; frames are decoded when somebody asks for them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from framebuf.buffer import packetlayout as layout
from framebuf.buffer.group import Group, Record, Shown
from framebuf.buffer.groups import Groups
from framebuf.buffer.lease import Lease
from framebuf.errors import RingError
from framebuf.frames import NOT_DECODED, Frame
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.buffer.blocks import Blocks
    from framebuf.buffer.coded import Head, Packet
    from framebuf.buffer.directory import RingDirectory
    from framebuf.frames import Origin
    from framebuf.units import Moment, Span

_log = logging.getLogger(__name__)

_APART = 2**20
"""Numbers between those of one process and the next."""
_LATE_NS = 5 * SECOND_NS
"""How late a trigger may be for an event, unless configured; of a short history it is a quarter."""


class Place(msgspec.Struct, eq=False):
    """One frame between `begin` and `commit`; as a Slot is, but its picture is there already."""

    ring: PacketRing
    seq: int
    captured: Moment
    origin: Origin
    height: int
    width: int
    at: tuple[Group, int]
    pixels: NDArray[np.uint8]
    """None: there is nothing to write."""

    def commit(self, error: str | None = None) -> None:
        """See PacketRing."""
        self.ring.commit(self, error)

    def discard(self) -> None:
        """Nothing is to be given back: the packet is needed by those after it."""


class PacketRing:
    """Groups of pictures; one thread writes, any thread leases.

    The oldest group goes as a whole when its memory is needed, once it is beyond the history that
    was asked for; before that the ring takes more memory, up to its bound. A lease on one frame
    holds its group, and the one that its group refers to. `_lock` guards the groups and which
    frames they hold; packets are written outside it, to blocks that no reader knows of yet.
    """

    def __init__(
        self,
        name: str,
        directory: RingDirectory,
        file_name: str,
        memory: mmap.mmap,
        blocks: Blocks,
        span: Span,
        groups: Iterable[Group] = (),
        shown: dict[int, Shown] | None = None,
    ) -> None:
        """`groups`, by number, and `shown`, by seq, are what was found in the file."""
        self.name = name
        self.file_name = file_name
        self.shape = blocks.shape
        self.blocks = blocks
        self.shortened: int | None = None
        """So many frames there were when memory was short of the history; None: it never was."""
        self._directory = directory
        self._memory = memory
        self._span = span
        self._stamps_at = self.shape.stamps_at
        self._lock = threading.Lock()
        self._groups = Groups(groups, shown)
        newest = self._groups.newest
        # Well beyond what a group may have left in blocks that was not whole
        self._next = newest.number + len(newest.records) + _APART if newest else 0
        self._open: Group | None = None  # what packets are added to
        self._staged: Packet | None = None  # stands for itself, and is written once it is kept
        self._newest_ns = newest.last_ns if newest else -1
        self._newest_seq = newest.last_seq if newest else -1
        self._is_full = False  # it was told that the tmpfs is
        self._is_short = False  # it was told that memory is

    @property
    def memory_bytes(self) -> int:
        """The memory that it has."""
        return self.blocks.memory_bytes

    # the camera's thread ------------------------------------------------------------------

    def append(self, packet: Packet) -> None:
        """Keep a packet, in decoding order; its place says whether there was room.

        One that stands for itself is kept by `begin`: those that no frame is made of cost nothing.
        """
        head = packet.head
        if head is not None and head.is_intra:
            self._staged = packet
        else:
            self._append(packet)

    def begin(
        self, seq: int, captured: Moment, height: int, width: int, origin: Origin, packet: Packet
    ) -> Place | None:
        """Number a packet's frame. None: the packet found no room, or is gone."""
        if packet is self._staged:
            self._staged = None
            self._append(packet)
        at = packet.place
        if at is None or at[0].gone:
            return None
        if packet.leading and (at[0].before is None or not at[0].before.whole):
            return None
        return Place(self, seq, captured, origin, height, width, at, NOT_DECODED)

    def commit(self, place: Place, error: str | None = None) -> None:
        """Show the frame to readers."""
        group, index = place.at
        seq, captured, origin = place.seq, place.captured, place.origin
        at = self.blocks.place(group.blocks, group.records[index].at - layout.RECORD_BYTES)
        position = -1 if origin.position is None else origin.position
        mono_ns = captured.mono_ns
        layout.MOMENT.pack_into(
            self._memory, at + layout.MOMENT_AT, mono_ns, captured.utc_ns, position
        )
        layout.SEQ.pack_into(self._memory, at + layout.SEQ_AT, seq + 1)
        self._newest_ns = group.last_ns = mono_ns
        self._newest_seq = group.last_seq = seq
        shown = Shown(group, index, captured, origin, error)
        with self._lock:
            self._groups.show(seq, shown)

    def stamp(self, seq: int, captured: Moment, flags: int) -> None:
        """Note that frame `seq` was captured, whether it found room or not."""
        at = self._stamps_at + seq % self.shape.stamps * layout.STAMP_BYTES
        # Cleared, then filled, without a mark: until that agrees with its seq, the entry is none
        layout.STAMP.pack_into(self._memory, at, 0, seq, captured.mono_ns, captured.utc_ns, flags)
        layout.MARK.pack_into(self._memory, at, seq + 1)

    def interrupted(self) -> None:
        """What follows does not go on from what there is."""
        self._open = None
        self._staged = None

    def _append(self, packet: Packet) -> None:
        if packet.head is not None:
            self._open = self._begun(packet.head)
        group = self._open
        if group is None or not group.whole:
            return
        if not self._write(group, packet.data, layout.LEADING * packet.leading):
            group.whole = False  # without it those after it are no pictures
            return
        packet.place = (group, len(group.records) - 1)

    def _begun(self, head: Head) -> Group | None:
        """A new group, with its head alone; None: there is no room."""
        before = self._open if head.joined else None
        group = Group(self._next, head, before)
        group.last_ns, group.last_seq = self._newest_ns, self._newest_seq
        with self._lock:
            self._groups.add(group)
        data = layout.HEAD.pack(
            head.codec.encode("ascii"), head.height, head.width, before is not None
        )
        if self._write(group, data + head.extradata, 0):
            return group
        with self._lock:
            self.blocks.free(self._groups.remove(group).blocks)
        return None

    def _write(self, group: Group, data: bytes | memoryview, flags: int) -> bool:
        """One more record of the newest group; False: there is no room."""
        chain, at, size = group.blocks, group.tail, len(data)
        payload = at + layout.RECORD_BYTES
        end = payload + layout.aligned(size)
        while len(chain) * layout.BLOCK < end:
            number = self._block(group)
            if number is None:
                return False
            chain.append(number)
        self.blocks.write(chain, payload, data)
        start = self.blocks.place(chain, at)
        layout.RECORD.pack_into(self._memory, start, 0, 0, 0, 0, -1, size, flags)
        self._next += 1
        layout.MARK.pack_into(self._memory, start, self._next)
        group.tail = end
        group.records.append(Record(payload, size, bool(flags & layout.LEADING)))
        return True

    def _block(self, group: Group) -> int | None:
        """A block for the newest group: a free one, or more memory, or the oldest group's."""
        while (number := self.blocks.take(group.number, len(group.blocks))) is None:
            with self._lock:
                beyond = self._groups.leave_if(self._is_beyond)
                if beyond is not None:
                    self.blocks.free(beyond.blocks)
            if beyond is not None:
                self.shortened = None
            elif not self._gain() and not self._cut_short():
                return None
        return number

    def _cut_short(self) -> bool:
        """Take blocks from within the history; False: all of it is leased."""
        with self._lock:
            held, leased = len(self._groups), self._groups.leased
            group = self._groups.leave()
            if group is not None:
                self.blocks.free(group.blocks)
        if group is None:
            return False
        if leased:  # it is for a while
            return True
        self.shortened = held
        if not self._is_short:
            self._is_short = True
            _log.warning(
                "camera %s: memory holds %d frames, not %s; raise memory",
                self.name, held, self._span, extra={"CAMERA": self.name},
            )  # fmt: skip
        return True

    def _gain(self) -> bool:
        try:
            return self.blocks.gain(self._directory, self.file_name)
        except RingError as error:
            if not self._is_full:
                self._is_full = True
                _log.warning(
                    "camera %s: the history stays short: %s", self.name, error,
                    extra={"CAMERA": self.name},
                )  # fmt: skip
            return False

    def _is_beyond(self, group: Group) -> bool:
        """Whether all of a group is older than the history, as a trigger that is late sees it."""
        if self._span.frames is not None:
            kept = self._span.frames + self._span.frames // 4
            return group.last_seq <= self._newest_seq - kept
        spare_ns = max(SECOND_NS, min(_LATE_NS, self._span.ns // 4))
        return group.last_ns < self._newest_ns - self._span.ns - spare_ns

    # any thread ---------------------------------------------------------------------------

    def holds(self, seq: int) -> bool:
        return self._groups.find(seq) is not None

    def lease(self, seq: int) -> Lease | None:
        """Keep frame `seq`, and all that it is decoded from. None: it is gone."""
        with self._lock:
            shown = self._groups.lease(seq)
        if shown is None:
            return None
        head = shown.group.head
        full = (head.height, head.width)
        return Lease(self, Frame(seq, shown.captured, NOT_DECODED, shown.origin, shown.error, full))

    def hold(self, lease: Lease, strong: int, weak: int) -> None:
        """What `lease`, one of this ring's, holds from now on."""
        with self._lock:
            if added := lease.turn(strong, weak):
                self._groups.change(lease.seq, *added)

    def find(self, seq: int) -> Shown | None:
        """Where a frame is; None: it is gone."""
        with self._lock:
            return self._groups.find(seq)

    def read(self, group: Group, nth: int) -> bytes | None:
        """A record's payload, copied; None: the group is gone."""
        record = group.records[nth]
        data = self.blocks.read(group.blocks, record.at, record.size)
        return None if group.gone else data  # looked at last: it was whole until then

    def sizes(self) -> set[tuple[int, int]]:
        """Width, height of the frames that are held."""
        with self._lock:
            return self._groups.sizes()

    def leased(self) -> int:
        """Frames with a lease, weak ones included."""
        with self._lock:
            return self._groups.leased

    @property
    def evicted(self) -> int:
        """Frames that gave way to newer ones, or went with what they referred to."""
        return self._groups.evicted

    def leases(self) -> dict[int, bool]:
        """The frames held, and of each whether somebody leases it, weakly too."""
        with self._lock:
            return self._groups.leases()

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return (
            f"<PacketRing {self.name} {len(self)} frames in {self._groups.count} groups, "
            f"{self.blocks}, {self.leased()} leased>"
        )
