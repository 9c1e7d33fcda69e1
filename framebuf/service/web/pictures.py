"""Pictures for the page: small, few, and none at all rather than one too many."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.group import Group
    from framebuf.buffer.packets import PacketRing
    from framebuf.frames import Frame
    from framebuf.service.drawing import Picture

SHARE = 0.05
"""Of one core's time, at most, goes into pictures; beyond it they are left out."""
BURST_S = 0.5
"""So much of it may be spent at once."""
LONGEST_S = 3.0
"""Of one core's time for one picture: a frame far behind its key frame is not shown."""
MOST_BYTES = 8 * 2**20
"""Of pictures that were made, for those who look at the same."""
QUALITY = 70
WIDTHS = (160, 480, 960)
"""Pixels; the first is the film strip's."""


class NoTimeError(Exception):
    """Pictures have had their share of the time."""


class Pictures:
    """Makes JPEGs of frames held, and remembers the last ones. Only the thread `web`.

    A frame is leased while its picture is made, a few milliseconds; seconds, where it is decoded
    from a key frame long before it. One picture at a time.
    """

    def __init__(self, buffers: Mapping[str, Buffer]) -> None:
        self._buffers = buffers
        self._made: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._one = asyncio.Lock()
        self._closing = threading.Event()
        self._left_s = BURST_S
        self._then_s = time.monotonic()
        self.shed = 0
        """Pictures that were asked for and not made, for want of time."""

    def kept(self, camera: str, seq: int, width: int) -> bytes | None:
        """A picture that was made before and is remembered."""
        jpeg = self._made.get((camera, seq, width))
        if jpeg is not None:
            self._made.move_to_end((camera, seq, width))
        return jpeg

    def may_make(self) -> bool:
        """Whether there is time for one more; else it is counted as shed."""
        now_s = time.monotonic()
        self._left_s = min(BURST_S, self._left_s + (now_s - self._then_s) * SHARE)
        self._then_s = now_s
        if self._left_s <= 0:
            self.shed += 1
        return self._left_s > 0

    async def picture(self, camera: str, seq: int, width: int) -> bytes | None:
        """As `make`, on another thread, for others are served meanwhile; or what was made before.

        Raises:
            NoTimeError: there is no time for it now.
        """
        if (jpeg := self.kept(camera, seq, width)) is not None:
            return jpeg
        async with self._one:
            if (jpeg := self.kept(camera, seq, width)) is not None:
                return jpeg
            if not self.may_make():
                raise NoTimeError
            jpeg, taken_s = await asyncio.to_thread(self._made_of, camera, seq, width)
            return self._charged((camera, seq, width), jpeg, taken_s)

    def make(self, camera: str, seq: int, width: int) -> bytes | None:
        """A JPEG of frame `seq`, no wider than `width`. None: it is gone, or shows nothing."""
        return self._charged((camera, seq, width), *self._made_of(camera, seq, width))

    def close(self) -> None:
        """Make what is being made no further."""
        self._closing.set()

    def _made_of(self, camera: str, seq: int, width: int) -> tuple[bytes | None, float]:
        """The picture, and the seconds that it took. Any thread."""
        begun_s = time.thread_time()
        buffer = self._buffers[camera]
        lease = buffer.lease(seq)
        if lease is None:
            return None, 0.0
        try:
            pixels = _pixels(buffer, lease.frame, self._closing)
            jpeg = None if pixels is None else _jpeg(pixels, width)
        finally:
            lease.release()
        return jpeg, time.thread_time() - begun_s

    def _charged(
        self, key: tuple[str, int, int], jpeg: bytes | None, taken_s: float
    ) -> bytes | None:
        self._left_s -= taken_s
        if jpeg is not None:
            self._keep(key, jpeg)
        return jpeg

    def _keep(self, key: tuple[str, int, int], jpeg: bytes) -> None:
        self._bytes += len(jpeg) - len(self._made.pop(key, b""))  # the strip makes some anew
        self._made[key] = jpeg
        while self._bytes > MOST_BYTES:
            _, old = self._made.popitem(last=False)
            self._bytes -= len(old)

    def __repr__(self) -> str:
        return f"<Pictures {len(self._made)} kept, {self._bytes} bytes, {self.shed} shed>"


class _Hurried:
    """Reads packets as long as there is time. The thread that makes it."""

    def __init__(self, ring: PacketRing, closing: threading.Event) -> None:
        self._ring = ring
        self._closing = closing
        self._until_s = time.thread_time() + LONGEST_S

    def read(self, group: Group, nth: int) -> bytes | None:
        """A record's payload; None, too, where the time is over."""
        if self._closing.is_set() or time.thread_time() > self._until_s:
            return None
        return self._ring.read(group, nth)


def _pixels(buffer: Buffer, frame: Frame, closing: threading.Event) -> Picture | None:
    """(height, width, 3) uint8 BGR; of a frame that is held encoded, decoded from its key frame."""
    if frame.error is not None:
        return None
    place = buffer.coded(frame.seq)
    if place is None:
        return frame.pixels if frame.pixels.size else None
    from framebuf.buffer.decoder import Converter, GroupDecoder  # noqa: PLC0415 - as it is needed

    ring, shown = place
    leads = shown.group.records[shown.nth].leading
    decoder = GroupDecoder(
        _Hurried(ring, closing), shown.group, shown.group.before if leads else None
    )
    picture = decoder.picture(shown.nth)
    if isinstance(picture, str):
        return None
    try:
        return Converter().bgr(picture)
    except ValueError:
        return None


def _jpeg(pixels: Picture, width: int) -> bytes | None:
    """A (height, width, 3) uint8 BGR picture, made smaller; None: it cannot be encoded.

    Of a much larger one every k-th pixel first, then means of four, then between them: a fifth of
    the time that INTER_AREA takes for all of it, and the eye is none the wiser.
    """
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    step = max(1, pixels.shape[1] // (2 * width))
    small = np.ascontiguousarray(pixels[::step, ::step])
    if small.shape[1] >= 2 * width and small.shape[0] >= 2:
        even = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
        size = (even.shape[1] // 2, even.shape[0] // 2)
        small = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    if small.shape[1] > width:
        small = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    try:
        done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error:
        return None
    return jpeg.tobytes() if done else None
