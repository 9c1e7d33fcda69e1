"""The AsyncAPI document: complete, and a net with which the service tests catch what breaks it."""

from __future__ import annotations

import json

import pytest

from framebuf import contract
from framebuf.contract.asyncapi import CHANNELS, document
from tests.service.asyncapi import faults_of_node
from tests.service.messages import Message

RESULT = {
    "v": 1, "id": "part-1", "index": 4, "camera": "gate",
    "frame": {"seq": 1, "at": "2026-11-22T06:29:59.700Z", "offset_ms": -420, "width": 9,
              "height": 9},
    "model": "person", "batch": {"size": 8, "slot": 4, "filled": 8},
    "ms": {"wait": 3.1, "prepare": 0.9, "infer": 22.4, "post": 0.7},
    "detections": [{"label": "person", "class_id": 0, "score": 0.81, "box": [4.0, 9.5, 8.2, 2.0]}],
}  # fmt: skip


def faults(topic: str, said: object, **about: object) -> list[str]:
    """Of one message on `framebuf/n/<topic>`; text is what it is, anything else JSON."""
    payload = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    parsed = None if isinstance(said, str) else said
    message = Message(0, f"framebuf/n/{topic}", parsed, payload, **about)
    return faults_of_node([message], "framebuf/n/")


def test_every_message_of_the_contract_is_in_the_document():
    kinds = {kind.__name__ for kind in contract.MESSAGES}
    found = document("1")["components"]
    assert set(found["messages"]) == kinds | {"State", "Picture"}
    assert kinds <= set(found["schemas"])
    assert len({channel.address for channel in CHANNELS}) == len(CHANNELS)


def test_every_message_that_goes_out_must_have_its_version():
    schemas = document("1")["components"]["schemas"]
    for kind in (contract.Ack, contract.Result, contract.Done, contract.Info, contract.Stats):
        assert "v" in schemas[kind.__name__]["required"]


def test_a_good_message_has_no_faults():
    assert faults("gate/result", RESULT) == []
    assert faults("gate/availability", "online", retain=True) == []
    assert faults("gate/image/part-1/4", "JPEG", qos=0) == []
    assert faults("gate/trigger", "whatever anybody sends") == []


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"index": -1},
        {"index": "4"},
        {"id": "a b"},
        {"detections": [{"label": "person"}]},
        {"detections": [{**RESULT["detections"][0], "box": [1.0, 2.0, 3.0]}]},
        {"detections": [{**RESULT["detections"][0], "box": [1.0, 2.0, 3.0, 4.0, 5.0]}]},
        {"image": "lost"},
        {"frame": None},
    ],
)
def test_a_result_that_breaks_the_contract_is_told(change):
    assert len(faults("gate/result", RESULT | change)) == 1


@pytest.mark.parametrize(
    ("topic", "said", "about", "words"),
    [
        ("gate/rslt", RESULT, {}, "no channel"),
        ("gate/a/b/result", RESULT, {}, "no channel"),
        ("gate/result", RESULT, {"qos": 0}, "QoS 0, not 1"),
        ("gate/result", RESULT, {"retain": True}, "it is retained"),
        ("gate/availability", "Online", {}, "none of ('online', 'offline')"),
        ("stats", {}, {"qos": 0}, "must contain"),
        ("info", "no JSON", {"retain": True}, "must be object"),
    ],
)
def test_what_else_breaks_the_contract_is_told_in_words(topic, said, about, words):
    [told] = faults(topic, said, **about)
    assert words in told
