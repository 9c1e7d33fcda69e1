"""A camera's hand on a buffer of packets, which are made up; and small films that are encoded."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.coded import Head, Packet
from framebuf.units import Size, Span
from tests.unit.rings import MS, PERIOD, at

FOUR_SECONDS = Span(ns=4000 * MS)
MEMORY = Size(2**22)
HEAD = Head("h264", b"extra", 48, 64)
JOINED = Head("h264", b"extra", 48, 64, joined=True)


def data_of(number: int, size: int = 20_000) -> bytes:
    """What packet `number` holds; longer than a block, and another for each."""
    return np.random.default_rng(number).bytes(size)


class PacketHand:
    """Gives packets and their frames to a buffer, at a steady rate, a key frame every so many."""

    def __init__(self, directory, *, span=FOUR_SECONDS, memory=MEMORY, group=10, boot="b-1"):
        self.directory = directory
        self.buffer = Buffer(
            "gate", directory, span=span, memory=memory, stale_ns=2000 * MS, boot_id=boot,
            encoded=True,
        )  # fmt: skip
        self.buffer.opened(25.0)
        self.group = group
        self.given = 0

    @property
    def ring(self):
        return self.buffer._store._ring

    def frames(self, count, *, size=20_000, keep=lambda number: True):
        """Seqs of those that are kept and found room."""
        return [self.frame(size=size, keep=keep(self.given)) for _ in range(count)]

    def frame(self, *, size=20_000, keep=True, head=None, leading=False):
        number = self.given
        self.given += 1
        if head is None and number % self.group == 0:
            head = JOINED if number else HEAD
        packet = Packet(data_of(number, size), head, leading)
        self.buffer.take(packet)
        captured = self.buffer.arrived(at((number + 1) * PERIOD))
        if not keep:
            self.buffer.passed_over()
            return None
        place = self.buffer.begin(captured, 48, 64, packet=packet)
        if place is None:
            return None
        self.buffer.commit(place)
        return place.seq

    def held(self):
        """Seqs that can be leased."""
        return [stamp.seq for stamp in self.buffer.after(-1) if self.can_lease(stamp.seq)]

    def can_lease(self, seq):
        lease = self.buffer.lease(seq)
        if lease is None:
            return False
        lease.release()
        return True

    def data(self, seq):
        """The packet of a frame, as the ring gives it."""
        ring, shown = self.buffer.coded(seq)
        return ring.read(shown.group, shown.nth)


def moving(frames: int, size=(96, 64)):
    """(height, width, 3) uint8 pictures of texture that moves, each unlike the others."""
    width, height = size
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (height // 8, width // 4, 3), np.uint8)
    texture = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    for i in range(frames):
        picture = np.ascontiguousarray(texture[:, 2 * i % width : 2 * i % width + width])
        picture[:8, :8] = i * 9 % 256
        yield picture


def encoded_film(
    path, frames=30, *, codec="libx264", gop=10, size=(96, 64), pictures=None, **options
):
    """A video of `moving` pictures, or of others; more options go to the encoder."""
    with av.open(str(path), "w") as container:
        chosen = {"sc_threshold": "0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=25, options=chosen | options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = gop
        stream.thread_count = 1
        for i, picture in enumerate(pictures or moving(frames, size)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded_film(path):
    """Its pictures, (height, width, 3) uint8 BGR, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.reformat(format="bgr24").to_ndarray() for frame in container.decode(video=0)]
