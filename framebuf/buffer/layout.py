"""The layout of a ring file, version 1: what a daemon that starts finds of the one before.

    offset      what
    0           one page: HEADER
    stamps_at   `stamps` entries of STAMP; frame `seq` has entry `seq % stamps`
    slots_at    `slots` entries of SLOT; its pixels stand apart
    pixels_at   `slots` areas of `stride` bytes, whole pages; (height, width, 3) uint8, BGR

All integers are little-endian. Writing a frame: SLOT.generation 0 (one aligned store), pixels, the
other fields of SLOT, generation `seq + 1` last; so a slot whose generation is not 0 is whole.
A stamp is written before the slot it belongs to, its `mark` last. HEADER.magic is written last of
all that makes a new file. A slot's area may be a hole; then its generation is 0.

The order holds for a process that is killed: it did its stores up to one instruction, and the
pages are the kernel's. A tmpfs does not outlive the machine, so nothing else can tear them.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

MAGIC = b"framebuf"
VERSION = 1
PAGE = mmap.PAGESIZE

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("slots", "<u4"),
        ("stride", "<u8"),
        ("stamps", "<u4"),
        ("page", "<u4"),
        ("boot_id", "S36"),
        ("camera", "S64"),
    ]
)

STAMP = np.dtype(
    [("mark", "<u8"), ("seq", "<u8"), ("mono_ns", "<i8"), ("utc_ns", "<i8"), ("flags", "<u8")]
)
"""`mark` is seq + 1 once the entry is whole."""
STAMP_DROPPED = 1
"""The frame had no slot."""
STAMP_AFTER_GAP = 2
"""The source was reopened, or silent, before this frame."""

FILE_BYTES = 256
ERROR_BYTES = 184
SLOT = np.dtype(
    [
        ("generation", "<u8"),
        ("mono_ns", "<i8"),
        ("utc_ns", "<i8"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("position", "<i8"),  # −1: none
        ("failed", "<u4"),  # 1: `error` says why the pixels mean nothing
        ("reserved", "<u4"),
        ("file", f"S{FILE_BYTES}"),
        ("error", f"S{ERROR_BYTES}"),
        ("padding", "V24"),
    ]
)
"""512 bytes, so that no generation straddles a cache line."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that make a ring file what it is."""

    slots: int
    slot_bytes: int
    """The largest frame that fits, height · width · 3."""
    stamps: int

    @property
    def stride(self) -> int:
        return _pages(self.slot_bytes)

    @property
    def stamps_at(self) -> int:
        return _pages(HEADER.itemsize)

    @property
    def slots_at(self) -> int:
        return self.stamps_at + _pages(self.stamps * STAMP.itemsize)

    @property
    def pixels_at(self) -> int:
        return self.slots_at + _pages(self.slots * SLOT.itemsize)

    @property
    def file_bytes(self) -> int:
        return self.slot_at(self.slots)

    def slot_at(self, number: int) -> int:
        """Where the pixels of a slot begin."""
        return self.pixels_at + number * self.stride


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def clipped(text: str | None, size: int) -> bytes:
    """UTF-8 of at most `size` bytes, cut between characters."""
    data = (text or "").encode("utf-8", "surrogateescape")
    if len(data) > size:
        while size and data[size] & 0xC0 == 0x80:  # within a character
            size -= 1
    return data[:size].rstrip(b"\0")
