"""Every rule for one request is broken once by hand, and the books tell."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.said import BEST, DUPLICATE, REFUSED, ack, done, faults, good, result
from tests.service.shapes import faults_of

if TYPE_CHECKING:
    from tests.service.messages import Document
    from tests.service.said import Said


def change(place: int, path: str, value: Any) -> Callable[[Said], None]:
    """Set one field of one document; `...` takes it away."""

    def apply(said: Said) -> None:
        document: Any = said[place][1]
        *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
        for step in way:
            document = document[step]
        if value is ...:
            del document[last]
        else:
            document[last] = value

    return apply


def swap(a: int, b: int) -> Callable[[Said], None]:
    def apply(said: Said) -> None:
        said[a], said[b] = said[b], said[a]

    return apply


def insert(place: int, *item: tuple[str, Document]) -> Callable[[Said], None]:
    return lambda said: said.__setitem__(slice(place, place), item)


def remove(place: int) -> Callable[[Said], None]:
    return lambda said: said.__delitem__(place)


LATER = "2026-11-22T06:31:00.000Z"
BREACHES: list[tuple[Callable[[Said], None], str]] = [
    # who said what, and when
    (remove(0), "0 acks say accepted"),
    (insert(1, ack()), "2 acks say accepted"),
    (insert(1, REFUSED), "other acks are"),
    (insert(1, DUPLICATE), "1 acks say duplicate, not 0"),
    (remove(5), "no done"),
    (insert(5, done()), "2 done documents"),
    (swap(0, 1), "results [0] before the ack"),
    (swap(4, 5), "results [3] after done"),
    (insert(6, result(4)), "results [4] after done"),
    (lambda said: said.insert(0, said.pop()), "done before the ack"),
    # the indexes and the frames
    (remove(2), "4 published; 3 came"),
    (insert(3, result(1)), "index 1 came again"),
    (swap(2, 3), "published in the order [0, 2, 1, 3]"),
    (change(4, "index", 4), "indexes [4] with 4 requested"),
    (change(3, "frame.seq", 101), "indexes 1 and 2: seq 101, 101"),
    (change(3, "frame.seq", 107), "indexes 2 and 3: seq 107, 103"),
    (change(2, "frame.at", LATER), "indexes 1 and 2: at"),
    (change(4, "frame.offset_ms", 0), "should be one moment; 40 ms"),
    # the counts
    (change(5, "requested", 5), "requested 5 is not published 4 + missing 0"),
    (change(5, "missing", {"evicted": 1}), "requested 4 is not published 4 + missing 1"),
    (change(5, "published", 3), "done says 3 published; 4 came"),
    (change(5, "failed", 1), "done says 1 failed; 0 results"),
    (change(5, "event_type", "partial"), "the counts mean complete"),
    (change(5, "event_type", "failed"), "the counts mean complete"),
    (change(5, "summary", {"cat": 8}), "the results give {'cat': 4}"),
    (change(5, "summary", {}), "the results give {'cat': 4}"),
    (change(5, "summary", {"cat": 4, "dog": 0}), "the results give {'cat': 4}"),
    # the fields
    *((change(5, field, ...), field) for field in done()[1] if field not in ("id",)),
    *(
        (change(2, field, ...), field)
        for field in result(1)[1]
        if field not in ("id", "detections")
    ),
    *((change(2, f"frame.{field}", ...), field) for field in result(1)[1]["frame"]),
    *((change(2, f"ms.{field}", ...), field) for field in result(1)[1]["ms"]),
    (change(0, "v", 2), "v is 2"),
    (change(0, "status", "queued"), "status 'queued'"),
    (change(0, "error", {"code": "stale", "message": "x"}), "accepted with error"),
    (change(2, "detections", ...), "no error and findings []"),
    (change(2, "classes", BEST), "findings ['detections', 'classes']"),
    (change(2, "error", {"code": "x", "message": "y"}), "1 results have an error"),
    (change(2, "index", True), "index is True"),
    (change(2, "index", -1), "index is -1"),
    (change(2, "camera", "yard"), "speaks of camera yard"),
    (change(5, "camera", "yard"), "speaks of camera yard"),
    (change(2, "frame.at", "2026-11-22T06:30:00.120+01:00"), "is not RFC 3339"),
    (change(2, "batch.slot", 4), "no such place in a batch"),
    (change(2, "batch.filled", 5), "no such place in a batch"),
    (change(2, "ms.infer", float("nan")), "infer is nan"),
    (change(2, "detections.0.box", [1.5, 2.0, 30.25, 40.0]), "more decimals"),
    (change(2, "detections.0.box", [-0.1, 2.0, 30.2, 40.0]), "leaves the frame of 640×480"),
    (change(2, "detections.0.box", [600.0, 2.0, 40.2, 40.0]), "leaves the frame of 640×480"),
    (change(2, "detections.0.box", [1.0, 2.0, 3.0]), "box of"),
    (change(2, "detections.0.score", 0.45), "best is not first"),
    (change(2, "detections.0.score", 1.2), "score of"),
    (change(2, "detections.0.label", None), "label or class_id"),
    (change(5, "missing", {"lost": 0}), "no reason ['lost']"),
    (change(5, "missing", {"evicted": -1}), "evicted is -1"),
    (change(5, "window.to", "2026-11-22T06:29:00.000Z"), "ends before it begins"),
    (change(5, "window.to", None), "is not RFC 3339"),
    (change(5, "attempts", 1.5), "attempts is 1.5"),
]


@pytest.mark.parametrize(("breach", "told"), BREACHES, ids=range(len(BREACHES)))
def test_each_breach_is_told(breach: Callable[[Said], None], told: str) -> None:
    said = copy.deepcopy(good())
    breach(said)
    assert told in "\n".join(faults(said))


def no_detections(**more: Any) -> Document:
    document = result(0, **more)[1]
    return {key: value for key, value in document.items() if key != "detections"}


@pytest.mark.parametrize(
    ("leaf", "document", "told"),
    [
        ("result", [1], "not a JSON object"),
        ("ack", ack(id="a b")[1], "accepted with id 'a b'"),
        ("ack", ack(id=None)[1], "accepted with id None"),
        ("ack", ack("rejected", error={"code": "stale"})[1], "message is None"),
        ("ack", ack("duplicate")[1], "first_at: None"),
        ("ack", ack("duplicate", first_at="2026-13-01T00:00:00.000Z")[1], "first_at"),
        ("result", result(0, id="ü")[1], "id 'ü'"),
        ("done", done(id="")[1], "id ''"),
        ("result", result(0, frame=7)[1], "frame is 7"),
        ("result", no_detections(error={"code": "x"}), "message is None"),
        ("result", no_detections(embedding={"f32": "AAAA", "dim": 4}), "3 bytes"),
        ("result", no_detections(embedding={"f32": "A", "dim": 4}), "embedding: Error"),
        ("result", no_detections(embedding={"f32": "AAAA"}), "KeyError"),
        ("result", result(0, frame=result(0)[1]["frame"] | {"position": -1})[1], "position is -1"),
    ],
)
def test_each_misshapen_document_is_told(leaf: str, document: Any, told: str) -> None:
    assert told in "\n".join(faults_of(leaf, document))


def test_well_shaped_documents_pass() -> None:
    position = result(0)[1]["frame"] | {"position": 3, "file": "a.jpg"}
    embedding = {"f32": "AACAPw==", "dim": 1}
    assert faults_of("result", no_detections(frame=position, embedding=embedding)) == []
    assert faults_of("ack", REFUSED[1] | {"id": None}) == []
    assert faults_of("ack", DUPLICATE[1]) == []
