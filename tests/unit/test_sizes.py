import msgspec
import pytest

from framebuf.contract import (
    Stats,
    encode,
    smaller_ack,
    smaller_done,
    smaller_result,
    smaller_stats,
)
from tests.service.said import ack, done, result

EMBEDDING = {"f32": "A" * 4000, "dim": 750}


def encoded(said):
    return msgspec.json.encode(said[1])


def smaller(said, room, make=smaller_result):
    return msgspec.json.decode(make(encoded(said), room))


def test_what_fits_stays_as_it_is():
    assert smaller(result(0), 10_000)["detections"] == result(0)[1]["detections"]


def test_an_embedding_is_left_out_and_said_to_be():
    less = smaller(result(0, detections=None, embedding=EMBEDDING), 1_000)
    assert less["left_out"] == ["embedding"]
    assert not {"embedding", "error"} & less.keys()


def test_embeddings_are_left_out_of_detections_too_and_the_rest_of_them_stays():
    found = result(0)[1]["detections"]
    nested = [one | {"embedding": EMBEDDING} for one in found]
    error = {"code": "npu_timeout", "message": "1 of 2 crops"}
    less = smaller(result(0, detections=nested, crops_left_out=3, error=error), 1_000)
    assert less["left_out"] == ["embedding"]
    assert less["detections"] == found
    assert (less["crops_left_out"], less["error"]) == (3, error)


def test_what_still_does_not_fit_becomes_its_error():
    less = smaller(result(3), 350)
    assert less["error"]["code"] == "too_large"
    assert less["index"] == 3
    assert not {"detections", "left_out"} & less.keys()


FOUND = {f"label {n}": 4 for n in range(9)}
WITHOUT_META = len(encoded(done(summary=FOUND, left_out=["meta"])))


@pytest.mark.parametrize(
    ("room", "left_out"), [(WITHOUT_META, ["meta"]), (WITHOUT_META - 1, ["meta", "summary"])]
)
def test_a_done_loses_what_its_counts_do_not_need(room, left_out):
    less = smaller(done(meta="x" * 3000, summary=FOUND), room, smaller_done)
    assert less["left_out"] == left_out
    assert less["summary"] == (FOUND if room == WITHOUT_META else {})
    assert less["published"] == 4


def test_a_done_that_does_not_fit_at_all_is_replaced_by_its_error():
    less = smaller(done(meta="x"), 200, smaller_done)
    assert len(msgspec.json.encode(less)) <= 200
    error = {"code": "too_large", "message": "the broker takes 200 bytes of it"}
    assert less == {"v": 1, "event_type": "complete", "id": "r", "camera": "gate", "error": error}


def test_a_result_whose_error_does_not_fit_is_replaced_by_the_error_alone():
    less = smaller(result(3), 200)
    error = {"code": "too_large", "message": "the broker takes 200 bytes of it"}
    assert less == {"v": 1, "id": "r", "index": 3, "camera": "gate", "error": error}


def test_an_ack_keeps_the_code_of_its_error():
    said = ack("rejected", error={"code": "bad_payload", "message": "x" * 200})
    assert smaller(said, 100, smaller_ack)["error"] == {"code": "bad_payload", "message": ""}
    assert smaller(ack(), 10, smaller_ack) == ack()[1]


def test_stats_keep_their_counters_and_say_that_the_rest_is_left_out():
    cameras = {"gate": {"held": 10, "fps": 9.9}}
    counters = {"results": 8}
    stats = Stats(at="now", uptime_s=1.5, counters=counters, cameras=cameras, requests_open=2)
    less = msgspec.json.decode(smaller_stats(encode(stats), 10), type=Stats)
    assert (less.counters, less.requests_open, less.uptime_s) == (counters, 2, 1.5)
    assert (less.cameras, less.left_out) == ({}, True)
    assert not stats.left_out
