"""Packet: what a camera sent for one picture, as it sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from framebuf.buffer.group import Group

INTRA = ("mjpeg",)
"""Codecs each of whose pictures stands for itself."""
CODECS = ("h264", "hevc", *INTRA)
"""Those that a ring of packets takes, as libav names them."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What must be known to decode a group of pictures: a key frame, and all up to the next."""

    codec: str
    """One of CODECS."""
    extradata: bytes
    """Of the decoder; parameter sets that stand outside the packets."""
    height: int
    """Pixels of its pictures."""
    width: int
    joined: bool = False
    """It follows the group before without a gap, which its leading pictures may refer to."""

    @property
    def is_intra(self) -> bool:
        return self.codec in INTRA


class Packet(msgspec.Struct, eq=False):
    """One picture, encoded. Belongs to the camera's thread."""

    data: bytes | memoryview
    """As it came; a view keeps the memory that libav gave it."""
    head: Head | None = None
    """Given: it is a key frame, and begins a group."""
    leading: bool = False
    """Shown before the key frame that it comes after, so it refers to the group before too."""
    place: tuple[Group, int] | None = None
    """Where it is in its ring, and which of its group's packets; None: it found no room."""
