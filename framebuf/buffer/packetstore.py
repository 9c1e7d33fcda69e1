"""PacketStore: a buffer's frames as the camera sent them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from framebuf.buffer import packetlayout as layout
from framebuf.buffer import recovery
from framebuf.buffer.blocks import Blocks
from framebuf.buffer.directory import PACKETS
from framebuf.buffer.extent import ASSUMED_RATE, Extent
from framebuf.buffer.packetmove import move
from framebuf.buffer.packetrecovery import RecoveredPackets, header_of, recover_packets
from framebuf.buffer.packets import PacketRing
from framebuf.buffer.succession import rate_of
from framebuf.errors import ConfigError, RingError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.buffer.coded import Packet
    from framebuf.buffer.directory import RingDirectory
    from framebuf.buffer.group import Shown
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.lease import Lease
    from framebuf.buffer.packets import Place
    from framebuf.buffer.quota import Format, Quota
    from framebuf.contract import Reason
    from framebuf.frames import Origin

_log = logging.getLogger(__name__)

_FEWEST = 2 * layout.CHUNK
"""Blocks without which there is no ring: a second or two of a camera."""


class PacketStore:
    """A Store of one ring of packets, which takes as much of `memory` as its history needs."""

    def __init__(self, name: str, directory: RingDirectory, quota: Quota, boot_id: str) -> None:
        self._name = name
        self._directory = directory
        self._quota = quota
        self._boot_id = boot_id
        self._made = 0
        self._ring: PacketRing | None = None
        self._rate = ASSUMED_RATE
        self._lost = -1  # a frame that was not whole at a crash

    @property
    def extent(self) -> Extent | None:
        """As many frames as were asked for; fewer while memory is short of that."""
        ring = self._ring
        if ring is None:
            return None
        asked = frames_of(self._quota, self._rate)
        held = ring.shortened
        short = held is not None and held < asked
        return Extent(max(1, held) if held is not None and short else asked, 0, short)

    def recover(self, now_ns: int) -> list[Stamp]:
        """Take over what is left of this boot; the stamps known, in order."""
        found: list[tuple[int, str, RecoveredPackets]] = []
        for name in self._directory.names(PACKETS):
            number = recovery.number_of(name, self._name, PACKETS)
            if number is None:
                continue
            self._made = max(self._made, number + 1)
            try:
                one = recover_packets(self._directory, name, self._name, self._boot_id, now_ns)
            except RingError as error:
                recovery.remove_broken(self._directory, name, error)
            else:
                found.append((one.stamps[-1].seq if one.stamps else -1, name, one))
        found.sort(key=lambda entry: entry[:2])
        for _, name, _ in found[:-1]:  # a move to another file was not over
            self._directory.remove(name)
        if not found:
            return []
        _, name, one = found[-1]
        self._rate = rate_of(one.stamps)
        self._ring = self._opened(name, one)
        if one.stamps and not one.stamps[-1].dropped and not self._ring.holds(one.stamps[-1].seq):
            self._lost = one.stamps[-1].seq
        return one.stamps

    def take(self, packet: Packet, rate: float) -> None:
        """Keep what has come, in decoding order; `rate` is that of frames, a second.

        Raises:
            ConfigError: `memory` does not hold a second or two.
            RingError: the tmpfs has no room.
        """
        self._rate = rate
        if self._ring is None:
            self._ring = self._created(self._shape())
        self._ring.append(packet)

    def interrupted(self) -> None:
        """What comes next does not go on from what there is."""
        if self._ring is not None:
            self._ring.interrupted()

    def ring_for(self, frames: Format, known: Callable[[int], Sequence[Stamp]]) -> PacketRing:
        """The ring; there is one from the first packet on."""
        if self._ring is None:
            newest = known(-1)[-1:]
            raise RuntimeError(f"{frames} before its packet, after {newest}")
        return self._ring

    def begin(
        self, stamp: Stamp, frames: Format, origin: Origin, packet: Packet | None
    ) -> Place | None:
        """Number a packet's frame; None: the packet found no room."""
        if self._ring is None or packet is None:
            raise RuntimeError("a frame without its packet for a ring of packets")
        return self._ring.begin(
            stamp.seq, stamp.captured, frames.height, frames.width, origin, packet
        )

    def lease(self, seq: int) -> Lease | None:
        return self._ring.lease(seq) if self._ring else None

    def why_gone(self, stamp: Stamp) -> Reason:
        if stamp.dropped:
            return "memory"
        return "frames_lost" if stamp.seq == self._lost else "evicted"

    def coded(self, seq: int) -> tuple[PacketRing, Shown] | None:
        """Where a frame's packet is; None: it is gone."""
        ring = self._ring
        shown = ring.find(seq) if ring else None
        return (ring, shown) if ring and shown else None

    def largest(self) -> tuple[int, int] | None:
        sizes = self._ring.sizes() if self._ring else set()
        return max(sizes, key=lambda size: size[0] * size[1], default=None)

    def leased(self) -> int:
        return self._ring.leased() if self._ring else 0

    def leases(self) -> dict[int, bool]:
        return self._ring.leases() if self._ring else {}

    def evicted(self) -> int:
        return self._ring.evicted if self._ring else 0

    def bytes(self) -> int:
        return self._ring.memory_bytes if self._ring else 0

    def _shape(self) -> layout.PacketShape:
        """Of the file that the configuration asks for.

        Raises:
            ConfigError: `memory` does not hold a second or two.
        """
        stamps = 2 * max(frames_of(self._quota, max(self._rate, ASSUMED_RATE)), 64)
        shape = layout.PacketShape.within(self._quota.memory.bytes, stamps)
        if shape.blocks < _FEWEST:
            least = layout.PacketShape(_FEWEST, stamps).file_bytes
            raise ConfigError(
                "memory",
                f"{self._quota.memory} does not hold a second of packets",
                f"give it at least {-(-least // 2**20)} MiB",
            )
        return shape

    def _created(
        self, shape: layout.PacketShape, fill: Callable[[PacketRing], None] = lambda _: None
    ) -> PacketRing:
        """A new ring, with what `fill` writes; before that is done its file is none.

        Raises:
            RingError: the tmpfs has no room for it.
        """
        file_name = f"{self._name}.{self._made}{PACKETS}"
        present = shape.block_at(layout.CHUNK)
        memory = self._directory.map_new(
            file_name, shape.file_bytes, present, f"camera {self._name}"
        )
        self._made += 1
        header = header_of(shape, self._boot_id, self._name).tobytes()
        memory[: len(header)] = header
        blocks = Blocks(shape, memory, layout.CHUNK)
        span = self._quota.span
        ring = PacketRing(self._name, self._directory, file_name, memory, blocks, span)
        fill(ring)
        memory[: len(layout.MAGIC)] = layout.MAGIC
        return ring

    def _opened(self, file_name: str, found: RecoveredPackets) -> PacketRing:
        """The ring that was found; a new one with what is in it, where memory is another now."""
        ring = PacketRing(
            self._name, self._directory, file_name, found.memory, found.blocks,
            self._quota.span, found.groups, dict(found.shown),
        )  # fmt: skip
        try:
            wanted = self._shape()
        except ConfigError:
            return ring  # told again, and louder, once there is a camera
        if _is_as_good(ring.shape, wanted, self._quota.memory.bytes):
            return ring
        try:
            new = self._created(wanted, lambda new: move(found, ring, new))
        except RingError as error:
            _log.warning("camera %s: %s", self._name, error, extra={"CAMERA": self._name})
            return ring
        self._directory.remove(file_name)
        return new

    def __len__(self) -> int:
        return len(self._ring) if self._ring else 0

    def __repr__(self) -> str:
        return f"<PacketStore {self._ring!r}>"


def frames_of(quota: Quota, rate: float) -> int:
    """Frames of the history that is asked for."""
    span = quota.span
    asked = span.frames if span.frames is not None else -(-round(span.ns * rate) // SECOND_NS)
    return max(1, asked)


def _is_as_good(there: layout.PacketShape, wanted: layout.PacketShape, memory: int) -> bool:
    """A stream's rate is measured anew each time, and never quite the same."""
    if there.file_bytes > memory:
        return False
    return 20 * there.blocks >= 19 * wanted.blocks and 4 * there.stamps >= 3 * wanted.stamps
