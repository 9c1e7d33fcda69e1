"""What is in one ring of packets, into another: memory is another now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from framebuf.buffer.coded import Packet
from framebuf.buffer.succession import mark

if TYPE_CHECKING:
    from framebuf.buffer.packetrecovery import RecoveredPackets
    from framebuf.buffer.packets import PacketRing


def move(found: RecoveredPackets, old: PacketRing, new: PacketRing) -> None:
    """Copy all that was found in one ring to another, the oldest first."""
    for stamp in found.stamps:
        mark(new, stamp)
    seq_of = {(shown.group, shown.nth): seq for seq, shown in found.shown.items()}
    for group in found.groups:
        head = replace(group.head, joined=group.before is not None)
        for index, record in enumerate(group.records[1:], start=1):
            data = old.read(group, index)
            if data is None:
                break
            packet = Packet(data, head if index == 1 else None, record.leading)
            new.append(packet)
            seq = seq_of.get((group, index))
            if seq is None:
                continue
            shown = found.shown[seq]
            place = new.begin(seq, shown.captured, head.height, head.width, shown.origin, packet)
            if place is not None:
                place.commit()
