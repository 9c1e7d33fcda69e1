"""FrameStore: a buffer's frames as pictures, ready for use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.buffer.rings import Rings
from framebuf.buffer.succession import Succession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.buffer.coded import Packet
    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.extent import Extent
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.lease import Lease
    from framebuf.buffer.quota import Format, Quota
    from framebuf.buffer.ring import FrameRing, Slot
    from framebuf.contract import Reason
    from framebuf.frames import Origin


class FrameStore:
    """A Store of rings of frames, the newest of which is written."""

    def __init__(self, name: str, directory: RingDirectory, quota: Quota, boot_id: str) -> None:
        self.rings = Rings(directory, quota.memory)
        self._succession = Succession(name, directory, self.rings, quota, boot_id)
        self._ring: FrameRing | None = None

    @property
    def extent(self) -> Extent | None:
        return self._succession.extent

    def recover(self, now_ns: int) -> list[Stamp]:
        """See Succession."""
        return self._succession.recover(now_ns)

    def take(self, packet: Packet, rate: float) -> None:
        """Never: its camera gives pictures."""
        raise RuntimeError(
            f"a packet of {len(packet.data)} bytes for a ring of frames ({rate:g}/s)"
        )

    def interrupted(self) -> None:
        """Pictures do not hang together."""

    def ring_for(self, frames: Format, known: Callable[[int], Sequence[Stamp]]) -> FrameRing:
        """See Succession.

        Raises:
            ConfigError: `memory` does not hold two such frames.
            RingError: the tmpfs has no room.
        """
        self._ring = self._succession.ring_for(frames, known)
        return self._ring

    def begin(
        self, stamp: Stamp, frames: Format, origin: Origin, packet: Packet | None
    ) -> Slot | None:
        """A slot in the ring that was last named; None: all are leased, or too small."""
        if self._ring is None or packet is not None:
            raise RuntimeError("begin without ring_for, or with a packet")
        return self._ring.begin(stamp.seq, stamp.captured, frames.height, frames.width, origin)

    def lease(self, seq: int) -> Lease | None:
        return self.rings.lease(seq)

    def why_gone(self, stamp: Stamp) -> Reason:
        return self.rings.why_gone(stamp)

    def coded(self, seq: int) -> None:
        """None: it holds pictures."""

    def largest(self) -> tuple[int, int] | None:
        return self.rings.largest()

    def leased(self) -> int:
        return self.rings.leased()

    def leases(self) -> dict[int, bool]:
        return self.rings.leases()

    def evicted(self) -> int:
        return self.rings.evicted()

    def bytes(self) -> int:
        return self.rings.bytes()

    def __len__(self) -> int:
        return len(self.rings)

    def __repr__(self) -> str:
        return f"<FrameStore {self._succession!r}>"
