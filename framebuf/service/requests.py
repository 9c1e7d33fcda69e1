"""Requests: accepts triggers, runs each along the line, ends it with its done document."""

from __future__ import annotations

import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from framebuf import contract
from framebuf.buffer.window import Window
from framebuf.errors import ContractError, InferenceError
from framebuf.models.backlog import Job
from framebuf.results import Failure, FrameResult
from framebuf.service.images import Images
from framebuf.service.intake import Intake
from framebuf.service.known import KnownIds
from framebuf.service.replies import Replies
from framebuf.service.request import Item, Request
from framebuf.service.response import Responses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.buffer.window import Asked
    from framebuf.config import Node
    from framebuf.contract import Image, Reason, Topics
    from framebuf.service.broker import Broker
    from framebuf.service.encoder import Encoder
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.last_image import LastImages
    from framebuf.service.message import Message
    from framebuf.service.orders import Order

POLL_NS = 10 * 10**6
"""How often a window is looked at whose end is past but not settled."""
MAX_EVENTS = 10_000
"""More wait only in a flood of QoS 0 triggers, which are then dropped and counted."""


class Requests:
    """The thread `requests`: windows, order, done. Never calls a runtime, never waits for MQTT.

    `receive`, `captured` and the lane's answers come from other threads; each becomes a call on
    this one. Everything else here belongs to this thread.
    """

    def __init__(
        self,
        node: Node,
        response_prefix: Sequence[str],
        topics: Topics,
        feeds: Sequence[Feed],
        broker: Broker,
        counters: Counters,
        boot_id: str,
        encoder: Encoder,
        last_images: LastImages | None = None,
    ) -> None:
        self._node = node
        self._feeds = {feed.camera.name: feed for feed in feeds}
        self._broker = broker
        self._counters = counters
        self._boot_id = boot_id
        self._known = KnownIds(node.remember.ns)
        self._replies = Replies(topics, broker, counters)
        self._intake = Intake(
            topics,
            self._feeds,
            self._known,
            self._replies,
            counters,
            Responses(response_prefix, topics.node_root),
            self._accept,
        )
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._images = Images(
            encoder, broker.connected, counters, self._events.put, lambda: broker.max_packet
        )
        self._last_images = last_images
        self._unacknowledged = 0  # done documents that the broker has not confirmed
        self._closing_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self.beat_ns = time.monotonic_ns()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Take no more triggers, finish what is open, give the rest up after the time-out."""
        until = time.monotonic_ns() + round(timeout_s * 1e9)
        self._events.put(partial(self._close, until))
        self._thread.join(timeout_s + 2.0)

    def receive(self, message: Message) -> None:
        """A message on a trigger topic. Any thread."""
        if message.qos == 0 and self._events.qsize() > MAX_EVENTS:
            self._counters.add("triggers_dropped")
            return
        self._events.put(partial(self._triggered, message))

    def captured(self, camera: str) -> None:
        """A frame was committed. Any thread."""
        feed = self._feeds[camera]
        if not feed.stirred:
            feed.stirred = True
            self._events.put(partial(self._look, feed))

    def open_count(self) -> int:
        """Requests that are not finished, those whose done is under way included."""
        return sum(len(feed.open) for feed in self._feeds.values()) + self._unacknowledged

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while self._closing_ns is None or self._any_open():
            due = self._due_ns()
            try:
                event = self._events.get(timeout=max(0, due - time.monotonic_ns()) / 1e9)
                event()
            except Empty:
                pass
            self.beat_ns = time.monotonic_ns()
            if self.beat_ns >= due:
                self._images.look(self.beat_ns)
                for feed in self._feeds.values():
                    self._look(feed)

    def _any_open(self) -> bool:
        return any(feed.open for feed in self._feeds.values())

    def _due_ns(self) -> int:
        """When the next deadline comes, or the next window ends, that no event tells."""
        now = time.monotonic_ns()
        due = min(now + 10**9, self._images.due_ns())
        for feed in self._feeds.values():
            for request in feed.open:
                due = min(due, request.order.deadline_ns)
                if request.unsettled and request.started:
                    continue
                end = (
                    request.order.spec.end_ns if request.started else request.window.spec.moment_ns
                )
                if end is not None:
                    due = min(due, max(end, now + POLL_NS))
        return due if self._closing_ns is None else min(due, self._closing_ns)

    def _close(self, until_ns: int) -> None:
        self._closing_ns = until_ns

    # triggers -----------------------------------------------------------------------------

    def _triggered(self, message: Message) -> None:
        if self._closing_ns is not None:
            return  # not acknowledged: the broker keeps it for the next start
        self._intake.take(message)
        self._broker.acknowledge(message)

    def _accept(self, feed: Feed, order: Order) -> None:
        """The end of the intake: a good order becomes a request, or is refused after all."""
        if self.open_count() >= self._node.max_pending:
            limit = self._node.max_pending
            raise ContractError(
                "queue_full", f"{limit} requests pending; the limit is {limit}", order.id
            )
        request = Request(order, Window(order.spec, feed.claims if order.drain else None))
        now = time.monotonic_ns()
        if not feed.buffer.online(now) and not request.window.can_fill(feed.buffer, now):
            raise ContractError(
                "camera_offline", "no frame of the window exists and none can come", order.id
            )
        self._known.accept(order.camera, order.id, order.received.utc_ns, order.response)
        self._replies.accepted(order)
        self._extend(feed)  # what was captured before belongs to those accepted before
        feed.open.append(request)
        self._advance(feed, request)

    # windows ------------------------------------------------------------------------------

    def _look(self, feed: Feed) -> None:
        """Give new frames to the open windows, and end what has ended."""
        feed.stirred = False
        self._extend(feed)
        for request in tuple(feed.open):
            self._advance(feed, request)

    def _extend(self, feed: Feed) -> None:
        started = [request for request in feed.open if request.started]
        if not started:
            return
        stamps = feed.buffer.after(min(request.window.last_seq for request in started))
        for request in started:
            self._submit(feed, request, request.window.extend(stamps))

    def _advance(self, feed: Feed, request: Request) -> None:
        """Open the request's window if its moment is past; end it if it has all it will get."""
        now = time.monotonic_ns()
        buffer, spec = feed.buffer, request.order.spec
        if not request.started:
            waits = spec.counts_from_moment and buffer.captured_until(now) < spec.moment_ns
            if not waits and not self._is_behind(feed, request):
                newest = buffer.newest()  # before: what comes meanwhile is left to the earlier ones
                self._extend(feed)
                request.started = True
                asked = request.window.start(buffer, newest.seq if newest else -1, now)
                self._submit(feed, request, asked)
        if request.ended:
            return
        if now >= request.order.deadline_ns:
            self._expire(feed, request, "deadline")
        elif self._closing_ns is not None and now >= self._closing_ns:
            self._expire(feed, request, "frames_lost")
        elif request.started and not request.unsettled and request.window.closed(buffer, now):
            self._end(feed, request)

    @staticmethod
    def _is_behind(feed: Feed, request: Request) -> bool:
        """A drain claims nothing before one that was accepted before it has claimed."""
        drains = (other for other in feed.open if other.order.drain and not other.started)
        return request.order.drain and next(drains) is not request

    def _submit(self, feed: Feed, request: Request, asked: Sequence[Asked]) -> None:
        """Lease the frames and put them on the backlog."""
        jobs = []
        now = time.monotonic_ns()
        for one in asked:
            item = request.add(one)
            lease = feed.buffer.lease(one.stamp.seq)
            if lease is None:
                request.lose(item, feed.buffer.why_gone(one.stamp))
                continue
            item.lease, item.frame = lease, lease.frame
            self._images.hold(feed, request.order, item)
            try:
                part = feed.part(lease.frame)
            except InferenceError as error:
                failure = Failure(error.code, str(error))
                self._conclude(feed, request, item, FrameResult(feed.model, error=failure))
                continue
            jobs.append(
                Job(
                    lease.frame,
                    request.order.turn,
                    now,
                    lease.weaken,
                    partial(self._answered, feed, request, item),
                    request.order.priority,
                    request.order.deadline_ns,
                    part,
                )
            )
        if jobs:
            feed.lane.submit(feed.model, jobs)
        if len(jobs) < len(asked):
            self._flush(request)

    # answers ------------------------------------------------------------------------------

    def _answered(self, feed: Feed, request: Request, item: Item, result: FrameResult) -> None:
        """From a context's thread."""
        self._events.put(partial(self._answer, feed, request, item, result))

    def _answer(self, feed: Feed, request: Request, item: Item, result: FrameResult) -> None:
        if item.settled:
            self._counters.add("answers_late")
            return
        if self._last_images is not None and item.frame is not None:
            self._last_images.answered(feed, item.frame, result)
        self._conclude(feed, request, item, result)
        self._flush(request)
        self._advance(feed, request)

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
        self._flush(request)
        self._advance(feed, request)

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

    def _flush(self, request: Request) -> None:
        for item in request.flush():
            self._replies.result(request.order, item)

    def _expire(self, feed: Feed, request: Request, reason: Reason) -> None:
        """Its time is up: what has no answer is missing, and a late answer is discarded."""
        request.ended = True  # first, for a picture that is given up looks at its request again
        feed.lane.withdraw(feed.model, request.order.turn)
        request.missing[reason] += request.window.cut_off(feed.buffer, time.monotonic_ns())
        for item in request.items:
            if item.wait is not None:
                self._images.give_up(item.wait)
            if not item.settled:
                request.lose(item, reason)
        self._flush(request)
        self._end(feed, request)

    def _end(self, feed: Feed, request: Request) -> None:
        now = time.monotonic_ns()
        request.ended = True
        request.missing.update(request.window.missing(feed.buffer, now))
        done = request.done(now, self._boot_id)
        payload = contract.encode(done)
        order = request.order
        askers = self._known.end(order.camera, order.id, payload, now)
        feed.open.remove(request)
        feed.claims.forget_before(feed.buffer.oldest_seq())
        self._unacknowledged += 1
        self._replies.done(done, payload, askers, self._done_confirmed)

    def _done_confirmed(self) -> None:
        """From the publisher's thread."""
        self._events.put(self._forget_unacknowledged)

    def _forget_unacknowledged(self) -> None:
        self._unacknowledged -= 1

    def __repr__(self) -> str:
        return f"<Requests {self.open_count()} open, {len(self._known)} ids known>"
