import msgspec
import pytest

from framebuf.contract import smaller_done, smaller_result
from tests.service.said import done, result

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


@pytest.mark.parametrize(("room", "left_out"), [(500, ["meta"]), (10, ["meta", "summary"])])
def test_a_done_loses_what_its_counts_do_not_need(room, left_out):
    less = smaller(done(meta="x" * 3000), room, smaller_done)
    assert less["left_out"] == left_out
    assert less["summary"] == ({"cat": 4} if room == 500 else {})
    assert less["published"] == 4
