"""How large a picture is, from the first bytes of its file: cheap, and not to be trusted."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 2**18
"""Bytes; EXIF and a thumbnail stand before a JPEG's size."""
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Markers of a JPEG's frame, which says the size (ITU-T T.81, table B.1)."""


def frame_bytes(file: Path) -> int:
    """Height · width · 3 as the file's header says; 0 where it says nothing that is known."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
    except OSError:
        return 0
    try:
        width, height = _size(head)
    except (struct.error, IndexError):  # cut short
        return 0
    return width * height * 3


def _size(head: bytes) -> tuple[int, int]:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if head.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", head, 18)
        return abs(width), abs(height)  # negative: from the top down
    if head.startswith(b"\xff\xd8"):
        return _size_of_jpeg(head)
    return 0, 0


def _size_of_jpeg(head: bytes | memoryview) -> tuple[int, int]:
    at = 2
    while head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        # a fill byte, or a segment
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", head, at + 2)[0]
    return 0, 0


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Height, width as a JPEG's header says; None where it says nothing that is known."""
    try:
        width, height = _size_of_jpeg(data)
    except (struct.error, IndexError):  # cut short
        return None
    return (height, width) if height and width else None
