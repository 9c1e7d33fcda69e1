"""Ledger: what the journal has yet to be told, written once a turn of the requests' thread."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from framebuf.errors import JournalError
from framebuf.service.record import Progress, ResponseRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.item import Item
    from framebuf.service.journal import Journal
    from framebuf.service.request import Request

_log = logging.getLogger(__name__)

PATIENCE_NS = 50 * 10**6
"""How long the journal may lag behind the acknowledgements of results: what it has not heard of is
answered again after a crash."""
RETRY_NS = 10**9


class Ledger:
    """Only the requests' thread, but for `confirm`.

    While the disk is full, or fails, what is to be written waits here, bounded as requests are:
    none is accepted meanwhile, and those that are open are answered.
    """

    def __init__(
        self,
        journal: Journal,
        feeds: Mapping[str, Feed],
        counters: Counters,
        deliver: Callable[[Callable[[], None]], None],
        finished: Callable[[Request], None],
    ) -> None:
        """`deliver` calls back on the requests' thread; `finished` hears which request is over."""
        self.trouble: str | None = None
        """Why nothing can be written; any thread may read."""
        self._journal = journal
        self._feeds = feeds
        self._counters = counters
        self._deliver = deliver
        self._finished = finished
        self._touched: dict[Request, None] = {}
        self._ended: dict[Request, None] = {}
        self._over: list[Item] = []
        self._confirmed: deque[tuple[Request, Item]] = deque()  # bounded by what is leased
        self._complained = False  # in the log
        self._told = False  # that something was confirmed
        self._due_ns = 2**63
        self._retry_ns = 0

    def touch(self, request: Request, *, urgent: bool = False) -> None:
        """It has come further. `urgent`: what follows from that must not be known outside first."""
        self._touched[request] = None
        self._due_ns = 0 if urgent else min(self._due_ns, time.monotonic_ns() + PATIENCE_NS)

    def end(self, request: Request) -> None:
        """Its done document was made."""
        self._ended[request] = None
        self.touch(request, urgent=True)

    def confirm(self, request: Request, item: Item) -> None:
        """The broker has a result. The publisher's thread."""
        item.confirm()
        self._confirmed.append((request, item))
        if not self._told:
            self._told = True
            self._deliver(self._take_soon)

    def due_ns(self) -> int:
        """When `save` has something to do that cannot wait longer; monotonic."""
        return self._due_ns

    def accept(self, requests: Sequence[Request]) -> None:
        """Write new requests down, so that no power cut takes them; and what else there is.

        Raises:
            JournalError: none was written.
        """
        now = time.monotonic_ns()
        if now < self._retry_ns and self.trouble is not None:
            raise JournalError(self.trouble)
        self._save(requests, now)

    def save(self, *, last: bool = False) -> None:
        """Write what has happened since the last time, and let go of what it was about.

        `last`: whatever waits, for there is no other time.
        """
        now = time.monotonic_ns()
        if last or now >= self._due_ns:
            with suppress(JournalError):  # which was told; another time
                self._save((), now)

    def _save(self, accepted: Sequence[Request], now_ns: int) -> None:
        self._take_confirmed()
        finished = {r for r in self._touched if r.confirmed and not r.items}
        claimed = [feed for feed in self._feeds.values() if feed.claims.is_fresh]
        try:
            if accepted or self._touched or claimed:
                with self._journal.transaction(durable=bool(accepted or self._ended)):
                    self._write(accepted, finished, claimed, now_ns)
        except JournalError as error:
            self._fail(error, now_ns)
            raise
        if self.trouble is not None:
            _log.warning("%s can be written again", self._journal.path)
            self.trouble = None
        for request in self._touched:
            request.unsaved.clear()
        for feed in claimed:
            feed.claims.saved()
        self._touched.clear()
        self._ended.clear()
        self._let_go()
        for request in finished:
            self._finished(request)

    def _write(
        self,
        accepted: Sequence[Request],
        finished: Collection[Request],
        claimed: Sequence[Feed],
        now_ns: int,
    ) -> None:
        for request in accepted:
            request.number = self._journal.accept(request.order, progress_of(request))
        for request in self._touched:
            if request in finished:
                self._journal.finish(request.number, request.done_payload or b"", now_ns)
                continue
            ended = request in self._ended
            self._journal.advance(
                request.number,
                progress_of(request),
                [asked for asked in request.unsaved if asked.index >= request.over],
                request.done_payload if ended else None,
                [item.asked.index for item in request.items if item.missing] if ended else (),
            )
        for feed in claimed:
            oldest = feed.buffer.oldest_seq()
            self._journal.claim(feed.camera.name, feed.claims.fresh(), oldest)
            feed.claims.forget_before(oldest)

    def _fail(self, error: JournalError, now_ns: int) -> None:
        """Nothing was written: go on, and try again later."""
        self._counters.add("journal_failures")
        if self.trouble is None:
            _log.error("%s; no trigger is accepted until it can be written", error)
        self.trouble = str(error)
        self._due_ns = self._retry_ns = now_ns + RETRY_NS
        self._let_go()  # memory first: after a crash these frames may be told as lost

    def _take_soon(self) -> None:
        self._due_ns = min(self._due_ns, time.monotonic_ns() + PATIENCE_NS)

    def _take_confirmed(self) -> None:
        self._due_ns, self._told = 2**63, False
        while self._confirmed:
            request, item = self._confirmed.popleft()
            item.over = True
            self._over.append(item)
            self._touched[request] = None
        for request in self._touched:
            request.retire()

    def _let_go(self) -> None:
        for item in self._over:
            item.release()
        self._over.clear()

    def __repr__(self) -> str:
        return f"<Ledger {len(self._touched)} requests to write>"


def progress_of(request: Request) -> Progress:
    """How far a request has come, as it is written down."""
    tally = request.over_tally
    return Progress(
        window=request.window.counts(),
        started=request.started,
        told=request.told,
        over=request.over,
        published=tally.published,
        failed=tally.failed,
        missing={reason: count for reason, count in tally.missing.items() if count},
        summary=dict(tally.summary),
        infer_ms=tally.infer_ms,
        askers=tuple(ResponseRecord.of(response) for response in request.askers),
    )
