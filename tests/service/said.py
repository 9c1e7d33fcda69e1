"""Hand-made documents of one request that keeps the contract, for tests to break."""

from __future__ import annotations

from typing import Any

from tests.service.messages import Document, Message, Request
from tests.service.rules import request_faults

C = "framebuf/gate-7/gate"
Said = list[tuple[str, Document]]
"""Leaf and document, in the order of their arrival."""


def ack(status: str = "accepted", **more: Any) -> tuple[str, Document]:
    return "ack", {"v": 1, "id": "r", "status": status} | more


def result(index: int, **more: Any) -> tuple[str, Document]:
    document = {
        "v": 1,
        "id": "r",
        "index": index,
        "camera": "gate",
        "frame": {
            "seq": 100 + index,
            "at": f"2026-11-22T06:30:00.{index * 40:03d}Z",
            "offset_ms": index * 40 - 160,
            "width": 640,
            "height": 480,
        },
        "model": "person",
        "batch": {"size": 4, "slot": index % 4, "filled": 4},
        "ms": {"wait": 3.1, "prepare": 0.9, "infer": 22.4, "post": 0.7},
        "detections": [
            {"label": "cat", "class_id": 15, "score": 0.6, "box": [1.5, 2.0, 30.2, 40.0]},
            {"label": "cat", "class_id": 15, "score": 0.5, "box": [99.5, 2.0, 30.2, 40.0]},
        ],
        **more,
    }
    return "result", document


def without_findings(index: int) -> tuple[str, Document]:
    leaf, document = result(index, error={"code": "decode_failed", "message": "half a picture"})
    del document["detections"], document["batch"]
    return leaf, document


def done(**more: Any) -> tuple[str, Document]:
    document = {
        "v": 1,
        "event_type": "complete",
        "id": "r",
        "camera": "gate",
        "requested": 4,
        "published": 4,
        "failed": 0,
        "missing": {},
        "thinned": 0,
        "already_claimed": 0,
        "window": {"from": "2026-11-22T06:30:00.000Z", "to": "2026-11-22T06:30:00.160Z"},
        "summary": {"cat": 4},
        "ms": {"total": 212.0, "infer": 96.1},
        "boot_id": "5b0c",
        "attempts": 1,
        **more,
    }
    return "done", document


def good() -> Said:
    return [ack(), *(result(i) for i in range(4)), done()]


def messages(said: Said) -> list[Message]:
    return [Message(i, f"{C}/{leaf}", document) for i, (leaf, document) in enumerate(said)]


def partial() -> Said:
    """Four of seven: one with an error, three missing."""
    results = [result(0), result(2), without_findings(5), result(6)]
    counts = {"requested": 7, "failed": 1, "missing": {"evicted": 2, "deadline": 1}}
    return [ack(), *results, done(event_type="partial", summary={"cat": 3}, **counts)]


EMPTY = {"requested": 0, "published": 0, "summary": {}}
FAILED = {"event_type": "failed", "published": 0, "summary": {}, "missing": {"memory": 4}}
BEST = [{"label": "a", "class_id": 0, "score": 0.7}, {"label": "b", "class_id": 1, "score": 0.2}]


REFUSED = ack("rejected", error={"code": "stale", "message": "old"})
DUPLICATE = ack("duplicate", first_at="2026-11-22T06:30:00.000Z")


def faults(said: Said, trigger: Document | None = None, **expected: Any) -> list[str]:
    return request_faults(Request.of(messages(said), "r"), trigger, **expected)
