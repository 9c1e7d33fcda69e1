"""What a camera sends, undecoded, and what decoding that costs: measured within seconds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from framebuf.buffer.decoder import Converter, GroupDecoder
from framebuf.buffer.group import Group, Record
from framebuf.capture import open_source
from framebuf.capture.source import patience_s
from framebuf.errors import SourceError

if TYPE_CHECKING:
    from framebuf.buffer.coded import Packet
    from framebuf.config import Camera

GLANCE_S = 2.5
"""How long a camera is looked at: most send a key frame meanwhile, or two."""
DECODED = 40
"""Frames that are decoded to see what that takes."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a camera sent, and what it took; milliseconds are those of one core."""

    codec: str
    bytes_a_frame: float
    group: int
    """Frames from key frame to key frame, the most that were seen; at least."""
    take_ms: float
    """To take a packet from its source."""
    decode_ms: float
    """To decode a frame."""
    convert_ms: float
    """To make a picture of it and copy that into its slot."""

    @property
    def picture_ms(self) -> float:
        """From packet to picture, where all frames are asked for."""
        return self.decode_ms + self.convert_ms


def glance(camera: Camera) -> Glance | None:
    """Look at the camera's packets; None: it has none that a ring of packets takes."""
    stop = threading.Event()
    patience = patience_s(camera.stale_ns)
    try:
        source = open_source(
            camera.source, fps=camera.fps, size=camera.size, patience_s=patience, stop=stop,
            encoded=True,
        )  # fmt: skip
    except SourceError:
        return None
    packets: list[Packet] = []
    taken_s, grabs = 0.0, 0
    try:
        until = time.monotonic() + GLANCE_S
        while not packets or time.monotonic() < until:
            begun = time.thread_time()
            grab = source.grab()
            taken_s += time.thread_time() - begun
            grabs += 1
            packets += grab.packets
    except SourceError:
        if not packets:
            return None
    finally:
        source.close()
    return _judged(packets, 1e3 * taken_s / grabs)


def _judged(packets: list[Packet], take_ms: float) -> Glance | None:
    keys = [at for at, packet in enumerate(packets) if packet.head is not None]
    first = packets[keys[0]] if keys else None
    if first is None or first.head is None:
        return None
    ends = [*keys[1:], len(packets)]
    group = max(end - start for start, end in zip(keys, ends, strict=True))
    decode_ms, convert_ms = _timed(packets[keys[0] :][:DECODED])
    mean = sum(len(packet.data) for packet in packets) / len(packets)
    return Glance(first.head.codec, mean, group, take_ms, decode_ms, convert_ms)


class _Sample:
    """Packets in memory, with a ring's manner of reading."""

    def __init__(self, packets: list[Packet]) -> None:
        self._data = [b"", *(bytes(packet.data) for packet in packets)]

    def read(self, group: Group, nth: int) -> bytes | None:
        """A packet of the only group there is."""
        return self._data[nth] if group.records else None


def _timed(packets: list[Packet]) -> tuple[float, float]:
    """Milliseconds to decode a frame, and to make a picture of it; those of the first group."""
    head = packets[0].head
    if head is None:
        return 0.0, 0.0
    if not head.is_intra:
        later = (at for at, packet in enumerate(packets) if at and packet.head is not None)
        packets = packets[: next(later, len(packets))]
    group = Group(0, head, None)
    group.records = [Record(0, 0, leading=False)]
    group.records += [Record(0, len(packet.data), packet.leading) for packet in packets]
    decoder, converter = GroupDecoder(_Sample(packets), group), Converter()
    target = np.empty((0, 0, 3), np.uint8)
    decode_s = convert_s = 0.0
    for nth in range(1, len(packets) + 1):
        begun = time.thread_time()
        picture = decoder.picture(nth) if decoder.can_give(nth) else "passed over"
        decoded = time.thread_time()
        decode_s += decoded - begun
        if not isinstance(picture, str):
            # its own size: a damaged head may say 65535×65535
            if (picture.height, picture.width) != target.shape[:2]:
                target = np.empty((picture.height, picture.width, 3), np.uint8)
            np.copyto(target, converter.bgr(picture))
            convert_s += time.thread_time() - decoded
    return 1e3 * decode_s / len(packets), 1e3 * convert_s / len(packets)
