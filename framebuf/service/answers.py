"""Answers: frames that were asked for, on their way to the lane and back, and out."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from framebuf.errors import InferenceError
from framebuf.models.backlog import Job
from framebuf.results import Failure, FrameResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from framebuf.buffer.window import Asked
    from framebuf.contract import Image
    from framebuf.frames import Frame
    from framebuf.models.backlog import Developed, LetGo
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.images import Images
    from framebuf.service.item import Item
    from framebuf.service.last_image import LastImages
    from framebuf.service.ledger import Ledger
    from framebuf.service.replies import Replies
    from framebuf.service.request import Request

ALONE = 2
"""Deaths with a frame of a request in a tensor, after which it runs alone."""


class Answers:
    """Only the requests' thread, but for what the lane and the publisher call back."""

    def __init__(
        self,
        images: Images,
        replies: Replies,
        ledger: Ledger,
        counters: Counters,
        deliver: Callable[[Callable[[], None]], None],
        moved: Callable[[Feed, Request], None],
        last_images: LastImages | None,
    ) -> None:
        """`deliver` calls back on the requests' thread; `moved` hears that a frame was answered."""
        self._images = images
        self._replies = replies
        self._ledger = ledger
        self._counters = counters
        self._deliver = deliver
        self._moved = moved
        self._last_images = last_images

    def ask(self, feed: Feed, request: Request, asked: Sequence[Asked]) -> None:
        """Lease the frames and put them on the backlog."""
        if not asked:
            return
        items = []
        for one in asked:
            item = request.add(one)
            item.lease = feed.buffer.lease(one.stamp.seq)
            items.append(item)
        self._ledger.touch(request, urgent=not request.window.is_certain)
        self.submit(feed, request, items)

    def submit(self, feed: Feed, request: Request, items: Iterable[Item]) -> None:
        """Put leased frames on the backlog; those that are gone are missing."""
        jobs, others = [], 0
        now = time.monotonic_ns()
        for item in items:
            if item.lease is None:
                request.lose(item, feed.buffer.why_gone(item.asked.stamp))
                others += 1
                continue
            item.frame = item.lease.frame
            self._images.hold(feed, request.order, item)
            if self._last_images is not None and not item.frame.is_decoded:
                item.view = feed.buffer.lease(item.frame.seq)
            try:
                part = feed.part(item.frame)
            except InferenceError as error:
                failure = Failure(error.code, str(error))
                self._conclude(feed, request, item, FrameResult(feed.model, error=failure))
                others += 1
                continue
            jobs.append(
                Job(
                    item.frame,
                    request.order.turn,
                    now,
                    item.lease.weaken,
                    partial(self._answered, feed, request, item),
                    request.order.priority,
                    request.order.deadline_ns,
                    part,
                    begun=request.mark.begin,
                    paused=request.mark.end,
                    developed=_developer(item),
                    alone=request.strikes >= ALONE,
                )
            )
        if jobs:
            feed.chain.submit(jobs)
        if others:
            self.flush(request)

    def flush(self, request: Request) -> None:
        """Send the results that may go out now, in capture order."""
        for item in request.flush():
            request.mark.send(item.asked.index + 1)
            confirmed = partial(self._confirmed, request, item, time.monotonic_ns())
            self._replies.result(request.order, item, confirmed)

    def _confirmed(self, request: Request, item: Item, sent_ns: int) -> None:
        """The broker has a result. From the publisher's thread."""
        self._counters.publish.add((time.monotonic_ns() - sent_ns) / 1e9)
        self._ledger.confirm(request, item)

    def _answered(self, feed: Feed, request: Request, item: Item, result: FrameResult) -> None:
        """From a context's thread."""
        request.mark.end()
        self._deliver(partial(self._answer, feed, request, item, result))

    def _answer(self, feed: Feed, request: Request, item: Item, result: FrameResult) -> None:
        if item.settled:
            self._counters.add("answers_late")
            return
        if self._last_images is not None and item.frame is not None:
            view, item.view = item.view, None
            self._last_images.answered(feed, item.frame, result, view)
        self._conclude(feed, request, item, result)
        self.flush(request)
        self._moved(feed, request)

    def _conclude(self, feed: Feed, request: Request, item: Item, result: FrameResult) -> None:
        """The frame is answered, but for the picture that its result may have to wait for."""
        ready = partial(self._pictured, feed, request, item, result)
        image = self._images.begin(request.order, item, result, ready)
        if image != "waits":
            self._settle(request, item, result, image)

    def _pictured(
        self, feed: Feed, request: Request, item: Item, result: FrameResult, jpeg: bytes
    ) -> None:
        """The picture is there, or given up."""
        item.jpeg = jpeg
        self._settle(request, item, result, "sent" if jpeg else "dropped")
        self.flush(request)
        self._moved(feed, request)

    def _settle(
        self, request: Request, item: Item, result: FrameResult, image: Image | None
    ) -> None:
        order = request.order
        room = self._replies.room(order.camera, order.response)
        said = request.answer(item, result, image, room)
        if said.left_out:
            self._counters.add("results_reduced")
        elif said.error is not None and said.error.code == "too_large":
            self._counters.add("results_too_large")


def _developer(item: Item) -> Developed | None:
    """What gives a decoded frame's pixels to those who want them for a picture; None: nobody."""
    wanted = [lease for lease in (item.picture, item.view) if lease is not None]
    if not wanted:
        return None

    def develop(frame: Frame, user: Callable[[], LetGo]) -> None:
        for lease in wanted:
            lease.develop(frame, user())

    return develop
