"""What a process that died, or stopped, left in a ring of packets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.buffer import layout as tables
from framebuf.buffer import packetlayout as layout
from framebuf.buffer.blocks import Blocks
from framebuf.buffer.coded import CODECS, Head
from framebuf.buffer.directory import mapped
from framebuf.buffer.group import Group, Record, Shown
from framebuf.buffer.recovery import as_stamps, read_row, stamp_table, whose
from framebuf.errors import RingError
from framebuf.frames import LIVE, Origin
from framebuf.units import Moment

if TYPE_CHECKING:
    import mmap

    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.history import Stamp

_LARGEST_SIDE = 65_536
"""Pixels; no codec has more."""


@dataclass(frozen=True, slots=True)
class RecoveredPackets:
    """What a file holds, every packet whole: of each group all from its key frame on."""

    memory: mmap.mmap
    blocks: Blocks
    groups: list[Group]
    """By number; the last may lack its end."""
    shown: dict[int, Shown]
    """Frames by seq."""
    stamps: list[Stamp]


def recover_packets(
    directory: RingDirectory, file_name: str, camera: str, boot_id: str, now_ns: int
) -> RecoveredPackets:
    """The ring of packets in a file of this boot. What is inconsistent in it is passed over.

    Raises:
        RingError: it is no ring that could be used. It says why.
    """
    try:
        file = directory.open_file(file_name)
    except OSError as error:
        raise RingError(error.strerror) from error
    try:
        shape = _shape(file, camera, boot_id)
        os.posix_fallocate(file, 0, shape.blocks_at)
        memory = mapped(file, shape.file_bytes, whole=False)
        chains, gained = _chains(shape, memory)
        os.posix_fallocate(file, 0, shape.block_at(gained))
    except OSError as error:
        raise RingError(error.strerror) from error
    finally:
        os.close(file)
    table = stamp_table(memory, shape.stamps_at, shape.stamps, now_ns)
    reader = _Reader(memory, Blocks(shape, memory, gained), as_stamps(table))
    groups = [group for number, chain in chains if (group := reader.group(number, chain))]
    held = [number for group in groups for number in group.blocks]
    _free_the_rest(shape, memory, held, gained)
    return RecoveredPackets(
        memory, Blocks(shape, memory, gained, held), groups, reader.shown, reader.stamps
    )


def _shape(file: int, camera: str, boot_id: str) -> layout.PacketShape:
    row = read_row(file, layout.MAGIC, layout.VERSION)
    boot, owner = whose(row)
    if owner != camera:
        raise RingError(f"is a ring of camera {owner}")
    if boot != boot_id:
        raise RingError("is a ring of another boot")
    shape = layout.PacketShape(int(row["slots"]), int(row["stamps"]))
    about = os.fstat(file)
    if not shape.blocks or not shape.stamps or int(row["stride"]) != layout.BLOCK:
        raise RingError(f"says {shape.blocks} blocks of {row['stride']} bytes")
    if shape.file_bytes != about.st_size:
        raise RingError(f"has {about.st_size} bytes, not the {shape.file_bytes} that it says")
    if about.st_blocks * 512 < shape.blocks_at:
        raise RingError("has holes where its tables should be")
    return shape


def _chains(
    shape: layout.PacketShape, memory: mmap.mmap
) -> tuple[list[tuple[int, list[int]]], int]:
    """Each group's number and blocks, in order; and up to which block there must be memory."""
    entry = np.dtype([("group", "<u8"), ("ordinal", "<u4"), ("reserved", "<u4")])
    table = np.array(np.ndarray(shape.blocks, entry, memory, offset=shape.table_at))
    used = np.flatnonzero(table["group"])
    parts: dict[int, dict[int, int]] = {}
    for number in used.tolist():
        row = table[number]
        parts.setdefault(int(row["group"]) - 1, {})[int(row["ordinal"])] = number
    chains = []
    for group in sorted(parts):
        of = parts[group]
        chain = [of[at] for at in range(len(of)) if at in of]
        if len(chain) == len(of):  # else its first block was freed, or an entry is damaged
            chains.append((group, chain))
    highest = int(used[-1]) + 1 if len(used) else 0
    return chains, min(shape.blocks, -(-highest // layout.CHUNK) * layout.CHUNK)


def _free_the_rest(
    shape: layout.PacketShape, memory: mmap.mmap, held: list[int], gained: int
) -> None:
    """What belongs to no group must not look as if it did once a chain has taken its place."""
    for number in set(range(gained)).difference(held):
        layout.MARK.pack_into(memory, shape.entry_at(number), 0)


class _Reader:
    """Reads groups one after the other, in the order of their numbers."""

    def __init__(self, memory: mmap.mmap, blocks: Blocks, stamps: list[Stamp]) -> None:
        self.shown: dict[int, Shown] = {}
        self.stamps = stamps
        self._memory = memory
        self._blocks = blocks
        self._stamped = {stamp.seq: stamp for stamp in stamps}
        self._oldest = stamps[0].seq if stamps else 2**63
        self._before: Group | None = None

    def group(self, number: int, chain: list[int]) -> Group | None:
        """A group and its frames; None: its head is not whole."""
        found = self._record(number, chain, 0)
        head = _head(self._blocks.read(chain, *found[:2])) if found else None
        if found is None or head is None:
            return None
        before = self._before
        joined = head.joined and before is not None
        joined = joined and before is not None and number == before.number + len(before.records)
        group = self._before = Group(number, head, before if joined else None)
        group.blocks = chain
        at, end = 0, len(chain) * layout.BLOCK
        while found is not None:
            payload, size, flags, place = found
            group.records.append(Record(payload, size, bool(flags & layout.LEADING)))
            if place is not None and len(group.records) > 1:
                self._show(group, *place)
            at = group.tail = payload + layout.aligned(size)
            more = at + layout.RECORD.size <= end
            found = self._record(number + len(group.records), chain, at) if more else None
        return group

    def _record(
        self, number: int, chain: list[int], at: int
    ) -> tuple[int, int, int, tuple[int, Moment, Origin] | None] | None:
        """Place and size of its payload, its flags, and its frame; None: no such record."""
        start = self._blocks.place(chain, at)
        mark, seq, mono, utc, position, size, flags = layout.RECORD.unpack_from(self._memory, start)
        payload = at + layout.RECORD.size
        if mark != number + 1 or payload + size > len(chain) * layout.BLOCK:
            return None
        origin = LIVE if position < 0 else Origin(position)
        return payload, size, flags, (seq - 1, Moment(mono, utc), origin) if seq else None

    def _show(self, group: Group, seq: int, captured: Moment, origin: Origin) -> None:
        """Take a frame that agrees with its stamp, or is older than all of them."""
        stamp = self._stamped.get(seq)
        known = stamp.captured == captured if stamp else seq < self._oldest
        if not known or seq in self.shown:
            return
        index = len(group.records) - 1
        if group.records[index].leading and group.before is None:
            return
        self.shown[seq] = Shown(group, index, captured, origin)
        group.seqs.append(seq)
        group.last_ns = max(group.last_ns, captured.mono_ns)
        group.last_seq = max(group.last_seq, seq)


def _head(data: bytes) -> Head | None:
    if len(data) < layout.HEAD.size:
        return None
    name, height, width, joined = layout.HEAD.unpack_from(data)
    codec = name.rstrip(b"\0").decode("ascii", "replace")
    sane = 0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE
    if codec not in CODECS or not sane:
        return None
    return Head(codec, data[layout.HEAD.size :], height, width, bool(joined))


def header_of(shape: layout.PacketShape, boot: str, camera: str) -> Any:
    """HEADER of a new file, but for its magic."""
    header = np.zeros(1, tables.HEADER)
    header[0] = (
        b"", layout.VERSION, shape.blocks, layout.BLOCK, shape.stamps, tables.PAGE,
        boot.encode("ascii"), camera.encode("ascii"),
    )  # fmt: skip
    return header
