"""One request: its frames, their answers in capture order, and the done document that ends it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.contract import (
    Done,
    DoneTimings,
    FramePlace,
    Image,
    Outcome,
    Reason,
    Result,
    WindowTimes,
    encode,
    fit_result,
    utc_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.lease import Lease
    from framebuf.buffer.window import Asked, Window
    from framebuf.frames import Frame
    from framebuf.results import FrameResult
    from framebuf.service.images import Wait
    from framebuf.service.orders import Order


@dataclass(slots=True, eq=False)
class Item:
    """One frame that is asked for."""

    asked: Asked
    lease: Lease | None = None
    frame: Frame | None = None
    """None where it was gone before it could be leased."""
    payload: bytes = b""
    """Its result, until that goes out; empty for ever where it is missing."""
    settled: bool = False
    picture: Lease | None = None
    """Strong until it is known that no picture is wanted; the encoder's from then on."""
    wait: Wait | None = None
    """The picture that its result waits for, or waited for."""
    jpeg: bytes = b""
    """That picture, until it goes out."""
    confirmed: Callable[[], None] | None = None
    """Called on release."""

    def release(self) -> None:
        """The broker has its result, or it will have none. On any thread."""
        for lease in (self.lease, self.picture):
            if lease is not None:
                lease.release()
        if self.confirmed is not None:
            self.confirmed()
            self.confirmed = None


class Request:
    """The state of one accepted trigger. Only the requests' thread."""

    def __init__(self, order: Order, window: Window) -> None:
        self.order = order
        self.window = window
        self.started = False
        """Its window was opened; until then its moment is not past."""
        self.ended = False
        self.items: list[Item] = []
        self.unsettled = 0
        self.published = 0
        self.failed = 0
        self.missing: Counter[Reason] = Counter()
        self._summary: Counter[str] = Counter()
        self._infer_ms: dict[int, float] = {}
        self._flushed = 0

    def add(self, asked: Asked) -> Item:
        """One more frame, in capture order."""
        item = Item(asked)
        self.items.append(item)
        self.unsettled += 1
        return item

    def answer(
        self,
        item: Item,
        result: FrameResult,
        image: Image | None = None,
        room: int | None = None,
    ) -> Result:
        """The frame has its result; it goes out when all before it have gone.

        Of one that has more than `room` bytes, what fits goes out; what will is returned.
        """
        self._settle(item)
        if item.frame is None:
            raise RuntimeError("an answer to a frame that was never leased")
        message = Result.of(
            self.order.id,
            item.asked.index,
            self.order.camera,
            _place(item.frame, self.order.moment.mono_ns),
            result,
            image,
        )
        item.payload = encode(message)
        if room is not None and len(item.payload) > room:
            message = fit_result(message, room)
            item.payload = encode(message)
        self.failed += message.error is not None
        if result.findings is not None and message.error is None:
            self._summary.update(sorted(result.findings.labels()))
        if result.run >= 0:
            self._infer_ms[result.run] = result.ms.infer
        return message

    def lose(self, item: Item, reason: Reason) -> None:
        """The frame will have no result."""
        self._settle(item)
        self.missing[reason] += 1
        item.release()

    def flush(self) -> list[Item]:
        """The results that may go out now, in capture order."""
        out = []
        while self._flushed < len(self.items) and self.items[self._flushed].settled:
            item = self.items[self._flushed]
            self._flushed += 1
            if item.payload:
                out.append(item)
        self.published += len(out)
        return out

    def done(self, now_ns: int, boot_id: str) -> Done:
        """The document that ends it."""
        missing = {reason: count for reason, count in self.missing.items() if count}
        return Done(
            event_type=self._outcome(),
            id=self.order.id,
            camera=self.order.camera,
            requested=self.published + sum(missing.values()),
            published=self.published,
            failed=self.failed,
            missing=missing,
            thinned=self.window.thinned,
            already_claimed=self.window.already_claimed,
            window=self._times(),
            summary=dict(self._summary.most_common()),
            ms=DoneTimings(
                total=round((now_ns - self.order.received.mono_ns) / 1e6, 3),
                infer=round(sum(self._infer_ms.values()), 3),
            ),
            boot_id=boot_id,
            attempts=1,
            meta=self.order.meta,
        )

    def _settle(self, item: Item) -> None:
        if item.settled:
            raise RuntimeError(f"frame {item.asked.index} of {self.order.id} settled twice")
        item.settled = True
        self.unsettled -= 1

    def _outcome(self) -> Outcome:
        lost = sum(self.missing.values())
        if not lost and not self.failed:
            return "complete"
        return "failed" if self.published == self.failed else "partial"

    def _times(self) -> WindowTimes:
        """The window's ends; where they are counted, its first and last frame."""
        spec, moment = self.order.spec, self.order.moment
        start, end = spec.moment_ns, spec.end_ns
        if spec.before is not None and spec.before.frames is None and not spec.is_moment:
            start -= spec.before.ns
        elif self.window.first_ns is not None:
            start = min(start, self.window.first_ns)
        if end is None:
            end = max(spec.moment_ns, self.window.last_ns or 0)
        return WindowTimes(
            utc_text(moment.utc_ns + start - spec.moment_ns),
            utc_text(moment.utc_ns + end - spec.moment_ns),
        )

    def __repr__(self) -> str:
        return (
            f"<Request {self.order.turn} {len(self.items)} frames, {self.unsettled} open, "
            f"{self.published} published>"
        )


def _place(frame: Frame, moment_ns: int) -> FramePlace:
    height, width = frame.pixels.shape[:2]
    return FramePlace(
        seq=frame.seq,
        at=utc_text(frame.captured.utc_ns),
        offset_ms=round((frame.captured.mono_ns - moment_ns) / 1e6),
        width=width,
        height=height,
        position=frame.origin.position,
        file=frame.origin.file,
    )
