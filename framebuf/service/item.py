"""One frame that a request asks for, and what has become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.lease import Lease
    from framebuf.buffer.window import Asked
    from framebuf.contract import Reason
    from framebuf.frames import Frame
    from framebuf.results import Inference
    from framebuf.service.images import Wait
    from framebuf.service.tally import Tally


@dataclass(slots=True, eq=False)
class Item:
    """Only the requests' thread, but for `confirm`."""

    asked: Asked
    lease: Lease | None = None
    frame: Frame | None = None
    """None where it was gone before it could be leased."""
    payload: bytes = b""
    """Its result, until that goes out; empty for ever where it is missing."""
    settled: bool = False
    missing: Reason | None = None
    """Why it has no result."""
    failed: bool = False
    labels: tuple[str, ...] = ()
    batches: tuple[Inference, ...] = ()
    """Those that answered it, or some of it."""
    over: bool = False
    """The broker has its result, or it will have none."""
    picture: Lease | None = None
    """Strong until it is known that no picture is wanted; the encoder's from then on."""
    view: Lease | None = None
    """As `picture`, for the camera's newest picture, where frames are decoded on demand."""
    wait: Wait | None = None
    """The picture that its result waits for, or waited for."""
    jpeg: bytes = b""
    """That picture, until it goes out."""
    confirmed: Callable[[], None] | None = None
    """Called once the broker has the picture and its result."""

    def confirm(self) -> None:
        """The broker has its result. On any thread."""
        if self.confirmed is not None:
            self.confirmed()
            self.confirmed = None

    def release(self) -> None:
        """Nothing is wanted of its frame any more."""
        for lease in (self.lease, self.picture, self.view):
            if lease is not None:
                lease.release()
        self.confirm()

    def count(self, tally: Tally) -> None:
        """Add what has become of it."""
        if self.missing is not None:
            tally.missing[self.missing] += 1
            return
        tally.failed += self.failed
        tally.summary.update(self.labels)
        for batch in self.batches:
            tally.runs[batch.model, batch.run] = batch.ms
