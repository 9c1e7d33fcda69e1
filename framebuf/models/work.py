"""What a context has done, counted."""

from __future__ import annotations

from framebuf.histogram import FRAMES, SECONDS, Histogram


class Work:
    """Since the process started. Any thread reads.

    `busy_ns` is added to by the context's own thread, all else by the one that reads its results.
    """

    def __init__(self) -> None:
        self.busy_ns = 0
        """Nanoseconds of inference, times the cores that it took."""
        self.padded = 0
        """Rows that ran with zeros, for want of frames."""
        self.failed = 0
        """Runs that the runtime failed."""
        self.filled = Histogram(FRAMES)
        """Frames in each batch that ran."""
        self.wait = Histogram(SECONDS)
        """From ready to taken, each frame."""
        self.prepare = Histogram(SECONDS)
        """Each frame's share of its tensor."""
        self.infer = Histogram(SECONDS)
        """Each batch."""
        self.post = Histogram(SECONDS)
        """Each frame's share of reading what came out."""

    def __repr__(self) -> str:
        return f"<Work {self.filled!r} batches, {self.busy_ns / 1e9:.1f} s>"
