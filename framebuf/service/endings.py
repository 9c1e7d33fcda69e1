"""Endings: the one done document of each request."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from framebuf import contract
from framebuf.contract import Done, DoneTimings
from framebuf.service.request import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.contract import Reason
    from framebuf.service.answers import Answers
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.images import Images
    from framebuf.service.ledger import Ledger
    from framebuf.service.replies import Replies
    from framebuf.service.request import Request


class Endings:
    """Only the requests' thread."""

    def __init__(
        self,
        boot_id: str,
        replies: Replies,
        ledger: Ledger,
        images: Images,
        counters: Counters,
        deliver: Callable[[Callable[[], None]], None],
    ) -> None:
        """`deliver` calls back on the requests' thread."""
        self.unconfirmed = 0
        """Requests that have ended, and whose done the broker does not have."""
        self._boot_id = boot_id
        self._replies = replies
        self._ledger = ledger
        self._images = images
        self._counters = counters
        self._deliver = deliver

    def expire(self, answers: Answers, feed: Feed, request: Request, reason: Reason) -> None:
        """Its time is up: what has no answer is missing, and a late answer is discarded.

        But a result that may have gone out before a crash goes out again: it was in time.
        """
        request.ended = True  # first, for a picture that is given up looks at its request again
        feed.chain.withdraw(request.order.turn)
        request.missing[reason] += request.window.cut_off(feed.buffer, time.monotonic_ns())
        again = []
        for item in request.items:
            if item.wait is not None:
                self._images.give_up(item.wait)
            if item.settled:
                continue
            if item.asked.index < request.sent:
                again.append(item)
            else:
                request.lose(item, reason)
        answers.flush(request)
        if not again:
            self.end(feed, request)
            return
        request.ended, request.expired = False, True
        answers.submit(feed, request, again)
        if not request.unsettled:
            self.end(feed, request)

    def end(self, feed: Feed, request: Request) -> None:
        """All that it will get is answered."""
        now = time.monotonic_ns()
        feed.open.remove(request)
        if request.done_payload is None:
            request.missing.update(request.window.missing(feed.buffer, now))
            self._counters.total.add((now - request.order.received.mono_ns) / 1e9)
        self._say(request, now)
        feed.claims.forget_before(feed.buffer.oldest_seq())

    def give_up(self, feed: Feed, request: Request) -> None:
        """The daemon has died of it too often: none of what is left is tried again."""
        feed.open.remove(request)
        for item in request.items:
            request.lose(item, "crashed_daemon")
        request.flush()
        request.missing["crashed_daemon"] += request.window.outstanding()
        self._say(request, time.monotonic_ns())

    def end_lost(self, request: Request) -> None:
        """Its frames went with another boot, or with its camera."""
        for item in request.items:
            request.lose(item, "frames_lost")
        request.flush()
        if request.done_payload is None:
            request.missing["frames_lost"] += request.window.outstanding()
        self._say(request, time.monotonic_ns())

    def _say(self, request: Request, now_ns: int) -> None:
        request.ended = True
        if request.done_payload is None:
            done = request.done(now_ns, self._boot_id)
            request.done_payload = contract.encode(done)
        else:
            done = msgspec.json.decode(request.done_payload, type=Done)
            now_true = _recounted(done, request)
            if now_true != done:
                done = now_true
                request.done_payload = contract.encode(done)
        request.mark.release()
        self.unconfirmed += 1
        self._ledger.end(request)
        confirmed = partial(self._deliver, partial(self._confirm, request))
        self._replies.done(done, request.done_payload, request.askers, confirmed)

    def _confirm(self, request: Request) -> None:
        """The broker has the done document."""
        request.confirmed = True
        self.unconfirmed -= 1
        self._ledger.touch(request)

    def __repr__(self) -> str:
        return f"<Endings {self.unconfirmed} unconfirmed>"


def _recounted(done: Done, request: Request) -> Done:
    """A document of before a crash, by what became of the results that went out again since.

    Of a frame that was answered twice the newest result counts; one that cannot be had a second
    time is missing. Where that changes nothing, it is the document that may have been heard.
    """
    missing = Counter(done.missing) + request.missing
    counted = msgspec.structs.replace(
        done,
        published=request.published,
        failed=request.failed,
        missing=dict(missing),
        summary=dict(request.total.summary.most_common()),
    )
    if counted == done:
        return done
    return msgspec.structs.replace(
        counted,
        event_type=outcome(request.published, request.failed, missing.total()),
        ms=DoneTimings(total=done.ms.total, infer=request.total.infer_ms),
        attempts=request.attempts,
    )
