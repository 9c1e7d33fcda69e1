from __future__ import annotations

import json
from itertools import permutations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf import contract
from framebuf.buffer.history import Stamp
from framebuf.buffer.window import Asked, Window
from framebuf.buffer.windowspec import WindowSpec
from framebuf.frames import Frame, Origin
from framebuf.results import (
    BatchPlace,
    Classification,
    Detection,
    Failure,
    Findings,
    FrameResult,
    Inference,
    Timings,
)
from framebuf.service.orders import Order
from framebuf.service.request import Request
from framebuf.units import SECOND_NS, Moment, Span, parse_rfc3339

EVENT = Moment(100 * SECOND_NS, parse_rfc3339("2026-11-22T06:30:00.120Z"))
PERIOD_MS = 40


class FakeLease:
    def __init__(self):
        self.released = False

    def release(self):
        self.released = True


def request(*, before="1s", after="0s", meta=msgspec.UNSET, received_ms=0):
    spec = WindowSpec(
        EVENT.mono_ns, None if before is None else Span.parse(before), Span.parse(after)
    )
    order = Order(
        "part-1", "gate", EVENT.shifted(received_ms * 10**6), EVENT, spec, drain=False,
        deadline_ns=2**63, priority=0, meta=meta,
    )  # fmt: skip
    return Request(order, Window(spec, None))


def add(request, count=1):
    """Frames that are asked for and leased, one each period up to the event."""
    items = []
    for _ in range(count):
        index = len(request.items)
        captured = EVENT.shifted((index - 10) * PERIOD_MS * 10**6)
        item = request.add(Asked(index, Stamp(500 + index, captured)))
        pixels = np.zeros((6, 8, 3), np.uint8)
        item.frame = Frame(500 + index, captured, pixels, Origin(index, f"{index}.jpg"))
        item.lease = FakeLease()
        items.append(item)
    return items


def found(*labels, run=1, infer=2.0):
    detections = tuple(Detection(label, 0, 0.5, (0.0, 0.0, 1.0, 1.0)) for label in labels)
    return FrameResult(
        "m", Findings(detections=detections), None, BatchPlace(8, 0, 1), Timings(infer=infer), run
    )


def failed(code="inference_failed"):
    return FrameResult("m", error=Failure(code, "…"), run=7)


def indices(items):
    return [json.loads(item.payload)["index"] for item in items]


def done(request, after_ms=0.0):
    """The done document, as it goes out."""
    now = request.order.received.mono_ns + round(after_ms * 1e6)
    return json.loads(contract.encode(request.done(now, "boot")))


# in capture order ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_results_go_out_in_capture_order_whatever_order_they_come_in(order):
    asked = request()
    items = add(asked, 4)
    out, came = [], set()
    for at in order:
        asked.answer(items[at], found())
        came.add(at)
        out += indices(asked.flush())
        # as early as what stands before them allows
        assert out == list(range(next((n for n in range(4) if n not in came), 4)))


def test_a_frame_that_is_lost_holds_nothing_up():
    asked = request()
    items = add(asked, 3)
    asked.answer(items[2], found())
    asked.answer(items[0], found())
    assert indices(asked.flush()) == [0]
    asked.lose(items[1], "evicted")
    assert indices(asked.flush()) == [2]
    assert items[1].lease.released
    assert not items[0].lease.released  # until the broker has its result
    items[0].release()
    assert items[0].lease.released


def test_nothing_goes_out_twice():
    asked = request()
    (item,) = add(asked)
    asked.answer(item, found())
    assert len(asked.flush()) == 1
    assert asked.flush() == []
    assert asked.published == 1


def test_a_frame_settles_once():
    asked = request()
    answered, lost = add(asked, 2)
    asked.answer(answered, found())
    asked.lose(lost, "evicted")
    for item in (answered, lost):
        with pytest.raises(
            RuntimeError, match=rf"frame {item.asked.index} of part-1 settled twice"
        ):
            asked.answer(item, found())
        with pytest.raises(RuntimeError, match="settled twice"):
            asked.lose(item, "deadline")
    assert (asked.unsettled, asked.failed, dict(asked.missing)) == (0, 0, {"evicted": 1})


def test_a_frame_that_was_never_leased_can_be_lost_but_not_answered():
    asked = request()
    item = asked.add(Asked(0, Stamp(3, EVENT)))
    with pytest.raises(RuntimeError, match="never leased"):
        asked.answer(item, found())
    item = asked.add(Asked(1, Stamp(4, EVENT)))
    asked.lose(item, "evicted")
    assert asked.flush() == []


def test_a_result_says_which_frame_it_is_about():
    asked = request()
    (item,) = add(asked)
    asked.answer(item, found("cat"))
    result = json.loads(item.payload)
    assert result["frame"] == {
        "seq": 500, "at": "2026-11-22T06:29:59.720Z", "offset_ms": -400, "width": 8, "height": 6,
        "position": 0, "file": "0.jpg",
    }  # fmt: skip
    assert (result["id"], result["camera"], result["index"]) == ("part-1", "gate", 0)
    assert "run" not in result


# the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "bad", "lost", "outcome"),
    [
        (3, 0, 0, "complete"),
        (0, 0, 0, "complete"),  # a drain with nothing new
        (2, 1, 0, "partial"),
        (2, 0, 1, "partial"),
        (1, 1, 1, "partial"),
        (0, 2, 0, "failed"),
        (0, 0, 2, "failed"),
        (0, 1, 1, "failed"),
    ],
)
def test_the_outcome_is_that_of_the_contract(good, bad, lost, outcome):
    asked = request()
    for item in add(asked, good):
        asked.answer(item, found())
    for item in add(asked, bad):
        asked.answer(item, failed())
    for item in add(asked, lost):
        asked.lose(item, "memory")
    asked.flush()
    document = done(asked)
    assert document["event_type"] == outcome
    assert document["published"] == good + bad
    assert document["failed"] == bad
    assert document["requested"] == good + bad + lost
    assert document["missing"] == ({"memory": lost} if lost else {})


def test_what_was_never_captured_makes_a_request_without_answers_failed():
    asked = request(before=5)
    asked.missing["not_captured"] += 5
    asked.missing["camera_gap"] += 0
    document = done(asked)
    assert (document["event_type"], document["requested"], document["published"]) == (
        "failed",
        5,
        0,
    )
    assert document["missing"] == {"not_captured": 5}


def test_frames_claimed_before_and_thinned_ones_are_told_and_not_requested():
    asked = request()
    asked.window.already_claimed = 4
    asked.window.thinned = 9
    document = done(asked)
    assert (document["event_type"], document["requested"]) == ("complete", 0)
    assert (document["already_claimed"], document["thinned"]) == (4, 9)


def test_the_summary_counts_the_frames_of_each_label_and_not_the_findings():
    asked = request()
    items = add(asked, 5)
    asked.answer(items[0], found("cat", "cat", "dog"))
    asked.answer(items[1], found("cat"))
    asked.answer(items[2], found())
    asked.answer(items[3], failed())
    best = (Classification("cat", 1, 0.9), Classification("fox", 2, 0.1))
    asked.answer(items[4], FrameResult("m", Findings(classes=best)))
    asked.flush()
    assert done(asked)["summary"] == {"cat": 3, "dog": 1}


def test_a_batch_counts_once_in_the_time_of_inference_however_many_frames_it_answered():
    asked = request()
    for item in add(asked, 3):
        asked.answer(item, found(run=1, infer=20.0))
    for item in add(asked, 2):
        asked.answer(item, found(run=2, infer=5.5))
    (undecodable,) = add(asked)
    asked.answer(undecodable, FrameResult("m", error=Failure("undecodable", "…")))
    asked.flush()
    assert done(asked, after_ms=212.25)["ms"] == {"total": 212.25, "infer": 25.5}


def test_of_two_models_batches_of_both_count_and_what_was_found_though_the_second_failed():
    one = request()
    first, second = add(one, 2)
    crops = (Inference("n", 1, 4.0), Inference("n", 2, 8.0))
    one.answer(first, msgspec.structs.replace(found("person", run=1), further=crops))
    failure = Failure("npu_timeout", "1 of 1 crops for n")
    said = msgspec.structs.replace(found("person", run=1), further=crops[1:], error=failure)
    message = one.answer(second, said)
    assert message.detections
    assert message.error == failure
    one.flush()
    ended = done(one)
    assert ended["ms"]["infer"] == 2.0 + 4.0 + 8.0
    assert (ended["event_type"], ended["failed"]) == ("partial", 1)
    assert ended["summary"] == {"person": 2}


def test_meta_is_that_of_the_trigger():
    assert done(request(meta=msgspec.Raw(b'{"lot": "A7"}')))["meta"] == {"lot": "A7"}
    assert "meta" not in done(request())


@pytest.mark.parametrize(
    ("before", "after", "first_ms", "last_ms", "start", "end"),
    [
        ("1s", "0s", None, None, "06:29:59.120", "06:30:00.120"),
        ("1s", "0s", -400, -40, "06:29:59.120", "06:30:00.120"),
        ("1.5s", "500ms", None, None, "06:29:58.620", "06:30:00.620"),
        (3, "0s", -80, 0, "06:30:00.040", "06:30:00.120"),
        (3, "0s", None, None, "06:30:00.120", "06:30:00.120"),
        (None, "0s", -9_000, 0, "06:29:51.120", "06:30:00.120"),
        (0, 2, 40, 80, "06:30:00.120", "06:30:00.200"),
        ("0s", "0s", -30, -30, "06:30:00.090", "06:30:00.120"),
        ("1s", 2, None, None, "06:29:59.120", "06:30:00.120"),
    ],
)
def test_the_window_is_told_in_utc_from_the_event_and_counted_ends_are_frames(
    before, after, first_ms, last_ms, start, end
):
    asked = request(before=before, after=after, received_ms=700)
    if first_ms is not None:
        asked.window.first_ns = EVENT.mono_ns + first_ms * 10**6
        asked.window.last_ns = EVENT.mono_ns + last_ms * 10**6
    assert done(asked)["window"] == {
        "from": f"2026-11-22T{start}Z", "to": f"2026-11-22T{end}Z",
    }  # fmt: skip


@given(st.lists(st.sampled_from(["good", "bad", "lost", "flush"]), max_size=30), st.randoms())
def test_the_books_balance_whatever_happens_in_whatever_order(fates, chance):
    asked = request()
    fates_of = [(item, fate) for fate in fates if fate != "flush" for item in add(asked)]
    chance.shuffle(fates_of)
    out = []
    for item, fate in fates_of:
        if fate == "lost":
            asked.lose(item, chance.choice(["evicted", "deadline"]))
        else:
            asked.answer(item, found() if fate == "good" else failed())
        if chance.random() < 0.5:
            out += indices(asked.flush())
    out += indices(asked.flush())
    document = done(asked)
    count = {fate: fates.count(fate) for fate in ("good", "bad", "lost")}
    assert out == sorted(out)
    assert len(out) == document["published"] == count["good"] + count["bad"]
    assert document["failed"] == count["bad"]
    assert document["requested"] == document["published"] + sum(document["missing"].values())
    assert document["requested"] == sum(count.values())
    assert asked.unsettled == 0
