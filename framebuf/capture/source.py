"""Source: what a camera is read from, and the frames that arrive from it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from framebuf.frames import LIVE, Origin
from framebuf.units import SECOND_NS, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.buffer.coded import Packet
    from framebuf.capture.clock import StreamClock

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# a host and a port are all there is before the path: no user, no password
_BARE_HOST = re.compile(r"(\[[^\]@]*\]|[^/?#@:\[]*)(:\d*)?([/?#]|$)")
_SECRET = re.compile(
    r"([/?&;_](?:user(?:name)?|pass(?:word|wd)?|pwd|token|auth|key|secret)=)[^&/;#]*", re.IGNORECASE
)


PATIENCE_S = 1.5
"""How long a stream may be silent, unless its camera may be for longer."""
_SLACK_S = 0.5
"""So much before its camera counts as away a stream is given up."""


def patience_s(stale_ns: int) -> float:
    """How long a stream may be silent whose camera counts as away after that."""
    return max(PATIENCE_S, stale_ns / SECOND_NS - _SLACK_S)


def _nothing(dst: NDArray[np.uint8]) -> None:
    """There are no pixels to write."""


class Grab(msgspec.Struct, frozen=True, eq=False):
    """A frame that has arrived and is not yet converted. Good until the source's next grab."""

    captured: Moment
    """When it was captured, as far as the source knows: no later than it arrived."""

    height: int
    width: int
    """Pixels. Of a picture that cannot be decoded: of the last good one, 16×16 before any."""

    write: Callable[[NDArray[np.uint8]], str | None] = _nothing
    """Writes the pixels into (height, width, 3) uint8, as BGR; or says why they cannot be decoded.

    Raises SourceError.
    """

    origin: Origin = LIVE

    error: str | None = None
    """Why the picture, which exists, cannot be decoded; nothing is written then."""

    packets: tuple[Packet, ...] = ()
    """What has come since the grab before, in decoding order, where nothing is decoded."""

    packet: Packet | None = None
    """This frame's own: one of those, or one that came before."""


class Source(Protocol):
    """An open camera. One thread grabs and closes; after a SourceError it can only be closed."""

    @property
    def rate(self) -> float | None:
        """Frames a second, as far as the source knows."""

    @property
    def clock(self) -> StreamClock | None:
        """What stamps its frames, earlier than they arrive; None: they are stamped on arrival."""

    @property
    def largest(self) -> int:
        """Bytes of the largest frame, height · width · 3, where they differ; 0: nothing known."""

    def measure(self) -> float | None:
        """Frames a second: what the source says, else what it gives within a second or two.

        Before the first grab. A stream's frames come all the same, a device's are gone.

        Raises:
            SourceError: the source failed, or the stop event is set.
        """

    def grab(self) -> Grab:
        """Block until the next frame has arrived.

        Raises:
            SourceError: the source failed or ended, or the stop event is set.
        """

    def close(self) -> None:
        """Let go of the device, file or connection."""


def now() -> Moment:
    return Moment(time.monotonic_ns(), time.time_ns())


def without_credentials(url: str) -> str:
    """`url` for logs and messages: without user, password, and what looks like them in a query.

    A password may hold any character, so all up to the last @ goes unless a bare host comes first.
    """
    match = URL.match(url)
    if match is None:
        return url
    rest = url[match.end() :]
    if not _BARE_HOST.match(rest):
        rest = rest.rpartition("@")[2]
    return match[0] + _SECRET.sub(r"\1…", rest)
