"""etc/examples, run against a real broker as their users run them."""

from __future__ import annotations

import json
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest

from framebuf.contract import Done, decode_trigger
from tests.ports import free_port
from tests.service.parts import REPO, Mosquitto

EXAMPLES = REPO / "etc" / "examples"


class Line:
    """The node's end of a camera's topics, and the PLC's socket."""

    def __init__(self, broker: int, gateway: int) -> None:
        self.plc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.plc.settimeout(60)
        self.plc.connect(("127.0.0.1", gateway))
        self._triggers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        subscribed = threading.Event()
        self._client.on_message = lambda *a: self._triggers.put(a[2].payload)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", broker)
        self._client.subscribe("framebuf/plc/line/trigger", 1)
        self._client.loop_start()
        assert subscribed.wait(60)

    def trigger(self, part: bytes):
        self.plc.send(part)
        return decode_trigger(self._triggers.get(timeout=60))

    def publish(self, leaf: str, **said: object) -> None:
        self._client.publish(f"framebuf/plc/line/{leaf}", json.dumps(said), qos=1)

    def verdict(self) -> bytes:
        return self.plc.recv(1500)

    def close(self) -> None:
        self.plc.close()
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def running(broker: int, port: int) -> Iterator[None]:
    command = [
        sys.executable, str(EXAMPLES / "plc_gateway.py"), "--camera", "framebuf/plc/line",
        "--broker", f"127.0.0.1:{broker}", "--listen", f"127.0.0.1:{port}", "--defect", "scratch",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stderr is not None
        assert gateway.stderr.readline().startswith("datagrams on")
        yield
        gateway.terminate()


@pytest.fixture(scope="module")
def line(mosquitto: Mosquitto) -> Iterator[Line]:
    port = free_port()
    with running(mosquitto.port, port):
        line = Line(mosquitto.port, port)
        yield line
        line.close()


@pytest.mark.parametrize(
    ("summary", "verdict"), [({"part": 3}, b"7 OK"), ({"scratch": 1}, b"7 NOK scratch")]
)
def test_the_plc_gets_its_verdict(line, summary, verdict):
    trigger = line.trigger(b"7")
    assert trigger.id.startswith("7:")
    assert "event_type" in Done.__struct_fields__
    line.publish("done", id="somebody-else", event_type="complete", summary={}, missing={})
    line.publish("done", id=trigger.id, event_type="complete", summary=summary, missing={})
    assert line.verdict() == verdict


def test_frames_that_are_missing_are_no_verdict(line):
    trigger = line.trigger(b"8")
    line.publish("done", id=trigger.id, event_type="partial", summary={}, missing={"evicted": 3})
    assert line.verdict() == b'8 ERR partial: {"evicted": 3}'


@pytest.mark.parametrize(
    ("done", "verdict"),
    [
        ({"event_type": "partial", "missing": {}, "failed": 2}, b'ERR partial: {"failed": 2}'),
        (
            {"event_type": "complete", "missing": {}, "failed": 0, "left_out": ["summary"]},
            b"ERR summary left out",
        ),
        ({"event_type": "complete", "error": {"code": "too_large"}}, b"ERR too_large"),
    ],
)
def test_what_does_not_say_what_was_found_is_no_verdict(line, done, verdict):
    trigger = line.trigger(b"11")
    for nonsense in ({"id": ["x"]}, {}, {"id": "x", "error": "boom"}, {"id": "x", "missing": 3}):
        line.publish("done", **nonsense)
    line.publish("done", id=trigger.id, **done)
    assert line.verdict() == b"11 " + verdict


def test_a_rejected_trigger_is_no_verdict(line):
    trigger = line.trigger(b"9")
    line.publish("ack", id=trigger.id, status="rejected", error={"code": "queue_full"})
    assert line.verdict() == b"9 ERR queue_full"


def test_a_part_without_an_answer_is_told_in_time(line):
    line.trigger(b"10")
    assert line.verdict() == b"10 ERR no answer"


def test_what_is_no_part_number_triggers_nothing(line):
    line.plc.send(b"a b")
    assert line.verdict().startswith(b"? ERR")


def test_home_assistants_triggers_are_what_the_node_takes():
    text = (EXAMPLES / "home-assistant.yaml").read_text("utf-8")
    pressed = re.findall(r"payload_press: '(.*)'", text)
    assert len(pressed) == 1
    assert str(decode_trigger(pressed[0].encode()).before) == "3s"
    said = re.search(r"payload: >-\n((?: {12}.*\n?)+)", text)
    assert said is not None
    payload = " ".join(line.strip() for line in said[1].splitlines())
    payload = re.sub(r"\{\{.*?\}\}", "2026-11-25T06:30:00.120", payload)
    assert decode_trigger(payload.encode()).at == "2026-11-25T06:30:00.120Z"
