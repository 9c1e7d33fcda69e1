"""The layout of a file of packets, version 1: what a daemon that starts finds of the one before.

    offset      what
    0           one page: layout.HEADER, with MAGIC; slots are blocks, stride is BLOCK
    stamps_at   `stamps` entries of layout.STAMP, as in a ring of frames
    table_at    `blocks` entries of ENTRY: which group a block belongs to, and where in it
    blocks_at   `blocks` blocks of BLOCK bytes

A group of pictures has a chain of blocks. Its bytes are records, one after the other, each at a
multiple of 64: RECORD, then its payload. The first record's payload is HEAD and the extradata; each
other one is a packet, in decoding order. Records are numbered on for ever: a group by its first
record, the others from there; what an older group left in a block has lower numbers.

Writing a packet: payload, RECORD, and RECORD.mark last. `seq`, moments and position follow once the
picture's place in the order of presentation is known, `seq` last. An entry's `group` is written
last; freeing a group begins with the entry of its first block. So whatever is killed, a chain that
begins is whole up to its last mark. Blocks may be holes, and then belong to no group.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from framebuf.buffer.layout import HEADER, PAGE

MAGIC = b"framepkt"
VERSION = 1
BLOCK = 16 * 1024
"""Bytes; a multiple of pages and of ALIGN. Half of one is wasted on a group: for a JPEG of a small
camera that counts."""
ALIGN = 64
CHUNK = 64
"""Blocks that get their memory in one go: 1 MiB."""

STAMP = struct.Struct("<QQqqQ")
"""As layout.STAMP."""
STAMP_BYTES = STAMP.size
ENTRY = struct.Struct("<QII")
"""group + 1, or 0: free; ordinal in its chain; reserved."""
RECORD = struct.Struct("<QQqqqII16x")
"""mark: number + 1; seq + 1, or 0: not kept; mono_ns; utc_ns; position, −1: none; size; flags."""
RECORD_BYTES = RECORD.size
MARK, SEQ, MOMENT = struct.Struct("<Q"), struct.Struct("<Q"), struct.Struct("<qqq")
SEQ_AT, MOMENT_AT = 8, 16
LEADING = 1
"""Flag: the picture refers to the group before."""
HEAD = struct.Struct("<8sIII")
"""codec; height; width; 1: joined to the group before."""


@dataclass(frozen=True, slots=True)
class PacketShape:
    """The sizes that make a file of packets what it is."""

    blocks: int
    """The most there can be; they get memory as they are needed."""
    stamps: int

    @property
    def stamps_at(self) -> int:
        return _pages(HEADER.itemsize)

    @property
    def table_at(self) -> int:
        return self.stamps_at + _pages(self.stamps * STAMP.size)

    @property
    def blocks_at(self) -> int:
        return self.table_at + _pages(self.blocks * ENTRY.size)

    @property
    def file_bytes(self) -> int:
        return self.block_at(self.blocks)

    def block_at(self, number: int) -> int:
        return self.blocks_at + number * BLOCK

    def entry_at(self, number: int) -> int:
        return self.table_at + number * ENTRY.size

    @classmethod
    def within(cls, memory: int, stamps: int) -> PacketShape:
        """The largest whose file is within so many bytes; it may have no block."""
        room = memory - cls(0, stamps).blocks_at
        blocks = max(0, room // (BLOCK + ENTRY.size))
        while blocks and cls(blocks, stamps).file_bytes > memory:  # whole pages
            blocks -= 1
        return cls(blocks, stamps)


def aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
