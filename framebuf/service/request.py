"""One request: its frames, their answers in capture order, and the done document that ends it."""

from __future__ import annotations

import copy
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
from framebuf.service.item import Item
from framebuf.service.marks import Mark
from framebuf.service.tally import Tally

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from framebuf.buffer.window import Asked, Window
    from framebuf.frames import Frame
    from framebuf.results import FrameResult
    from framebuf.service.orders import Order
    from framebuf.service.response import Response


class Request:
    """The state of one accepted trigger. Only the requests' thread."""

    def __init__(
        self,
        order: Order,
        window: Window,
        number: int = 0,
        *,
        earlier: Tally | None = None,
        over: int = 0,
        attempts: int = 1,
        strikes: int = 0,
        askers: Iterable[Response] = (),
    ) -> None:
        """`number` is the journal's; the rest is of a request that an earlier start began."""
        self.order = order
        self.window = window
        self.number = number
        self.attempts = attempts
        """Starts that worked on it."""
        self.strikes = strikes
        """Of those, how many died with a frame of it in a tensor."""
        self.askers = list(askers)
        """Where its done goes besides the camera's own topic."""
        self.started = False
        """Its window was opened; until then its moment is not past."""
        self.ended = False
        self.told = False
        """The broker has its ack."""
        self.expired = False
        """Its time is up, but for results that went out before a crash, and go out again."""
        self.sent = 0
        """So many of its first frames may have had a result then."""
        self.items: list[Item] = []
        """Those that are not over, and what came after the first of them."""
        self.unsettled = 0
        self.unsaved: list[Asked] = []
        """Frames asked for that the journal does not have yet."""
        self.done_payload: bytes | None = None
        """Its done document, once made."""
        self.confirmed = False
        """The broker has that."""
        self.mark = Mark()
        """Says, for after a crash, that a frame of it is in a tensor."""
        self.over = over
        """So many of its first frames are over."""
        self.over_tally = earlier or Tally()
        self.total = copy.deepcopy(self.over_tally)
        self._flushed = 0

    @property
    def is_closed(self) -> bool:
        """Only what went out before a crash is still to go out again."""
        return self.expired or self.done_payload is not None

    @property
    def published(self) -> int:
        return self.total.published

    @property
    def failed(self) -> int:
        return self.total.failed

    @property
    def missing(self) -> Counter[Reason]:
        return self.total.missing

    def tell(self) -> None:
        """The broker has its ack. Any thread."""
        self.told = True

    def add(self, asked: Asked) -> Item:
        """One more frame, in capture order."""
        item = self.add_saved(asked)
        self.unsaved.append(asked)
        return item

    def add_saved(self, asked: Asked) -> Item:
        """As `add`, of a frame that the journal has."""
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
        item.failed = message.error is not None
        # a second model's error stands beside what the first found
        said = message.error is None or message.detections is not None
        if result.findings is not None and said:
            item.labels = tuple(sorted(result.findings.labels()))
        item.batches = result.inferences()
        item.count(self.total)
        return message

    def lose(self, item: Item, reason: Reason) -> None:
        """The frame will have no result."""
        self._settle(item)
        item.missing, item.over = reason, True
        item.count(self.total)
        item.release()

    def flush(self) -> list[Item]:
        """The results that may go out now, in capture order."""
        out = []
        while self._flushed < len(self.items) and self.items[self._flushed].settled:
            item = self.items[self._flushed]
            self._flushed += 1
            if item.payload:
                out.append(item)
        self.total.published += len(out)
        return out

    def retire(self) -> None:
        """Let go of its first frames that are over, and count them as such."""
        gone = 0
        while gone < self._flushed and self.items[gone].over:
            item = self.items[gone]
            item.count(self.over_tally)
            self.over_tally.published += item.missing is None
            self.over = item.asked.index + 1
            gone += 1
        del self.items[:gone]
        self._flushed -= gone

    def done(self, now_ns: int, boot_id: str) -> Done:
        """The document that ends it."""
        missing = {reason: count for reason, count in self.missing.items() if count}
        return Done(
            event_type=outcome(self.published, self.failed, sum(missing.values())),
            id=self.order.id,
            camera=self.order.camera,
            requested=self.published + sum(missing.values()),
            published=self.published,
            failed=self.failed,
            missing=missing,
            thinned=self.window.thinned,
            already_claimed=self.window.already_claimed,
            window=self._times(),
            summary=dict(self.total.summary.most_common()),
            ms=DoneTimings(
                total=round((now_ns - self.order.received.mono_ns) / 1e6, 3),
                infer=self.total.infer_ms,
            ),
            boot_id=boot_id,
            attempts=self.attempts,
            meta=self.order.meta,
        )

    def _settle(self, item: Item) -> None:
        if item.settled:
            raise RuntimeError(f"frame {item.asked.index} of {self.order.id} settled twice")
        item.settled = True
        self.unsettled -= 1

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
            f"<Request {self.order.turn} {self.over + len(self.items)} frames, "
            f"{self.unsettled} open, {self.published} published>"
        )


def outcome(published: int, failed: int, missing: int) -> Outcome:
    """What the contract calls it."""
    if not missing and not failed:
        return "complete"
    return "failed" if published == failed else "partial"


def _place(frame: Frame, moment_ns: int) -> FramePlace:
    return FramePlace(
        seq=frame.seq,
        at=utc_text(frame.captured.utc_ns),
        offset_ms=round((frame.captured.mono_ns - moment_ns) / 1e6),
        width=frame.width,
        height=frame.height,
        position=frame.origin.position,
        file=frame.origin.file,
    )
