"""The last requests, as the page tells them: from the documents that went out about them."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from framebuf.contract import Ack, Done, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framebuf.service.feed import Feed
    from framebuf.service.web.inbox import Heard, Inbox

REQUESTS = 20
"""That are told, the newest of them."""
BOXES = 50
"""Of a frame that are told, the best."""

Key = tuple[str, str]
"""Camera and id."""
Told = dict[str, Any]


class Chronicle:
    """Only the thread `web`."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.requests: OrderedDict[Key, Told] = OrderedDict()
        """The newest last."""

    def read(self, feeds: Mapping[str, Feed]) -> dict[Key, list[Told]]:
        """Take what was heard, look at what is open; the results that are new, by request."""
        fresh: dict[Key, list[Told]] = {}
        for heard in self._inbox.take():
            if heard.leaf == "result":
                key, result = self._result(heard)
                fresh.setdefault(key, []).append(result)
            elif heard.leaf == "done":
                self._done(heard)
            else:
                self._ack(heard)
        for feed in feeds.values():
            for request in tuple(feed.open):
                told = self._told((request.order.camera, request.order.id))
                if told["state"] == "running":
                    told["received"] = request.order.received.utc_ns // 10**6
                    told["expected"] = request.window.asked + request.window.outstanding()
                    told["missing"] = dict(request.missing)
        while len(self.requests) > REQUESTS:
            key, _ = self.requests.popitem(last=False)
            fresh.pop(key, None)
        return fresh

    def _told(self, key: Key) -> Told:
        """What is told of a request, made where it is new."""
        if key not in self.requests:
            last = next(reversed(self.requests.values()))["n"] if self.requests else 0
            self.requests[key] = {
                "n": max(last + 1, time.time_ns() // 10**6),  # after those of an earlier start
                "camera": key[0], "id": key[1], "state": "running", "published": 0,
                "failed": 0, "expected": None, "missing": {},
            }  # fmt: skip
        return self.requests[key]

    def _ack(self, heard: Heard) -> None:
        ack = msgspec.json.decode(heard.payload, type=Ack)
        if ack.status == "accepted" and ack.id is not None:
            self._told((heard.camera, ack.id))
        elif ack.status == "rejected" and ack.error is not None:
            # one that was accepted under this id goes on being told as it is
            told = self._told((heard.camera, ack.id or "no id"))
            if told["state"] == "rejected" or not told["published"]:
                told |= {"state": "rejected", "code": ack.error.code, "why": ack.error.message}

    def _result(self, heard: Heard) -> tuple[Key, Told]:
        result = msgspec.json.decode(heard.payload, type=Result)
        key = heard.camera, result.id
        told = self._told(key)
        told["published"] += 1
        told["failed"] += result.error is not None
        return key, of_result(result)

    def _done(self, heard: Heard) -> None:
        done = msgspec.json.decode(heard.payload, type=Done)
        meta = None if done.meta is msgspec.UNSET else bytes(done.meta).decode("utf-8", "replace")
        self._told((heard.camera, done.id)).update(
            state=done.event_type,
            expected=done.requested,
            published=done.published,
            failed=done.failed,
            missing=done.missing,
            thinned=done.thinned,
            already_claimed=done.already_claimed,
            summary=done.summary,
            total_ms=done.ms.total,
            infer_ms=done.ms.infer,
            attempts=done.attempts,
            window=[done.window.start, done.window.end],
            meta=meta,
        )

    def __repr__(self) -> str:
        return f"<Chronicle of {len(self.requests)} requests>"


def of_result(result: Result) -> Told:
    """A result, less what no page shows."""
    told: Told = {
        "index": result.index,
        "seq": result.frame.seq,
        "offset": result.frame.offset_ms,
        "size": [result.frame.width, result.frame.height],
        "model": result.model,
        "simulated": result.simulated,
        "ms": [result.ms.wait, result.ms.prepare, result.ms.infer, result.ms.post],
    }
    if result.batch is not None:
        told["batch"] = [result.batch.size, result.batch.slot, result.batch.filled]
    if result.detections is not None:
        told["boxes"] = [
            {"label": one.label, "class": one.class_id, "score": one.score, "box": one.box}
            | ({"says": [best.label, best.score]} if (best := (one.classes or (None,))[0]) else {})
            for one in result.detections[:BOXES]
        ]
        told["found"] = len(result.detections)
    if result.classes is not None:
        told["classes"] = [[one.label, one.score] for one in result.classes]
    if result.embedding is not None:
        told["dim"] = result.embedding.dim
    if result.error is not None:
        told["error"] = [result.error.code, result.error.message]
    return told
