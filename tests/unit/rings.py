"""Ring folders that go away again, and a camera's hand on a buffer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.units import Moment, Size, Span

MS = 10**6
PERIOD = 40 * MS
"""25 frames a second, which is also what a buffer assumes of a source that does not say."""
EIGHT = Span(frames=8)
MEBIBYTE = Size(2**20)
UTC = 1_800_000_000 * 10**9
"""What the wall clock says when the monotonic one says 0."""


def at(mono_ns: int) -> Moment:
    return Moment(mono_ns, UTC + mono_ns)


def colour(seq: int) -> int:
    """What the pixels of frame `seq` are filled with; neighbours differ."""
    return (seq * 37 + 1) % 251


@contextmanager
def ring_folder() -> Iterator[RingDirectory]:
    path = Path(tempfile.mkdtemp(prefix="framebuf-test-", dir="/dev/shm"))
    try:
        with RingDirectory.open(path) as directory:
            yield directory
    finally:
        shutil.rmtree(path)


class Hand:
    """Writes frames into a buffer as a camera's thread does, at the times that a test says."""

    def __init__(self, directory, *, span=EIGHT, memory=MEBIBYTE, rate=25.0, **more):
        self.commits = 0
        self.directory = directory
        self.buffer = Buffer(
            "gate", directory, span=span, memory=memory, stale_ns=2000 * MS, boot_id="b-1",
            on_commit=self._count, **more,
        )  # fmt: skip
        self.buffer.opened(rate)

    def _count(self):
        self.commits += 1

    def frame(self, mono_ns, height=2, width=2):
        """One frame; its seq where it found a slot, else None."""
        slot = self.buffer.begin(at(mono_ns), height, width)
        if slot is None:
            return None
        slot.pixels[:] = colour(slot.seq)
        self.buffer.commit(slot)
        return slot.seq

    def frames(self, *times):
        return [self.frame(mono_ns) for mono_ns in times]
