"""Windows: opened when their moment is past, given new frames, closed when they have all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.buffer.lease import Lease
    from framebuf.service.answers import Answers
    from framebuf.service.endings import Endings
    from framebuf.service.feed import Feed
    from framebuf.service.request import Request

POLL_NS = 10 * 10**6
"""How often a window is looked at whose end is past but not settled."""


class Windows:
    """Only the requests' thread."""

    def __init__(self, answers: Answers, endings: Endings) -> None:
        self._left: set[Request] = set()  # to the next start
        self._answers = answers
        self._endings = endings

    @staticmethod
    def hold(feed: Feed, request: Request) -> list[Lease]:
        """The frames that are there of a window which is not begun, for its caller to release.

        A disk may take longer to write a request down than they would stay. What an earlier drain
        has claimed a drain does not get: that may give way to what is captured meanwhile.
        """
        seqs = [stamp.seq for stamp in request.window.reached(feed.buffer)]
        if request.order.drain:
            seqs = [seq for seq in seqs if not feed.claims.holds(seq)]
        return [lease for seq in seqs if (lease := feed.buffer.lease(seq)) is not None]

    def look(self, feed: Feed) -> None:
        """Give new frames to the open windows, and end what has ended."""
        feed.stirred = False
        self.extend(feed)
        for request in tuple(feed.open):
            self.advance(feed, request)

    def extend(self, feed: Feed) -> None:
        """Give new frames to the open windows."""
        started = [r for r in feed.open if r.started and not r.is_closed and r not in self._left]
        if not started:
            return
        stamps = feed.buffer.after(min(request.window.last_seq for request in started))
        for request in started:
            self._answers.ask(feed, request, request.window.extend(stamps))

    def advance(self, feed: Feed, request: Request) -> None:
        """Open the request's window if its moment is past; end it if it has all it will get."""
        now = time.monotonic_ns()
        buffer, spec = feed.buffer, request.order.spec
        if not (request.started or request.is_closed or request in self._left):
            waits = spec.counts_from_moment and buffer.captured_until(now) < spec.moment_ns
            if not waits and not self._is_behind(feed, request):
                newest = buffer.newest()  # before: what comes meanwhile is left to the earlier ones
                self.extend(feed)
                request.started = True
                asked = request.window.start(buffer, newest.seq if newest else -1, now)
                self._answers.ask(feed, request, asked)
        if request.ended:
            return
        if request.is_closed:
            if not request.unsettled:
                self._endings.end(feed, request)
        elif now >= request.order.deadline_ns:
            self._endings.expire(self._answers, feed, request, "deadline")
        elif request in self._left:
            return
        elif request.started and not request.unsettled and request.window.closed(buffer, now):
            self._endings.end(feed, request)

    def leave(self, feeds: Iterable[Feed], until_ns: int) -> None:
        """Ask for nothing more in windows that do not end by then: the next start will."""
        now = time.monotonic_ns()
        for feed in feeds:
            for request in feed.open:
                if request.window.ends_ns(feed.buffer, now) > until_ns:
                    self._left.add(request)

    def is_under_way(self, request: Request) -> bool:
        """Whether something of it is to be waited for at a stop."""
        return request.unsettled > 0 or request not in self._left

    @staticmethod
    def due_ns(feed: Feed, now_ns: int) -> int:
        """When the next deadline comes, or the next window ends, that no event tells."""
        due = 2**63
        for request in feed.open:
            if request.is_closed:
                continue
            due = min(due, request.order.deadline_ns)
            if request.unsettled and request.started:
                continue
            end = request.order.spec.end_ns if request.started else request.order.spec.moment_ns
            if end is not None:
                due = min(due, max(end, now_ns + POLL_NS))
        return due

    @staticmethod
    def _is_behind(feed: Feed, request: Request) -> bool:
        """A drain claims nothing before one that was accepted before it has claimed."""
        drains = (other for other in feed.open if other.order.drain and not other.started)
        return request.order.drain and next(drains) is not request

    def __repr__(self) -> str:
        return f"<Windows {len(self._left)} left to the next start>"
