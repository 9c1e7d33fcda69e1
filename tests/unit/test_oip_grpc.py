"""A model on servers over gRPC: the messages, the statuses, and what of the answers is believed."""

from __future__ import annotations

import contextlib
import time

import grpc
import numpy as np
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from framebuf.config.endpoints import Endpoints
from framebuf.errors import InferenceError, ServersAwayError
from framebuf.models.runtimes import oipwire
from framebuf.models.runtimes.oip import OipRuntime
from framebuf.models.runtimes.oiperrors import NoAnswerError
from framebuf.models.runtimes.oipservers import Servers
from framebuf.models.tensor import TensorSpec
from tests.unit.oip_grpc_server import field, serving_grpc, varint
from tests.unit.oip_server import LONG_NS, TENSOR, assert_answered, compute, servers


def opened(*fakes, scheme="grpc", **keys):
    return OipRuntime.open(servers(scheme, *fakes, **keys))


@pytest.fixture
def fake():
    with serving_grpc() as one:
        yield one


@pytest.fixture
def runtime(fake):
    one = opened(fake)
    yield one
    one.close()


@pytest.mark.parametrize("packed", [True, False])
def test_a_model_is_what_its_server_says_of_it(fake, packed):
    fake.packed = packed
    runtime = opened(fake)
    assert runtime.input == TensorSpec("images", (None, 4, 6, 3), "uint8", "NHWC")
    assert [str(each) for each in runtime.outputs] == ["sum N×1 float32", "first N×2 float32"]
    assert (runtime.largest, runtime.versions) == (8, "fake 2.0 over grpc")
    assert_answered(runtime)
    runtime.close()


def test_megabytes_are_sent_and_come_back(runtime):
    assert_answered(runtime)
    many = np.random.default_rng(1).integers(0, 256, (100_000, 4, 6, 3), np.uint8)
    assert_answered(runtime, many)


def test_a_server_that_tells_no_largest_batch_is_taken_without(fake):
    fake.largest = None
    runtime = opened(fake)
    assert runtime.largest is None
    runtime.close()


def test_typed_contents_are_taken_too(fake, runtime):
    fake.typed = True
    (total, _) = runtime.infer_until(TENSOR, time.monotonic_ns() + LONG_NS)
    np.testing.assert_array_equal(total, compute(TENSOR)["sum"])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("UNAVAILABLE", "servers_away"),
        ("RESOURCE_EXHAUSTED", "servers_away"),
        ("INVALID_ARGUMENT", "inference_failed"),
        ("INTERNAL", "inference_failed"),
        ("UNAUTHENTICATED", "inference_failed"),
    ],
)
def test_a_status_says_whether_the_server_is_away_or_refuses(fake, runtime, status, code):
    fake.fails = (grpc.StatusCode[status], "because\n\x1b of this")
    with pytest.raises(InferenceError, match=rf"net: .*: {status}: because � of this\Z") as error:
        runtime.infer(TENSOR)
    assert error.value.code == code
    fake.fails = None
    assert_answered(runtime)


def test_a_message_that_a_server_finds_too_large_says_what_to_do(fake, runtime):
    said = "Received message larger than max (9 vs. 8)"
    fake.fails = (grpc.StatusCode.RESOURCE_EXHAUSTED, said)
    with pytest.raises(InferenceError, match="raise the server's limit, or give a smaller max_b"):
        runtime.infer(TENSOR)


def test_an_answer_larger_than_the_model_has_outputs_is_not_taken_in(fake, runtime):
    fake.answer = lambda message: message + field(9, bytes(2**23))
    with pytest.raises(InferenceError, match="larger than max"):
        runtime.infer(TENSOR)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda message: message[:-1], "cut off"),
        (lambda message: message + b"\xff", "cut off"),
        (lambda message: message + b"\x0b", "wire type 3"),
        (lambda message: message + b"\xff" * 12, "a number without end"),
        (lambda message: message + field(6, b"1234"), "sends 2 outputs and the data of 3"),
        (lambda message: message + field(3, "other"), "answers another question"),
        (lambda message: message + field(5, 7), "a number for bytes"),
        (lambda message: field(3, b"\xff"), "a name that is no text"),
        (lambda message: b"", "sends no output sum, but none"),
    ],
)
def test_an_answer_that_is_none_fails_the_call_with_the_reason(fake, runtime, answer, message):
    fake.answer = answer
    with pytest.raises(InferenceError, match=message):
        runtime.infer(TENSOR)
    fake.answer = lambda message: message
    assert_answered(runtime)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_messages_fail_otherwise(message):
    for read in (
        oipwire.server_metadata, oipwire.model_metadata, oipwire.largest_batch,
        oipwire.infer_response,
    ):  # fmt: skip
        with contextlib.suppress(NoAnswerError):
            read(message)


def test_fixed_widths_and_numbers_below_zero_are_read():
    config = field(1, varint(9 << 3 | 1) + bytes(8) + varint(8 << 3 | 5) + bytes(4) + field(4, -1))
    assert oipwire.largest_batch(config) == -1


def test_the_other_server_is_asked_where_one_does_not_answer(fake):
    with serving_grpc() as other:
        runtime = opened(fake, other)
    for _ in range(3):
        assert_answered(runtime)
    assert len(fake.batches) == 3
    runtime.close()


def test_no_server_is_one_line():
    with pytest.raises(ServersAwayError, match=r"grpc://127.0.0.1:1/net: 127.0.0.1:1: UNAVAIL"):
        OipRuntime.open(Servers(Endpoints("grpc", ("127.0.0.1:1",), "net")))


def test_tls_is_spoken_and_the_token_goes_with_each_call(tmp_path):
    authority = trustme.CA()
    signed = authority.issue_cert("localhost")
    chain = b"".join(each.bytes() for each in signed.cert_chain_pems)
    key = signed.private_key_pem.bytes()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "token").write_text("secret\n")
    with serving_grpc(credentials=grpc.ssl_server_credentials([(key, chain)])) as fake:
        fake.address = fake.address.replace("127.0.0.1", "localhost")
        files = {"ca_file": str(tmp_path / "ca.pem"), "token_file": str(tmp_path / "token")}
        runtime = opened(fake, scheme="grpcs", **files)
        assert_answered(runtime)
        assert {each.get("authorization") for each in fake.metadata} == {"Bearer secret"}
        runtime.close()
