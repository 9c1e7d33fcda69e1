"""Requests: accepts triggers, runs each along the line, ends it with its done document."""

from __future__ import annotations

import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from framebuf.buffer.window import Window
from framebuf.errors import ContractError, JournalError
from framebuf.service.answers import Answers
from framebuf.service.endings import Endings
from framebuf.service.images import Images
from framebuf.service.intake import Intake
from framebuf.service.known import KnownIds
from framebuf.service.ledger import Ledger
from framebuf.service.post import Post
from framebuf.service.replies import Replies
from framebuf.service.request import Request
from framebuf.service.response import Responses
from framebuf.service.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.config import Node
    from framebuf.contract import Topics
    from framebuf.service.broker import Broker
    from framebuf.service.encoder import Encoder
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.journal import Journal
    from framebuf.service.last_image import LastImages
    from framebuf.service.marks import Marks
    from framebuf.service.message import Message
    from framebuf.service.orders import Order
    from framebuf.service.replies import Onlooker

MAX_EVENTS = 10_000
"""More wait only in a flood of QoS 0 triggers, which are then dropped and counted."""
TURN = 64
"""Events that are taken before what they did is written down and sent."""
STRIKES = 3
"""Deaths of the process with a frame of a request in a tensor, after which it is given up."""


class Requests:
    """The thread `requests`: windows, order, done. Never calls a runtime, never waits for MQTT.

    It waits for the disk: a trigger is acknowledged, and a done sent, only once the journal has
    it. One turn takes the events that are there, writes once, and then sends what they led to.

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
        onlooker: Onlooker | None = None,
        *,
        journal: Journal,
        marks: Marks,
        lost: Sequence[Request] = (),
    ) -> None:
        """`lost` are requests of before that are only to be ended; others stand in their feeds."""
        self._node = node
        self._feeds = {feed.camera.name: feed for feed in feeds}
        self._counters = counters
        self._connected = broker.connected
        self._marks = marks
        self._lost = tuple(lost)
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._post = Post(broker)
        replies = self._replies = Replies(topics, self._post, counters, onlooker)
        self._images = Images(
            encoder, broker.connected, counters, self._events.put, lambda: broker.max_packet
        )
        deliver = self._events.put
        ledger = self._ledger = Ledger(journal, self._feeds, counters, deliver, self._finished)
        self._known = KnownIds(journal, ledger.touch)
        self._endings = Endings(boot_id, replies, ledger, self._images, counters, deliver)
        self._answers = Answers(
            self._images, replies, ledger, counters, deliver, self._moved, last_images
        )
        self._windows = Windows(self._answers, self._endings)
        self._intake = Intake(
            topics,
            self._feeds,
            self._known,
            replies,
            counters,
            Responses(response_prefix, topics.node_root),
            self._admit,
            self._accept,
        )
        self._arrived: list[Message] = []  # triggers of this turn
        self._admitted: list[tuple[Feed, Request]] = []  # and what they ask for
        self._closing_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self.beat_ns = time.monotonic_ns()

    def start(self) -> None:
        self._events.put(self._resume)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Take no more triggers, finish what is under way; the rest is the next start's."""
        until = time.monotonic_ns() + round(timeout_s * 1e9)
        self._events.put(partial(self._close, until))
        self._thread.join(timeout_s + 2.0)

    def settle(self) -> None:
        """Write down what the broker has confirmed since. After `stop`, and the broker's."""
        if self._thread.is_alive():
            return  # it hangs, and the journal is its own
        self._ledger.save(last=True)
        for feed in self._feeds.values():
            for request in feed.open:
                for item in request.items:
                    item.release()  # the next start leases them again

    def receive(self, message: Message) -> None:
        """A message on a trigger topic. Any thread."""
        if message.qos == 0 and self._events.qsize() > MAX_EVENTS:
            self._counters.add("triggers_dropped")
            return
        self._events.put(partial(self._arrived.append, message))

    def captured(self, camera: str) -> None:
        """A frame was committed. Any thread."""
        feed = self._feeds[camera]
        # Whoever opens a request from now on finds the frame: it is committed before this looks
        if feed.open and not feed.stirred:
            feed.stirred = True
            self._events.put(partial(self._windows.look, feed))

    def open_count(self) -> int:
        """Requests that are not finished, those whose done is under way included."""
        return sum(len(feed.open) for feed in self._feeds.values()) + self._endings.unconfirmed

    def known_count(self) -> int:
        """Requests in the journal, as a reader without its lock sees them. Any thread."""
        return len(self._known)

    @property
    def trouble(self) -> str | None:
        """Why no trigger is accepted, in words; any thread may read."""
        return self._ledger.trouble

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over():
            due = self._due_ns()
            try:
                event = self._events.get(timeout=max(0, due - time.monotonic_ns()) / 1e9)
                event()
                for _ in range(TURN - 1):
                    self._events.get_nowait()()
            except Empty:
                pass
            if self._arrived:
                self._take_arrived()
            self.beat_ns = time.monotonic_ns()
            if self.beat_ns >= due:
                self._images.look(self.beat_ns)
                for feed in self._feeds.values():
                    self._windows.look(feed)
            self._ledger.save()
            self._post.send()

    def _is_over(self) -> bool:
        """Asked to stop, and nothing is under way, or for too long."""
        if self._closing_ns is None:
            return False
        if time.monotonic_ns() >= self._closing_ns:
            return True
        unfinished = (request for feed in self._feeds.values() for request in feed.open)
        unsaid = self._endings.unconfirmed and self._connected.is_set()
        return not unsaid and not any(map(self._windows.is_under_way, unfinished))

    def _due_ns(self) -> int:
        """When the next deadline comes, or the next window ends, that no event tells."""
        now = time.monotonic_ns()
        due = min(now + 10**9, self._images.due_ns(), self._ledger.due_ns())
        for feed in self._feeds.values():
            due = min(due, self._windows.due_ns(feed, now))
        return due if self._closing_ns is None else min(due, self._closing_ns)

    def _close(self, until_ns: int) -> None:
        self._closing_ns = until_ns
        self._windows.leave(self._feeds.values(), until_ns)

    def _resume(self) -> None:
        """Go on with what the daemon before has left."""
        for request in self._lost:
            self._know(request)
            self._endings.end_lost(request)
        for feed in self._feeds.values():
            for request in tuple(feed.open):
                self._know(request)
                request.mark = self._marks.watch(request.number, request.strikes, request.sent)
                if request.strikes >= STRIKES and request.done_payload is None:
                    self._endings.give_up(feed, request)
                else:
                    self._answers.submit(feed, request, request.items)
            self._windows.look(feed)

    def _know(self, request: Request) -> None:
        self._known.add(request)
        if not request.told:
            self._replies.accepted(request.order, request.tell)

    # triggers -----------------------------------------------------------------------------

    def _take_arrived(self) -> None:
        """Accept the triggers of this turn, all in one transaction."""
        arrived = self._arrived.copy()
        self._arrived.clear()
        if self._closing_ns is not None:
            return  # not acknowledged: the broker keeps them for the next start
        for message in arrived:
            self._post.take(message)
            self._intake.take(message)
        self._accept()
        self._post.acknowledge()

    def _accept(self) -> None:
        """Have the journal take what was admitted, then begin with it."""
        admitted, self._admitted = self._admitted, []
        if not admitted:
            return
        held = [lease for feed, request in admitted for lease in self._windows.hold(feed, request)]
        try:
            self._ledger.accept([request for _, request in admitted])
        except JournalError as error:
            for _, request in admitted:
                self._refuse(request.order, error)
        else:
            for feed, request in admitted:
                self._begin(feed, request)
        finally:
            for lease in held:
                lease.release()

    def _admit(self, feed: Feed, order: Order) -> None:
        """The end of the intake: a good order becomes a request, or is refused after all."""
        if self.open_count() + len(self._admitted) >= self._node.max_pending:
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
        held = feed.buffer.extent
        request.window.foresee(held.history if held else 0, feed.buffer.period_ns())
        if order.response is not None:
            request.askers.append(order.response)
        self._known.add(request)
        self._admitted.append((feed, request))

    def _begin(self, feed: Feed, request: Request) -> None:
        """The journal has it: it is accepted."""
        request.mark = self._marks.watch(request.number, 0)
        self._replies.accepted(request.order, request.tell)
        self._windows.extend(feed)  # what was captured before belongs to those accepted before
        feed.open.append(request)
        self._windows.advance(feed, request)

    def _refuse(self, order: Order, error: JournalError) -> None:
        """It was not written down: it is as good as any other that there is no room for."""
        self._known.remove(order)
        fault = ContractError("queue_full", f"the journal cannot be written: {error}", order.id)
        self._replies.rejected(order.camera, fault, order.response)

    def _moved(self, feed: Feed, request: Request) -> None:
        self._windows.advance(feed, request)

    def _finished(self, request: Request) -> None:
        """The broker has all of it, and the journal knows."""
        self._known.remove(request.order)

    def __repr__(self) -> str:
        return f"<Requests {self.open_count()} open, {len(self._known)} ids known>"
