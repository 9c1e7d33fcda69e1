"""A model on servers over HTTP: what is asked, and what of the answers is believed."""

from __future__ import annotations

import ssl
import threading
import time

import numpy as np
import pytest
import trustme

from framebuf.config.endpoints import Endpoints
from framebuf.errors import InferenceError, ModelError, ServersAwayError
from framebuf.models.runtimes.oip import OipRuntime
from framebuf.models.runtimes.oipservers import Servers
from framebuf.models.tensor import TensorSpec
from tests.unit.oip_server import (
    INPUT,
    LENGTH,
    OUTPUTS,
    TENSOR,
    FakeServer,
    assert_answered,
    compute,
    reply,
    servers,
    serving,
)  # fmt: skip

SECOND_NS = 10**9


def opened(*fakes, scheme="http", **keys):
    return OipRuntime.open(servers(scheme, *fakes, **keys))


@pytest.fixture
def fake():
    with serving() as one:
        yield one


@pytest.fixture
def runtime(fake):
    one = opened(fake)
    yield one
    one.close()


def test_a_model_is_what_its_server_says_of_it(runtime):
    assert runtime.input == TensorSpec("images", (None, 4, 6, 3), "uint8", "NHWC")
    assert [str(each) for each in runtime.outputs] == ["sum N×1 float32", "first N×2 float32"]
    assert runtime.largest == 8
    assert runtime.versions == "fake 1.0 over http"


def test_each_output_comes_as_float32_whatever_its_type(runtime):
    assert_answered(runtime)


def test_a_configured_largest_batch_goes_before_what_the_server_tells(fake):
    runtime = opened(fake, largest=4)
    assert runtime.largest == 4
    runtime.close()


def test_a_server_that_tells_no_largest_batch_is_taken_without(fake):
    fake.config = None
    runtime = opened(fake)
    assert runtime.largest is None
    runtime.close()


def test_one_connection_serves_all_calls(fake, runtime):
    before = fake.connections
    for _ in range(5):
        assert_answered(runtime)
    assert fake.connections == before + 1


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(fake, runtime):
    fake.closes = True
    for _ in range(3):
        assert_answered(runtime)
    assert fake.connections >= 4
    assert "well" in repr(runtime.servers)


def metadata(**changed):
    given = INPUT | changed
    return {"name": "net", "inputs": [given], "outputs": OUTPUTS}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (metadata(datatype="BYTES"), "an input of uint8 or float, images N×4×6×3 is BYTES"),
        (metadata(shape=[-1, 4, 6]), "expected an input of four axes, got images N×4×6"),
        (metadata(shape=[-1, 4, -1, 3]), "expected a fixed height and width"),
        (metadata(shape=[-1, 0, 6, 3]), r"shape \[-1, 0, 6, 3\]; expected at most 8 axes"),
        (metadata(shape=[-1, 2**40, 6, 3]), "each -1 or above 0"),
        (metadata(shape=[1] * 400), r"\[1, 1, 1, 1, 1, 1, 1, 1, 1\]; expected at most 8 axes"),
        (metadata(name="a\n\x1b[2J"), r"expected names of tensors, got a �\[2J"),
        (metadata(name="x" * 300), "expected names of tensors"),
        ({"inputs": [INPUT, INPUT], "outputs": OUTPUTS}, "expected one input, it has 2"),
        ({"inputs": [INPUT], "outputs": []}, "fake 1.0 tells no outputs of it; declare them"),
        ({"inputs": [INPUT], "outputs": OUTPUTS * 40}, "at most 64 outputs, it has 80"),
        ({"inputs": [INPUT], "outputs": [OUTPUTS[0]] * 2}, "two of its outputs have the name sum"),
        (
            {"inputs": [INPUT], "outputs": [{"name": "t", "datatype": "BYTES", "shape": [-1]}]},
            "expected numbers out, output t is BYTES",
        ),
        (
            {"inputs": [INPUT], "outputs": [OUTPUTS[0] | {"shape": [-1, 2**30, 2**30]}]},
            "that is no network",
        ),
    ],
)  # fmt: skip
def test_what_is_no_model_for_framebuf_is_refused_with_the_reason(fake, told, message):
    fake.metadata = told
    with pytest.raises(ModelError, match=message) as error:
        opened(fake)
    assert not isinstance(error.value, ServersAwayError)
    assert str(error.value).startswith(f"http://{fake.address}/net: ")


@pytest.mark.parametrize(
    "told",
    [
        b"<html>", b"[]", b"\xff", b'{"inputs": 5}', b"{" * 100_000, b'"' + b"x" * 2**21,
        b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": [NaN, 4, 6, 3]}]}',
        b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1e99, 4, 6, 3]}]}',
    ],
    ids=["html", "list", "no text", "number", "nested", "long", "nan", "huge"],
)  # fmt: skip
def test_metadata_that_is_none_is_told_as_a_server_without_an_answer(fake, told):
    fake.metadata = told
    with pytest.raises(ServersAwayError, match="JSON") as error:
        opened(fake)
    assert len(str(error.value)) < 600


def test_a_server_without_binary_tensors_is_named_with_the_remedy(fake):
    fake.about = {"name": "mlserver", "version": "1.7", "extensions": ["model_repository"]}
    with pytest.raises(ServersAwayError, match=r"mlserver sends tensors as JSON.*write grpc://"):
        opened(fake)
    fake.about = {"name": "some", "version": "1"}
    runtime = opened(fake)
    fake.raw = lambda handler: reply(handler, 200, b'{"outputs": []}')
    with pytest.raises(InferenceError, match=r"tensors as JSON.*write grpc://"):
        runtime.infer(TENSOR)
    runtime.close()


def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    try:
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.01)
    except OSError:
        handler.close_connection = True


def says(text):
    def answer(handler):
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (says(b""), "closed connection without response"),
        (says(b"220 mail.example ESMTP\r\n"), "220 mail.example"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), "more than 100 headers"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "more than 65536 bytes"),
        (lambda h: reply(h, 200, b"{}", {LENGTH: "99"}), "ends after 2 bytes of JSON; expected 99"),
        (lambda h: reply(h, 200, b"", {LENGTH: "9" * 30}), "begins with 9{20} bytes of JSON"),
        (lambda h: reply(h, 200, b"{}", {LENGTH: "-2"}), "tensors as JSON"),
        (lambda h: reply(h, 200, b"{}", {LENGTH: "2", "Content-Length": "99999999999"}),
         "99999999997 bytes of tensors; expected 36"),
        (lambda h: reply(h, 200, b"", {"Content-Encoding": "gzip", LENGTH: "0"}), "compresses"),
        (lambda h: reply(h, 302, b"", {"Location": "http://else.where/"}), "it answers 302 Found"),
    ],
    ids=["nothing", "smtp", "headers", "long header", "short json", "long json", "minus",
         "endless", "gzip", "redirect"],
)  # fmt: skip
def test_an_answer_that_is_none_fails_the_call_with_the_reason(fake, runtime, raw, message):
    fake.raw = raw
    with pytest.raises(InferenceError, match=message) as error:
        runtime.infer(TENSOR)
    assert str(error.value).startswith(f"net: {fake.address}: ")
    fake.raw = None
    assert_answered(runtime)  # and the next one is not taken for the rest of that


def renamed(output):
    return output | {"name": "sum"}


def changed(**keys):
    return lambda head: head | {"outputs": [head["outputs"][0] | keys, *head["outputs"][1:]]}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda head: head | {"outputs": head["outputs"][:1]}, "24 bytes of no output"),
        (lambda head: head | {"outputs": [renamed(each) for each in head["outputs"]]}, "twice"),
        (changed(name="other"), "sends no output sum, but other, first"),
        (changed(shape=[2, 1]), "output sum is 2×1 FP32; expected 3×1"),
        (changed(shape=[3]), "output sum is 3 FP32; expected 3×1"),
        (changed(shape=[3, -1]), "output sum is 3×-1 FP32"),
        (changed(shape=[3, 1.5]), "no JSON of the protocol"),
        (changed(shape=[3, 1, 10**18]), "expected 3×1"),
        (changed(datatype="FP64"), "output sum, 3×1 FP64, has 12 bytes; expected 24"),
        (changed(datatype="BYTES"), "output sum is 3×1 BYTES; expected numbers"),
        (changed(parameters={"binary_data_size": 10**12}), "bytes that are not there"),
        (changed(parameters={"binary_data_size": -4}), "-4 bytes that are not there"),
        (changed(parameters={}), "sends output sum as JSON"),
        (lambda head: head | {"id": "another"}, "answers another question"),
        (lambda head: [head], "no JSON of the protocol"),
    ],
)  # fmt: skip
def test_outputs_that_are_not_what_was_told_fail_the_call(fake, runtime, head, message):
    fake.head = head
    with pytest.raises(InferenceError, match=message):
        runtime.infer(TENSOR)
    fake.head = lambda head: head
    assert_answered(runtime)


@pytest.mark.parametrize(
    ("body", "message"),
    [(lambda body: body[:-1], "are not there"), (lambda body: body + b"x", "expected 36")],
    ids=["short", "long"],
)
def test_tensors_that_are_cut_off_or_too_long_fail_the_call(fake, runtime, body, message):
    fake.body = body
    with pytest.raises(InferenceError, match=message):
        runtime.infer(TENSOR)


def test_chunks_without_end_are_read_as_far_as_an_answer_goes(fake, runtime):
    def endless(handler):
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{LENGTH}: 2\r\n".encode())
        handler.wfile.write(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        for _ in range(1000):
            handler.wfile.write(b"400\r\n" + bytes(1024) + b"\r\n")
        handler.close_connection = True

    fake.raw = endless
    with pytest.raises(InferenceError, match=r"no JSON|more than 36 bytes"):
        runtime.infer(TENSOR)


def test_a_server_that_drips_is_left_when_the_time_is_over(fake, runtime):
    fake.raw = drip
    begun = time.monotonic_ns()
    with pytest.raises(InferenceError, match="no answer in time") as error:
        runtime.infer_until(TENSOR, begun + SECOND_NS // 5)
    assert error.value.code == "servers_away"
    assert time.monotonic_ns() - begun >= SECOND_NS // 5


def test_a_server_that_is_frozen_is_left_when_the_time_is_over(fake, runtime):
    fake.hold.clear()
    with pytest.raises(InferenceError, match="no answer in time"):
        runtime.infer_until(TENSOR, time.monotonic_ns() + SECOND_NS // 5)
    fake.hold.set()
    assert_answered(runtime)


def test_what_the_server_says_of_a_failure_is_one_line(fake, runtime):
    fake.status = (500, b'{"error": "first\\nsecond \\u001b[31m"}')
    with pytest.raises(InferenceError) as error:
        runtime.infer(TENSOR)
    assert error.value.code == "inference_failed"
    assert str(error.value).endswith("500 Internal Server Error: first second �[31m")


def test_a_picture_that_a_server_fails_on_does_not_make_it_rest(fake, runtime):
    fake.status = (500, b"{}")
    with pytest.raises(InferenceError):
        runtime.infer(TENSOR)
    assert "well" in repr(runtime.servers)
    fake.status = (503, b"{}")
    with pytest.raises(InferenceError) as error:
        runtime.infer(TENSOR)
    assert error.value.code == "servers_away"
    assert "1 failures: it answers 503 Service Unavailable" in repr(runtime.servers)


def test_a_refusal_longer_than_is_read_is_not_taken_for_the_next_answer(fake, runtime):
    fake.status = (500, b"x" * 100_000)
    with pytest.raises(InferenceError) as error:
        runtime.infer(TENSOR)
    assert len(str(error.value)) < 500
    fake.status = None
    assert_answered(runtime)


def test_a_server_that_failed_rests_and_is_asked_where_no_other_is_left():
    pair = Servers(Endpoints("http", ("a:1", "b:1"), "net"))
    first = pair.take(())
    pair.failed(first, "silence")
    second = pair.take(())
    assert second is not first
    pair.answered(second)
    assert pair.take(()) is second  # though it has answered last, and calls are under way
    assert pair.take(()) is second
    assert pair.take([second]) is first
    assert pair.take([first, second]) is None


def test_a_rest_grows_to_ten_seconds_and_ends_with_an_answer():
    one = Servers(Endpoints("http", ("a:1",), "net"))
    rests = []
    for _ in range(10):
        server = one.take(())
        before = time.monotonic_ns()
        one.failed(server, "silence")
        rests.append((one.rested_ns() - before, one.rested_ns() - time.monotonic_ns()))
    assert rests[0][0] >= 0.125 * SECOND_NS
    assert rests[0][1] <= 0.25 * SECOND_NS
    assert rests[-1][0] >= 5 * SECOND_NS
    assert rests[-1][1] <= 10 * SECOND_NS
    one.answered(one.take(()))
    assert one.rested_ns() == 0


def test_the_other_server_is_asked_where_one_does_not_answer(fake):
    with serving() as other:
        runtime = opened(fake, other)
    for _ in range(4):
        assert_answered(runtime)
    assert sum(fake.batches) == 4 * len(TENSOR)
    runtime.close()


def test_calls_are_shared_between_the_servers(fake):
    with serving() as other:
        runtime = opened(fake, other)
        for _ in range(6):
            assert_answered(runtime)
        assert (len(fake.batches), len(other.batches)) == (3, 3)
        runtime.close()


def test_a_frozen_server_does_not_take_the_time_of_the_other(fake):
    with serving() as other:
        runtime = opened(fake, other, timeout_ns=SECOND_NS // 2, patient=True)
        fake.hold.clear()
        for _ in range(3):
            (total, _) = runtime.infer_until(TENSOR, time.monotonic_ns() + 20 * SECOND_NS)
            np.testing.assert_array_equal(total, compute(TENSOR)["sum"])
        assert len(other.batches) >= 3
        runtime.close()


def test_a_server_with_another_network_is_not_asked(fake):
    other = FakeServer()
    other.metadata = {"inputs": [INPUT], "outputs": OUTPUTS[:1]}
    with serving(other):
        runtime = opened(fake, other)
        for _ in range(4):
            assert_answered(runtime)
        assert not other.batches
        assert "another network" in repr(runtime.servers)
        runtime.close()


def test_a_server_that_comes_back_with_another_network_is_found_out(fake):
    runtime = opened(fake)
    assert_answered(runtime)
    fake.status = (503, b"{}")
    with pytest.raises(InferenceError):
        runtime.infer(TENSOR)
    fake.status, fake.metadata = None, {"inputs": [INPUT], "outputs": OUTPUTS[:1]}
    with pytest.raises(InferenceError, match="another network of that name now"):
        runtime.infer(TENSOR)
    runtime.close()


def test_a_patient_caller_waits_for_a_server_that_comes_back(fake):
    runtime = opened(fake, patient=True)
    fake.status = (503, b"{}")
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(
            runtime.infer_until(TENSOR, time.monotonic_ns() + 20 * SECOND_NS)
        )
    )
    caller.start()
    fake.entered.acquire()  # it has been refused once
    fake.entered.acquire()
    fake.status = None
    caller.join()
    np.testing.assert_array_equal(answers[0][0], compute(TENSOR)["sum"])
    runtime.close()


def test_a_patient_caller_that_is_hurried_gives_up(fake):
    runtime = opened(fake, patient=True)
    fake.status = (503, b"{}")
    errors = []

    def call():
        try:
            runtime.infer_until(TENSOR, time.monotonic_ns() + 20 * SECOND_NS)
        except InferenceError as error:
            errors.append(error.code)

    caller = threading.Thread(target=call)
    caller.start()
    fake.entered.acquire()
    runtime.hurry()
    caller.join()
    assert errors == ["servers_away"]
    runtime.close()


def test_no_server_is_one_line_that_names_each():
    endpoints = Endpoints("http", ("127.0.0.1:1", "127.0.0.1:2"), "net")
    with pytest.raises(ServersAwayError) as error:
        OipRuntime.open(Servers(endpoints))
    said = "http://127.0.0.1:1,127.0.0.1:2/net: 127.0.0.1:1: Connection refused; "
    assert str(error.value) == said + "127.0.0.1:2: Connection refused"


def test_a_closed_runtime_says_so(runtime):
    runtime.close()
    runtime.close()
    with pytest.raises(InferenceError, match="net is closed; open it again"):
        runtime.infer(TENSOR)
    assert repr(runtime).endswith("images N×4×6×3 uint8, closed>")


@pytest.mark.parametrize(
    "tensor", [TENSOR.astype(np.float32), TENSOR[:, :3], TENSOR[0], TENSOR[:0]]
)
def test_a_tensor_that_does_not_fit_is_not_sent(fake, runtime, tensor):
    with pytest.raises(InferenceError, match="net wants images N×4×6×3 uint8, the tensor is"):
        runtime.infer(tensor)
    assert not fake.batches


def test_the_token_goes_with_each_call_and_is_read_anew(fake, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    runtime = opened(fake, token_file=str(token))
    token.write_text("second\n")
    assert_answered(runtime)
    said = [headers["Authorization"] for headers in fake.headers]
    assert said[0] == "Bearer first"
    assert said[-1] == "Bearer second"
    token.write_text("third\r\nX-Evil: 1")
    with pytest.raises(InferenceError, match="holds no line of ASCII"):
        runtime.infer(TENSOR)
    runtime.close()


def test_a_token_that_is_not_there_is_a_fault_of_the_configuration(fake, tmp_path):
    with pytest.raises(
        ModelError, match=r"token_file .*away cannot be read: No such file"
    ) as error:
        opened(fake, token_file=str(tmp_path / "away"))
    assert error.value.key == "token_file"
    assert not isinstance(error.value, ServersAwayError)


def test_tls_is_spoken_with_whom_the_authority_has_signed(tmp_path):
    authority = trustme.CA()
    signed = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signed.configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with serving(tls=context) as fake:
        runtime = opened(fake, scheme="https", ca_file=str(tmp_path / "ca.pem"))
        assert_answered(runtime)
        runtime.close()
        with pytest.raises(ServersAwayError, match="certificate is not trusted"):
            opened(fake, scheme="https", ca_file=str(tmp_path / "other.pem"))
    with pytest.raises(ModelError, match=r"ca_file .*gone.pem cannot be used") as error:
        opened(fake, scheme="https", ca_file=str(tmp_path / "gone.pem"))
    assert error.value.key == "ca_file"
