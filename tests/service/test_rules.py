"""Every rule of the books is broken once by hand, and seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service.messages import Message, Request, parse
from tests.service.rules import (
    drain_faults,
    outcome,
    rejection_faults,
    request_faults,
    retain_faults,
)
from tests.service.said import (
    BEST,
    DUPLICATE,
    EMPTY,
    FAILED,
    REFUSED,
    C,
    ack,
    done,
    faults,
    good,
    messages,
    partial,
    result,
    without_findings,
)

if TYPE_CHECKING:
    from tests.service.said import Said


@pytest.mark.parametrize(
    "said",
    [
        good(),
        partial(),
        [ack(), done(**EMPTY)],
        [ack(), done(**FAILED)],
        [
            ack(),
            without_findings(0),
            done(**FAILED | {"published": 1, "failed": 1, "requested": 5}),
        ],
        [ack(), result(0, detections=[]), done(**EMPTY | {"requested": 1, "published": 1})],
        [
            ack(),
            result(0, detections=None, classes=BEST),
            done(requested=1, published=1, summary={"a": 1}),
        ],
        [ack(), *(result(i, new_field=1) for i in range(4)), done(new_field=1)],
    ],
)
def test_a_request_that_keeps_the_contract_has_no_faults(said: Said) -> None:
    assert faults(said) == []


def test_an_outcome_follows_from_the_counts() -> None:
    assert outcome(requested=0, published=0, failed=0, missing=0) == "complete"
    assert outcome(requested=4, published=4, failed=0, missing=0) == "complete"
    assert outcome(requested=4, published=4, failed=3, missing=0) == "partial"
    assert outcome(requested=4, published=1, failed=0, missing=3) == "partial"
    assert outcome(requested=4, published=4, failed=4, missing=0) == "failed"
    assert outcome(requested=4, published=0, failed=0, missing=4) == "failed"
    assert outcome(requested=4, published=1, failed=1, missing=3) == "failed"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("retain", True, "was retained"), ("qos", 0, "QoS 0"), ("topic", "b/n/yard/done", "several")],
)
def test_how_a_message_came_is_judged_too(field: str, value: Any, told: str) -> None:
    heard = messages(good())
    said = {name: getattr(heard[-1], name) for name in Message.__slots__} | {field: value}
    request = Request.of([*heard[:-1], Message(**said)], "r")
    assert told in "\n".join(request_faults(request))


def test_what_the_trigger_asked_is_held_against_done() -> None:
    said = [*good()[:-1], done(meta={"lot": "A7"}, already_claimed=2)]
    assert faults(said, {"meta": {"lot": "A7"}, "max_frames": 4}) == []
    assert "meta" in "\n".join(faults(said, {"meta": {"lot": "A8"}}))
    assert "meta" in "\n".join(faults(said, {"id": "r"}))
    told = faults(said, {"meta": {"lot": "A7"}, "max_frames": 3, "mode": "window"})
    assert told == ["4 requested; max_frames is 3", "a window with 2 already claimed"]


def test_a_duplicate_may_have_the_done_again_but_not_another_one() -> None:
    assert faults([*good(), DUPLICATE, done()], duplicates=1) == []
    assert faults(good(), duplicates=1) == ["0 acks say duplicate, not 1"]
    assert faults([*good(), DUPLICATE, done(attempts=2)], duplicates=1) == [
        "its done documents differ"
    ]
    again = faults([*good(), DUPLICATE, result(0), done()], duplicates=1)
    assert again == ["results [0] after done", "index 0 came again"]


def test_after_a_crash_the_same_may_come_again_but_not_something_else() -> None:
    crashed = [*good()[:3], result(0), result(1), result(2), result(3), done(), done()]
    assert faults(crashed, is_redelivered=True) == []
    assert faults([*good()[:1], *crashed], is_redelivered=True) == []
    assert faults([*crashed[1:-2], DUPLICATE, done()], is_redelivered=True) == []
    assert faults(crashed[1:], is_redelivered=True) == ["0 accepted and 0 duplicate acks"]
    crashed[3][1]["frame"]["seq"] = 99
    assert faults(crashed, is_redelivered=True) == ["index 0 came again with another frame"]
    assert faults([*good(), result(3)], is_redelivered=True) == []
    late = [*good()[:-2], done(), result(3)]
    assert faults(late, is_redelivered=True) == ["results [3] after done"]
    other = [*good()[:-1], result(3, detections=[]), done()]
    assert "index 3 came again with other findings" in faults(other, is_redelivered=True)


def test_after_a_crash_done_counts_the_newest_copy_of_each_result() -> None:
    counts = {"event_type": "partial", "failed": 1, "summary": {"cat": 3}}
    went_well = [*good()[:4], without_findings(3), result(3), done()]
    failed = [*good()[:-1], without_findings(3), done(**counts)]
    assert faults(went_well, is_redelivered=True) == []
    assert faults(failed, is_redelivered=True) == []
    for said, now in ((went_well, done(**counts)), (failed, done())):
        told = faults([*said[:-1], now], is_redelivered=True)
        assert (
            f"done says {now[1]['failed']} failed; {1 - now[1]['failed']} results have"
            in "".join(told)
        )


def test_a_done_comes_again_as_another_only_where_it_counts_other_results() -> None:
    counts = {"event_type": "partial", "failed": 1, "summary": {"cat": 3}}
    first = [*good()[:4], without_findings(3), done(**counts)]
    anew = done(attempts=2, ms={"total": 212.0, "infer": 120.5})
    assert faults([*first, result(3), anew], is_redelivered=True) == []
    assert faults([*first, result(3), done(**counts)], is_redelivered=True) != []
    assert faults([*first, done(attempts=2, **counts)], is_redelivered=True) == [
        "its done documents differ"
    ]
    for field, value in (("boot_id", "another"), ("thinned", 3)):
        other = (anew[0], anew[1] | {field: value})
        assert "its done documents differ" in faults(
            [*first, result(3), other], is_redelivered=True
        )


def test_a_rejection_stands_alone() -> None:
    assert rejection_faults(Request.of(messages([REFUSED]), "r"), "stale") == []
    for said, told in (
        ([REFUSED], "rejected with ['stale'], expected ['queue_full']"),
        ([REFUSED, REFUSED], "rejected with ['stale', 'stale']"),
        ([REFUSED, result(0)], "yet 1 results"),
        ([ack()], "rejected with [None]"),
        ([ack("rejected", error={"code": "why", "message": "x"})], "no code 'why'"),
        ([ack("rejected")], "rejected with error None"),
    ):
        told_faults = rejection_faults(Request.of(messages(said), "r"), "queue_full")
        assert told in "\n".join(told_faults)


def test_a_frame_that_two_drains_answer_is_told() -> None:
    one, other = ([result(i, id=id)[1] for i in range(4)] for id in ("r", "s"))
    for document in other:
        document["frame"]["seq"] += 4
    assert drain_faults([*one, *other, *one]) == []
    other[0]["frame"]["seq"] = 103
    assert drain_faults([*one, *other]) == ["gate frame 103 is answered by r and s"]
    other[0]["camera"] = "yard"
    assert drain_faults([*one, *other]) == []


def test_only_what_the_contract_retains_is_retained() -> None:
    def heard(leaf: str, *, retain: bool) -> Message:
        return Message(0, f"{C}/{leaf}", None, retain=retain)

    rights = [heard("availability", retain=True), heard("done", retain=False)]
    assert retain_faults([*rights, heard("trigger", retain=True)]) == []
    assert len(retain_faults([heard("availability", retain=False)])) == 1
    assert len(retain_faults([heard("ack", retain=True), heard("image/r/0", retain=True)])) == 2


def test_what_is_not_json_is_not_read_as_json() -> None:
    assert parse(b'{"a": 1}') == {"a": 1}
    for payload in (b"", b"online", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 200_000):
        assert parse(payload) is None
