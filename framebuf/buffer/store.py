"""Store: what keeps a buffer's frames, as pictures or as the camera sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.buffer.coded import Packet
    from framebuf.buffer.extent import Extent
    from framebuf.buffer.group import Shown
    from framebuf.buffer.history import Stamp
    from framebuf.buffer.lease import Lease
    from framebuf.buffer.packets import PacketRing
    from framebuf.buffer.quota import Format
    from framebuf.contract import Reason
    from framebuf.frames import Origin
    from framebuf.units import Moment


class Stamps(Protocol):
    """The table of stamps in a ring's file."""

    @property
    def stamps(self) -> int:
        """How many entries it has."""


class Ring(Protocol):
    """What the camera writes."""

    @property
    def shape(self) -> Stamps: ...

    def stamp(self, seq: int, captured: Moment, flags: int) -> None: ...


class Written(Protocol):
    """A frame between `begin` and `commit`."""

    seq: int
    captured: Moment
    origin: Origin
    pixels: NDArray[np.uint8]

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def ring(self) -> Ring: ...

    def commit(self, error: str | None = None) -> None: ...

    def discard(self) -> None: ...


class Store(Protocol):
    """`take`, `interrupted`, `ring_for` and `begin` are the camera thread's."""

    @property
    def extent(self) -> Extent | None: ...

    def recover(self, now_ns: int) -> list[Stamp]: ...

    def take(self, packet: Packet, rate: float) -> None:
        """Keep what has come, in decoding order; `rate` is that of frames, a second."""

    def interrupted(self) -> None:
        """What comes next does not go on from what there is."""

    def ring_for(self, frames: Format, known: Callable[[int], Sequence[Stamp]]) -> Ring:
        """What the next frame goes to; `known` gives the stamps newer than a seq."""

    def begin(
        self, stamp: Stamp, frames: Format, origin: Origin, packet: Packet | None
    ) -> Written | None:
        """A place in that for it; None: there is no room."""

    def lease(self, seq: int) -> Lease | None: ...

    def why_gone(self, stamp: Stamp) -> Reason: ...

    def coded(self, seq: int) -> tuple[PacketRing, Shown] | None:
        """Where a frame's packet is; None: it is gone, or not held so."""

    def largest(self) -> tuple[int, int] | None: ...

    def leased(self) -> int: ...

    def leases(self) -> dict[int, bool]:
        """The frames held, and of each whether somebody leases it, weakly too."""

    def evicted(self) -> int:
        """Frames that gave way to newer ones."""

    def bytes(self) -> int: ...

    def __len__(self) -> int: ...
