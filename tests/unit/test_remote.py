"""A model on servers over its life in a node: there, not there yet, gone, and back."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import numpy as np
import pytest

from framebuf import config
from framebuf.errors import ModelError
from framebuf.frames import Frame
from framebuf.models import remote as remote_module
from framebuf.models.backlog import Job
from framebuf.models.fallback import Fallback, check_fallback
from framebuf.models.remote import Remote
from framebuf.units import Moment
from tests.ports import free_port
from tests.unit.oip_server import INPUT, OUTPUTS, FakeServer, serving
from tests.unit.test_detour import HeldLane

PIXELS = np.full((8, 8, 3), 7, np.uint8)
LONG_S = 60


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(remote_module, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(remote_module, "LONGEST_WAIT_S", 0.2)


class Bed:
    """A remote model with the address of a server that may come later."""

    def __init__(self, address, *, fallback=True, **keys):
        self.local = HeldLane()
        self.counts = Counter()
        model = config.model_of(
            {"name": "net", "path": f"http://{address}/net", "task": "raw"}
            | {"timeout": "60s"}
            | keys
        )
        then = Fallback(self.local, "local") if fallback else None
        self.remote = Remote(model, then, lambda name: self.counts.update([name]))
        if fallback:
            self.remote._servers.patient = False

    def __enter__(self):
        self.remote.start()
        return self

    def __exit__(self, *_):
        self.remote.close()

    def submit(self, count=1, left_s=LONG_S):
        """Frames; returns where their results come."""
        results, come = [], threading.Semaphore(0)

        def answered(result):
            results.append(result)
            come.release()

        now = time.monotonic_ns()
        deadline = now + left_s * 10**9
        frame = Frame(0, Moment(now, now), PIXELS)
        jobs = [Job(frame, "a", now, lambda: None, answered, 0, deadline) for _ in range(count)]
        self.remote.detour.submit("net", jobs)
        return results, come

    def answers(self, count=1):
        """What the servers say of so many frames."""
        results, come = self.submit(count)
        for _ in range(count):
            assert come.acquire(timeout=LONG_S), repr(self.remote)
        return results


def wait(ready):
    end = time.monotonic() + LONG_S
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_frames_are_answered_by_the_servers_in_batches_that_they_take():
    with serving() as fake:
        fake.config = {"max_batch_size": 3}
        with Bed(fake.address) as bed:
            results = bed.answers(7)
            assert {result.model for result in results} == {"net"}
            assert {each.findings is not None for each in results} == {True}
            assert bed.remote.network.sizes == (1, 3)
            assert max(fake.batches) == 3
            assert bed.remote.away is None
            assert not bed.counts


def test_a_node_starts_without_servers_and_takes_them_when_they_come(caplog):
    caplog.set_level(logging.INFO)
    port = free_port()
    with Bed(f"127.0.0.1:{port}") as bed:
        assert "Connection refused" in bed.remote.away
        bed.submit(2)
        assert len(bed.local.backlog) == 2
        with serving(port=port):
            wait(lambda: bed.remote.detour.up)
            assert [each.model for each in bed.answers(2)] == ["net"] * 2
            assert bed.counts == {"servers_away": 1, "servers_back": 1}
        events = [record.EVENT for record in caplog.records if hasattr(record, "EVENT")]
        assert events[:2] == ["servers_away", "servers_back"]
        assert "no server answers" in caplog.text
        assert "local answers instead" in caplog.text


def test_without_a_fallback_frames_wait_for_the_servers_to_come():
    port = free_port()
    with Bed(f"127.0.0.1:{port}", fallback=False) as bed:
        results, come = bed.submit(3)
        with serving(port=port):
            for _ in range(3):
                assert come.acquire(timeout=LONG_S)
        assert {result.error for result in results} == {None}


def test_servers_that_die_are_left_and_found_again():
    port = free_port()
    with serving(port=port):
        bed = Bed(f"127.0.0.1:{port}")
        bed.remote.start()
        bed.answers()
    bed.submit()
    wait(lambda: bed.local.backlog)
    assert not bed.remote.detour.up
    with serving(port=port) as again:
        wait(lambda: bed.remote.detour.up)
        assert [each.model for each in bed.answers()] == ["net"]
        assert again.batches[0] == 1  # a blank picture first: a server that listens may yet fail
    assert bed.counts == {"servers_away": 1, "servers_back": 1}
    bed.remote.close()


def test_a_server_that_only_says_that_it_is_there_is_not_back():
    with serving() as fake, Bed(fake.address) as bed:
        fake.status = (503, b"{}")
        bed.submit()
        wait(lambda: bed.local.backlog)
        looks = len(fake.batches)
        wait(lambda: len(fake.batches) > looks)
        assert not bed.remote.detour.up
        fake.status = None
        wait(lambda: bed.remote.detour.up)


def test_a_frozen_server_is_left_within_its_share(caplog):
    with serving() as fake, Bed(fake.address, timeout="5s") as bed:
        fake.hold.clear()
        bed.submit(left_s=1)
        wait(lambda: bed.local.backlog)
        fake.hold.set()
        wait(lambda: bed.remote.detour.up)


def test_a_call_ends_with_the_time_of_its_frames_where_nobody_else_answers():
    with serving() as fake, Bed(fake.address, fallback=False) as bed:
        fake.hold.clear()
        results, come = bed.submit(left_s=1)
        assert come.acquire(timeout=50)  # less than a call that nobody gives a time
        assert results[0].error.code == "servers_away"
        fake.hold.set()


@pytest.mark.parametrize(
    ("metadata", "keys", "message", "key"),
    [
        ({"inputs": [INPUT] * 2, "outputs": OUTPUTS}, {}, "expected one input, it has 2", "path"),
        (None, {"batch_sizes": [1, 16]}, "asks for 1, 16, it takes 8 at most", "batch_sizes"),
        (None, {"mean": [0, 0, 0], "std": [1, 1, 1]}, "mean and std are for a float32", "mean"),
    ],
)
def test_a_model_that_does_not_fit_ends_the_start(metadata, keys, message, key):
    fake = FakeServer()
    fake.metadata = metadata or fake.metadata
    with serving(fake):
        bed = Bed(fake.address, **keys)
        with pytest.raises(ModelError, match=message) as error:
            bed.remote.start()
        assert error.value.key == key


def test_a_model_that_does_not_fit_later_is_told_once_and_tried_again(caplog):
    port = free_port()
    with Bed(f"127.0.0.1:{port}") as bed:
        fake = FakeServer()
        good, fake.metadata = fake.metadata, {"inputs": [INPUT] * 2, "outputs": OUTPUTS}
        with serving(fake, port=port):
            wait(lambda: len(fake.headers) > 6)
            assert caplog.text.count("what a server has cannot be used") == 1
            fake.metadata = good
            wait(lambda: bed.remote.detour.up)


def test_thresholds_that_are_changed_before_the_servers_come_hold_then():
    bed = Bed(f"127.0.0.1:{free_port()}")
    bed.remote.retune(0.9, 0.2)
    assert (bed.remote.model.threshold, bed.remote.model.iou) == (0.9, 0.2)


NODE = """
camera = [{name = "c", source = "x", models = ["net"]}]
[[model]]
name = "net"
path = "grpc://h:1/net"
task = "classify"
fallback = "local"
%s
[[model]]
name = "local"
path = "local.onnx"
task = "classify"
%s
"""


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            "a\nb",
            "a\nc",
            "model net: its fallback local has other labels: 2, a, c …, not 2, a, b …",
        ),
        ("a\nb", None, "other labels: none, not 2"),
    ],
)
def test_a_fallback_that_says_something_else_is_refused(tmp_path, ours, theirs, message):
    (tmp_path / "local.onnx").touch()
    keys = []
    for name, text in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text(text or "")
        keys.append(f'labels = "{name}"' if text else "")
    net, local = config.parse(NODE % tuple(keys), "f", tmp_path).config.model
    with pytest.raises(ModelError) as error:
        check_fallback(net, local)
    assert message in str(error.value)
    assert error.value.key == "fallback"
