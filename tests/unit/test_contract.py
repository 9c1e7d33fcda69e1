from __future__ import annotations

import contextlib
import json
import math
from typing import get_args

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framebuf import contract
from framebuf.contract import (
    Ack,
    CameraInfo,
    Done,
    DoneTimings,
    FramePlace,
    Info,
    ModelInfo,
    Outcome,
    Reason,
    Result,
    Stats,
    Topics,
    WindowTimes,
)
from framebuf.errors import ContractError
from framebuf.results import (
    BatchPlace,
    Classification,
    Detection,
    Embedding,
    Failure,
    Findings,
    FrameResult,
    Tensor,
    Timings,
)
from framebuf.units import Duration, Span

# CONTRACT.md, "Trigger", "Ack", "Result" and "Done", word for word
TRIGGER = b"""\
{"id": "part-000123", "at": "2026-11-22T06:30:00.120Z", "before": "1.5s", "after": 8,
 "max_frames": 32, "stride": 1, "mode": "window", "deadline": "2s", "priority": 0,
 "images": "none", "meta": {"lot": "A7"}}
"""
ACK = b"""\
{"v": 1, "id": "part-000123", "status": "rejected",
 "error": {"code": "queue_full", "message": "32 requests pending; the limit is 32"}}
"""
RESULT = b"""\
{"v": 1, "id": "part-000123", "index": 4, "camera": "gate",
 "frame": {"seq": 48211, "at": "2026-11-22T06:29:59.700Z", "offset_ms": -420, "width": 1280, "height": 720},
 "model": "person", "batch": {"size": 8, "slot": 4, "filled": 8},
 "ms": {"wait": 3.1, "prepare": 0.9, "infer": 22.4, "post": 0.7},
 "detections": [{"label": "person", "class_id": 0, "score": 0.81, "box": [412.0, 96.5, 88.2, 214.0]}]}
"""  # noqa: E501 - as the contract has it
DONE = b"""\
{"v": 1, "event_type": "partial", "id": "part-000123", "camera": "gate",
 "requested": 40, "published": 37, "failed": 0, "missing": {"evicted": 3}, "thinned": 0, "already_claimed": 0,
 "window": {"from": "2026-11-22T06:29:58.620Z", "to": "2026-11-22T06:30:00.640Z"},
 "summary": {"person": 31}, "ms": {"total": 212.0, "infer": 96.1},
 "boot_id": "5b0c", "attempts": 1, "meta": {"lot": "A7"}}
"""  # noqa: E501 - as the contract has it
SCHEMAS = contract.schemas()


def validate(payload):
    """One outgoing payload against the schema of the one type that it is."""
    document, name = payload
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMAS["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(document)


def sent(message):
    """A message as its reader sees it: strict JSON, fit for its schema, of version 1."""
    payload = contract.encode(message)
    document = json.loads(payload, parse_constant=pytest.fail)
    validate((document, type(message).__name__))
    assert document["v"] == 1
    return document


def refused(payload, decode=contract.decode_trigger):
    with pytest.raises(ContractError) as error:
        decode(payload)
    failure = Failure(error.value.code, str(error.value))
    sent(Ack(id=error.value.id, status="rejected", error=failure))
    return error.value


def with_meta(meta):
    return b'{"id":"m","meta":' + meta + b"}"


def done(**more):
    fields = {
        "event_type": "complete", "id": "a", "camera": "c", "requested": 0, "published": 0,
        "failed": 0, "missing": {}, "thinned": 0, "already_claimed": 0,
        "window": WindowTimes("2026-11-22T06:29:58.620Z", "2026-11-22T06:29:58.620Z"),
        "summary": {}, "ms": DoneTimings(1.0, 0.0), "boot_id": "b", "attempts": 1,
    }  # fmt: skip
    return Done(**fields | more)


# triggers, in --------------------------------------------------------------------------------


def test_the_contracts_trigger_means_what_it_says():
    trigger = contract.decode_trigger(TRIGGER)
    assert (trigger.id, trigger.at) == ("part-000123", "2026-11-22T06:30:00.120Z")
    assert (trigger.before, trigger.after) == (Span.parse("1.5s"), Span(frames=8))
    assert (trigger.max_frames, trigger.stride, trigger.mode) == (32, 1, "window")
    assert (trigger.deadline, trigger.priority) == (Duration.parse("2s"), 0)
    assert bytes(trigger.meta) == b'{"lot": "A7"}'
    validate((json.loads(TRIGGER), "Trigger"))


@pytest.mark.parametrize("images", ["none", "detections", "all"])
def test_a_trigger_may_ask_for_pictures(images):
    assert contract.decode_trigger(b'{"images":"%s"}' % images.encode()).images == images
    node = b'{"cameras":["gate"],"images":"%s"}' % images.encode()
    assert contract.for_camera(contract.decode_node_trigger(node)).images == images


@pytest.mark.parametrize("payload", [b"", b"{}", b" {}\n", b'{"id":null,"at":null,"before":null}'])
def test_a_trigger_that_says_nothing_leaves_everything_to_the_defaults(payload):
    trigger = contract.decode_trigger(payload)
    assert trigger == contract.Trigger()
    assert trigger.meta is msgspec.UNSET


def test_a_trigger_for_the_node_is_one_for_each_of_its_cameras():
    trigger = contract.decode_node_trigger(b'{"cameras":["gate","yard"],"id":"a","meta":1.0}')
    assert trigger.cameras == ("gate", "yard")
    one = contract.for_camera(trigger)
    assert (type(one), one.id, bytes(one.meta)) == (contract.Trigger, "a", b"1.0")
    for payload in (b"", b"{}", b'{"cameras":[]}', b'{"cameras":"gate"}', b'{"cameras":[1]}'):
        assert refused(payload, contract.decode_node_trigger).code == "bad_payload"
    assert refused(b'{"cameras":["a"],"camera":1}', contract.decode_node_trigger).code == (
        "unknown_field"
    )
    assert refused(b'{"cameras":["a"]}').code == "unknown_field"


DEEP = 30_000
HOSTILE = [
    # no JSON, no object
    (b"\x00", "bad_payload", None),
    (b"\xff\xfe", "bad_payload", None),
    (b"\xef\xbb\xbf{}", "bad_payload", None),
    ('{"id":"x"}'.encode("utf-16"), "bad_payload", None),
    (b"{", "bad_payload", None),
    (b"{}{}", "bad_payload", None),
    (b"{}\x00", "bad_payload", None),
    (b"{'id':'x'}", "bad_payload", None),
    (b'{"id":"x",}', "bad_payload", None),
    (b"offline", "bad_payload", None),  # a Will sent as a trigger
    (b"[]", "bad_payload", None),
    (b"null", "bad_payload", None),
    (b"1", "bad_payload", None),
    (b'"x"', "bad_payload", None),
    (b'{"id":"x","meta":"\xff"}', "bad_payload", None),
    (b'{"id":"x","meta":"\xed\xa0\x80"}', "bad_payload", None),
    (b'{"id":"x","meta":"\\ud800"}', "bad_payload", None),
    (b'{"id":"x","meta":NaN}', "bad_payload", None),
    (b'{"id":"x","meta":-Infinity}', "bad_payload", None),
    (b'{"id":"x","meta":01}', "bad_payload", None),
    (b'{"id":"x","meta":"\n"}', "bad_payload", None),
    (b'{"id":"x","meta":[1,]}', "bad_payload", None),
    (b'{"id":"x","meta":}', "bad_payload", None),
    # size and depth
    (b" " * 65_535 + b"{}", "bad_payload", None),
    (b"x" * 20_000_000, "bad_payload", None),
    (b"[" * 65_536, "bad_payload", None),
    (b'{"a":' * 13_000, "unknown_field", None),
    (b'{"meta":' + b"[" * DEEP + b"]" * DEEP + b"}", "bad_payload", None),
    (b'{"before":' + b"[" * DEEP + b"]" * DEEP + b"}", "bad_payload", None),
    (b'{"x":' + b"[" * DEEP + b"]" * DEEP + b',"id":"x"}', "unknown_field", None),
    # numbers
    (b'{"id":"x","priority":1%s}' % (b"0" * 5000), "bad_payload", "x"),
    (b'{"id":1%s}' % (b"0" * 5000), "bad_payload", None),
    (b'{"id":"x","after":1%s}' % (b"0" * 5000), "bad_payload", "x"),
    (b'{"id":"x","after":-1}', "bad_payload", "x"),
    (b'{"id":"x","after":8.0}', "bad_payload", "x"),
    (b'{"id":"x","after":1e400}', "bad_payload", "x"),
    (b'{"id":"x","after":true}', "bad_payload", "x"),
    (b'{"id":"x","priority":1001}', "bad_payload", "x"),
    (b'{"id":"x","stride":0}', "bad_payload", "x"),
    (b'{"id":"x","max_frames":0}', "bad_payload", "x"),
    (b'{"id":"x","max_frames":2147483648}', "bad_payload", "x"),
    (b'{"id":"x","before":"999999999d"}', "bad_payload", "x"),
    (b'{"id":"x","deadline":"0s"}', "bad_payload", "x"),
    (b'{"id":"x","deadline":"-1s"}', "bad_payload", "x"),
    (b'{"id":"x","deadline":"25h"}', "bad_payload", "x"),
    (b'{"id":"x","deadline":2}', "bad_payload", "x"),
    # fields
    (b'{"id":"x","befor":"1s"}', "unknown_field", "x"),
    (b'{"id":"x","a\\nb\\u0000":1}', "unknown_field", "x"),
    (b'{"id":"x","before":"unknown field"}', "bad_payload", "x"),
    (b'{"id":"x","mode":"both"}', "bad_payload", "x"),
    (b'{"id":"x","mode":"Object contains unknown field"}', "bad_payload", "x"),
    (b'{"id":"x","images":"some"}', "bad_payload", "x"),
    (b'{"id":"x","at":5}', "bad_payload", "x"),
    # the same field twice: which one was meant?
    (b'{"id":"x","id":"y"}', "bad_payload", None),
    (b'{"id":"x","id":"x"}', "bad_payload", None),
    (b'{"id":"x","\\u0069d":"y"}', "bad_payload", None),
    (b'{"id":"x","meta":1,"meta":2}', "bad_payload", None),
    # ids
    (b'{"id":5}', "bad_payload", None),
    (b'{"id":""}', "bad_id", None),
    (b'{"id":"a b"}', "bad_id", None),
    (b'{"id":"a\\n"}', "bad_id", None),
    (b'{"id":"a/b"}', "bad_id", None),
    (b'{"id":"../a"}', "bad_id", None),
    (b'{"id":"+"}', "bad_id", None),
    (b'{"id":"#"}', "bad_id", None),
    (b'{"id":"$SYS"}', "bad_id", None),
    (b'{"id":"a\\u0000"}', "bad_id", None),
    (b'{"id":"\\uffff"}', "bad_id", None),
    ('{"id":"é"}'.encode(), "bad_id", None),
    ('{"id":"٣"}'.encode(), "bad_id", None),
    (b'{"id":"%s"}' % (b"a" * 65), "bad_id", None),
    (b'{"id":"%s"}' % (b"a" * 65_000), "bad_id", None),
    (b'{"id":"a b","x":1}', "unknown_field", None),
    # times
    (b'{"id":"x","at":"yesterday"}', "bad_at", "x"),
    (b'{"id":"x","at":"2026-11-22T06:30:00"}', "bad_at", "x"),
    (b'{"id":"x","at":"2026-02-30T06:30:00Z"}', "bad_at", "x"),
    (b'{"id":"x","at":"2026-11-22T06:30:00Z\\n"}', "bad_at", "x"),
    (b'{"id":"x","at":""}', "bad_at", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "code", "id"), HOSTILE, ids=lambda value: str(value)[:40])
def test_a_hostile_payload_is_rejected_with_its_code_and_the_id_that_could_be_read(
    payload, code, id
):
    error = refused(payload)
    assert error.code == code
    assert error.id == id
    assert 0 < len(str(error)) <= 300


@pytest.mark.parametrize("id", ["a", "A.b_c:d-9", "-", "..", "a" * 64])
def test_ids_of_the_contracts_letters_pass(id):
    assert contract.decode_trigger(json.dumps({"id": id}).encode()).id == id


def only_contract_errors(payload):
    for decode in (contract.decode_trigger, contract.decode_node_trigger):
        try:
            decode(payload)
        except ContractError as error:
            failure = Failure(error.code, str(error))
            sent(Ack(id=error.id, status="rejected", error=failure))
    contract.read_id(payload)


@given(st.binary())
@example(b'"\\ud83d"')
def test_no_bytes_whatever_raise_anything_but_a_contract_error(payload):
    only_contract_errors(payload)


@given(st.integers(0, len(TRIGGER)), st.integers(0, 20), st.binary(max_size=6))
def test_no_mutation_of_a_good_trigger_raises_anything_but_a_contract_error(at, cut, put):
    only_contract_errors(TRIGGER[:at] + put + TRIGGER[at + cut :])


fields = st.sampled_from([*contract.NodeTrigger.__struct_fields__, "x", "\ud800", "`"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(fields, values), st.booleans())
def test_no_json_whatever_raises_anything_but_a_contract_error(document, ascii_only):
    text = json.dumps(document, ensure_ascii=ascii_only)
    only_contract_errors(text.encode("utf-8", "surrogatepass"))


# meta ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meta",
    [b"1e400", b"0.10", b"-0", b"1E+2", b"123456789012345678901234567890", b"9" * 4096, b'""',
     b"null", b"false", b'{ "b" : 1 ,\n"a":[ ] }', b'{"a":1,"a":2}', b'"\\u0041\\/\\ud83d\\ude00"',
     '"é🙂\u2028\uffff"'.encode(), b'{"v":2,"id":"other"}', b'"}]{["', b'"\\\\"',
     b'"' + b"x" * 4094 + b'"',
     b"[" * 32 + b"]" * 32, b'{"a":' * 31 + b'["]]]]"]' + b"}" * 31],
)  # fmt: skip
def test_meta_comes_back_byte_for_byte(meta):
    trigger = contract.decode_trigger(with_meta(meta))
    assert bytes(trigger.meta) == meta
    assert contract.encode(done(meta=trigger.meta)).endswith(b',"meta":' + meta + b"}")


def test_white_space_around_meta_is_not_meta():
    assert bytes(contract.decode_trigger(b'{"meta" : \n {"a": 1} \t}').meta) == b'{"a": 1}'


@given(values)
def test_any_meta_comes_back_or_is_refused(meta):
    payload = json.dumps(meta).encode()
    with contextlib.suppress(ContractError):  # NaN, lone surrogates
        trigger = contract.decode_trigger(with_meta(payload))
        assert bytes(trigger.meta) == payload
        assert sent(done(meta=trigger.meta))["meta"] == meta


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (b'"' + b"x" * 4095 + b'"', "meta has 4097 bytes; the limit is 4096"),
        (b" ".join([b"[" + b"1," * 2100, b"1]"]), "meta has 4204 bytes; the limit is 4096"),
        (b"[" * 33 + b"]" * 33, "meta has 33 levels; the limit is 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "meta has 33 levels; the limit is 32"),
        (b'["\\"",' + b"[" * 32 + b"]" * 33, "meta has 33 levels; the limit is 32"),
    ],
)
def test_meta_beyond_its_limits_is_refused_with_the_id(meta, words):
    error = refused(with_meta(meta))
    assert (error.code, error.id, str(error)) == ("bad_payload", "m", words)


def test_what_says_nothing_of_meta_gets_no_meta():
    assert "meta" not in sent(done())


# messages, out -------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind"), [(ACK, Ack), (RESULT, Result), (DONE, Done)])
def test_the_contracts_own_examples_come_back_as_they_are(text, kind):
    message = msgspec.json.decode(text, type=kind)
    assert sent(message) == json.loads(text)
    assert list(sent(message)) == list(json.loads(text))


def test_schemas_refuse_what_the_contract_does_not_have():
    for text, name, changes in (
        (ACK, "Ack", {"status": "maybe"}),
        (RESULT, "Result", {"index": -1}),
        (DONE, "Done", {"event_type": "great"}),
        (DONE, "Done", {"v": 2}),
        (TRIGGER, "Trigger", {"befor": 1}),
        (TRIGGER, "Trigger", {"before": "1"}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate((json.loads(text) | changes, name))
    jsonschema.Draft202012Validator.check_schema(SCHEMAS)


FOUND = [
    Findings(detections=()),
    Findings(detections=(Detection("cat", 15, 0.5, (0.0, 1.5, 2.0, 3.0)),)),
    Findings(classes=(Classification("tabby", 281, 0.9),)),
    Findings(embedding=Embedding("AACAPw==", 1)),
    Findings(outputs=(Tensor("scores", (1, 1), "AACAPw=="),)),
]


@pytest.mark.parametrize("findings", FOUND)
def test_a_result_has_the_findings_of_its_task_and_nothing_else(findings):
    place = FramePlace(seq=0, at="2026-11-22T06:29:59.700Z", offset_ms=0, width=4, height=3)
    answer = FrameResult(
        "m", findings, batch=BatchPlace(8, 0, 1), ms=Timings(1.0, 2.0, 3.0, 4.0), run=3
    )
    document = sent(Result.of("a", 0, "c", place, answer))
    (kind,) = [name for name in Findings.__struct_fields__ if getattr(findings, name) is not None]
    common = ["v", "id", "index", "camera", "frame", "model", "batch", "ms"]
    assert list(document) == [*common, kind]
    assert list(document["frame"]) == ["seq", "at", "offset_ms", "width", "height"]
    assert document["ms"] == {"wait": 1.0, "prepare": 2.0, "infer": 3.0, "post": 4.0}


def test_what_a_second_model_says_stands_inside_the_detection_and_its_error_beside_them():
    detections = (
        Detection("person", 0, 0.9, (0.0, 1.5, 2.0, 3.0), embedding=Embedding("AACAPw==", 1)),
        Detection("person", 0, 0.8, (0.0, 1.5, 2.0, 3.0), (Classification("tabby", 281, 0.9),)),
        Detection("cat", 15, 0.5, (0.0, 1.5, 2.0, 3.0)),
    )
    answer = FrameResult(
        "m", Findings(detections=detections), Failure("npu_timeout", "1 of 3"), crops_left_out=4
    )
    place = FramePlace(seq=0, at="2026-11-22T06:29:59.700Z", offset_ms=0, width=4, height=3)
    document = sent(Result.of("a", 0, "c", place, answer))
    plain = ["label", "class_id", "score", "box"]
    assert [list(one) for one in document["detections"]] == [
        [*plain, "embedding"], [*plain, "classes"], plain,
    ]  # fmt: skip
    assert document["detections"][0]["embedding"] == {"f32": "AACAPw==", "dim": 1}
    assert (document["crops_left_out"], document["error"]["code"]) == (4, "npu_timeout")


def test_a_result_with_an_error_has_it_in_place_of_findings_and_keeps_its_place_in_the_file():
    place = FramePlace(
        seq=7, at="2026-11-22T06:29:59.700Z", offset_ms=-1, width=4, height=3, position=0, file="a"
    )
    answer = FrameResult("m", error=Failure("undecodable", "broken"))
    document = sent(Result.of("a", 2, "c", place, answer))
    assert document["error"] == {"code": "undecodable", "message": "broken"}
    assert not set(document) & {"detections", "classes", "embedding", "outputs", "batch"}
    assert (document["frame"]["position"], document["frame"]["file"]) == (0, "a")


def test_acks_say_id_null_where_none_could_be_read():
    error = Failure("bad_id", "…")
    assert sent(Ack(id=None, status="rejected", error=error))["id"] is None
    assert sent(Ack(id="a", status="accepted")) == {"v": 1, "id": "a", "status": "accepted"}
    again = sent(Ack(id="a", status="duplicate", first_at="2026-11-22T06:29:59.700Z"))
    assert list(again) == ["v", "id", "status", "first_at"]


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_done_has_every_field_of_the_contract_whatever_is_zero(outcome):
    missing = dict.fromkeys(get_args(Reason), 1)
    document = sent(done(event_type=outcome, missing=missing))
    assert set(document) == set(json.loads(DONE)) - {"meta"}
    assert sent(done())["missing"] == {}


def test_info_and_stats_fit_their_schemas():
    unopened = CameraInfo(
        source="s", width=None, height=None, rate=None, history=None, models=("m",)
    )
    opened = CameraInfo(source="s", width=4, height=3, rate=25.0, history=250, models=("m",))
    model = ModelInfo(
        task="raw", platform="cpu", batch_sizes=(1, 8), inputs=(8, 3, 4, 4), runtimes=1
    )
    at = "2026-11-22T06:29:59.700Z"
    sent(
        Info(
            version="0.1.0", boot_id="b", at=at, cameras={"a": unopened, "b": opened},
            models={"m": model}, limits={"max_pending": 32}, clock_synchronised=None,
        )
    )  # fmt: skip
    camera = {"online": True, "held": 3, "rate": 2.5, "none": None}
    sent(Stats(at=at, uptime_s=1.5, counters={"x": 1}, cameras={"a": camera}, requests_open=0))


def test_every_outgoing_message_is_in_the_schemas_and_says_version_1():
    for kind in contract.MESSAGES:
        schema = SCHEMAS["$defs"][kind.__name__]
        if kind not in (contract.Trigger, contract.NodeTrigger):
            assert schema["properties"]["v"] == {"enum": [1]}, kind


def test_no_float_of_a_message_can_break_its_json():
    # JSON has no NaN; require_finite keeps them out, and this is what would go out otherwise
    assert json.loads(contract.encode(DoneTimings(math.nan, math.inf))) == {
        "total": None, "infer": None,
    }  # fmt: skip


def test_topics_are_base_node_camera_leaf():
    topics = Topics("site/framebuf", "gate-7")
    assert topics.of_node("status") == "site/framebuf/gate-7/status"
    assert topics.of_camera("gate", "trigger") == "site/framebuf/gate-7/gate/trigger"
