"""When the frames of a stream were captured: by the stream's own clock, held against ours."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.units import Moment

LATENESS_NS = SECOND_NS // 2
"""How much later than others a frame may arrive and still be waited for."""

_WHILE_NS = 10 * SECOND_NS
"""The offset is the smallest of this long: quartz that is 100 ppm off drifts by 1 ms meanwhile."""
_JUMP_NS = 3 * SECOND_NS
"""No network holds a packet back for longer: the clock itself has changed."""
_LASTING_NS = 2 * SECOND_NS
"""Packets that are all late for this long are not late: something on the way takes longer now."""
_CALM = 3
"""So many packets in a row that came no faster than they were captured end the first bunch."""
_SETTLE_NS = SECOND_NS


class StreamClock:
    """Stamps frames on the monotonic clock, in capture order. One thread writes, any reads.

    Packets are late by what the network and libav hold them back, never early. So the offset of
    the stream's clock is the smallest of arrival less stream time over a while; a frame's stamp
    is its stream time plus that, which is never after its arrival. Where a frame has no time, or
    the clock jumps or goes back, its arrival is its stamp.
    """

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        """Our clock less the stream's; None: the stream has none, and arrival is the stamp."""
        self.lag_ns = 0
        """How much later than its stamp the last frame arrived."""
        self.settled = False
        """The first bunch, frames that were held back while the stream was opened, is over."""
        self._smallest: deque[tuple[int, int]] = deque()  # arrival, offset; both rising
        self._first_ns: int | None = None
        self._last: tuple[int | None, int] = (None, 0)  # stream time and arrival of a packet
        self._calm = 0
        self._late_ns: int | None = None  # since when all packets are late
        self._shown_ns: int | None = None  # stream time of the last frame
        self._stamped_ns = -1

    @property
    def kind(self) -> Literal["stream", "arrival"]:
        """What the stamps come from."""
        return "arrival" if self.offset_ns is None else "stream"

    def arrived(self, stream_ns: int | None, mono_ns: int) -> None:
        """A packet of this stream time has arrived just now."""
        self._settle(stream_ns, mono_ns)
        if stream_ns is None:
            return
        offset_ns = mono_ns - stream_ns
        if self.offset_ns is not None and abs(offset_ns - self.offset_ns) > _JUMP_NS:
            self._smallest.clear()
        while self._smallest and self._smallest[-1][1] >= offset_ns:
            self._smallest.pop()
        self._smallest.append((mono_ns, offset_ns))
        while mono_ns - self._smallest[0][0] > self._memory_ns(offset_ns, mono_ns):
            self._smallest.popleft()
        self.offset_ns = self._smallest[0][1]

    def stamp(self, stream_ns: int | None, arrived: Moment) -> Moment:
        """When the frame was captured that arrived then; frames come in the order of capture."""
        stamp_ns = arrived.mono_ns
        if stream_ns is not None:
            if self._shown_ns is not None and stream_ns < self._shown_ns:
                self._smallest.clear()
                self.arrived(stream_ns, arrived.mono_ns)
            self._shown_ns = stream_ns
            if self.offset_ns is not None:
                stamp_ns = min(stamp_ns, stream_ns + self.offset_ns)
        # Two frames of one time, or a clock that went back: still one after the other
        stamp_ns = self._stamped_ns = max(stamp_ns, self._stamped_ns + 1)
        self.lag_ns = arrived.mono_ns - stamp_ns
        return arrived.shifted(-self.lag_ns)

    def _memory_ns(self, offset_ns: int, mono_ns: int) -> int:
        """How long the smallest offset counts."""
        if offset_ns - self._smallest[0][1] <= LATENESS_NS:
            self._late_ns = None
        elif self._late_ns is None:
            self._late_ns = mono_ns
        elif mono_ns - self._late_ns > _LASTING_NS:
            return mono_ns - self._late_ns
        return _WHILE_NS

    def _settle(self, stream_ns: int | None, mono_ns: int) -> None:
        before_ns, arrived_ns = self._last
        if self._first_ns is None:
            self._first_ns = mono_ns
        elif stream_ns is None or before_ns is None:
            # RTSP's first packet has no time; with a second one there is no clock
            self.settled |= stream_ns is None and before_ns is None
        else:
            calm = 2 * (mono_ns - arrived_ns) >= stream_ns - before_ns
            self._calm = self._calm + 1 if calm else 0
        self.settled |= self._calm >= _CALM or mono_ns - self._first_ns >= _SETTLE_NS
        self._last = (stream_ns, mono_ns)

    def __repr__(self) -> str:
        return f"<StreamClock by {self.kind}, lag {self.lag_ns / 1e6:.1f} ms>"
