"""Blocks: the memory of a ring of packets, handed out to groups of pictures block by block."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from framebuf.buffer import packetlayout as layout

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    from framebuf.buffer.directory import RingDirectory

_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of linux/mman.h, from Linux 5.14 on."""


class Blocks:
    """Chains of blocks in a mapped file, and those that are free.

    Only the camera's thread writes, takes and gains; frees too, under its ring's lock. Any thread
    may read what it knows to be held.
    """

    def __init__(
        self,
        shape: layout.PacketShape,
        memory: mmap.mmap,
        gained: int,
        held: Sequence[int] = (),
    ) -> None:
        """The first `gained` have memory; `held` of them belong to groups."""
        self.shape = shape
        self.gained = gained
        taken = set(held)
        self._memory = memory
        self._at = shape.blocks_at
        self._table_at = shape.table_at
        self._free = [number for number in range(gained - 1, -1, -1) if number not in taken]

    @property
    def memory_bytes(self) -> int:
        """The memory that they have, with the tables before them."""
        return self.shape.block_at(self.gained)

    @property
    def unused(self) -> int:
        return len(self._free)

    def gain(self, directory: RingDirectory, file_name: str) -> bool:
        """Give some more their memory; False: there are no more.

        Raises:
            RingError: the tmpfs has no room for them.
        """
        count = min(layout.CHUNK, self.shape.blocks - self.gained)
        if not count:
            return False
        start = self.shape.block_at(self.gained)
        directory.allocate(file_name, start, count * layout.BLOCK)
        # Page by page as packets come, it would cost a third of what keeping them does
        with contextlib.suppress(OSError, ValueError):
            self._memory.madvise(_POPULATE_WRITE, start, count * layout.BLOCK)
        self._free.extend(range(self.gained + count - 1, self.gained - 1, -1))
        self.gained += count
        return True

    def take(self, group: int, ordinal: int) -> int | None:
        """A block as this one of a group's chain; None: none is free."""
        if not self._free:
            return None
        number = self._free.pop()
        at = self._table_at + number * layout.ENTRY.size
        layout.ENTRY.pack_into(self._memory, at, 0, ordinal, 0)
        layout.MARK.pack_into(self._memory, at, group + 1)
        return number

    def free(self, chain: Sequence[int]) -> None:
        """Give a whole chain back, its first block first."""
        for number in chain:
            layout.MARK.pack_into(self._memory, self._table_at + number * layout.ENTRY.size, 0)
        self._free.extend(reversed(chain))

    def write(self, chain: Sequence[int], at: int, data: bytes | memoryview) -> None:
        """Into a chain, at this place in it, which must have room."""
        memory, done, size = self._memory, 0, len(data)
        ordinal, within = divmod(at, layout.BLOCK)
        while done < size:
            start = self._at + chain[ordinal] * layout.BLOCK + within
            end = min(done + layout.BLOCK - within, size)
            memory[start : start + end - done] = data[done:end]
            done = end
            ordinal, within = ordinal + 1, 0

    def read(self, chain: Sequence[int], at: int, size: int) -> bytes:
        """A copy of what is in a chain, at this place in it."""
        parts = []
        while size > 0:
            start = self.place(chain, at)
            part = min(size, layout.BLOCK - at % layout.BLOCK)
            parts.append(self._memory[start : start + part])
            size -= part
            at += part
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def place(self, chain: Sequence[int], at: int) -> int:
        """Where in the file a place of a chain is."""
        return self._at + chain[at // layout.BLOCK] * layout.BLOCK + at % layout.BLOCK

    def __repr__(self) -> str:
        return f"<Blocks {self.gained - self.unused}/{self.gained} of {self.shape.blocks}>"
