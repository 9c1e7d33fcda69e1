"""The publisher, with the test in the client's place."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from framebuf.service.connection import Welcome
from framebuf.service.health import Counters
from framebuf.service.outbox import Outgoing
from framebuf.service.publisher import Publisher

GREETING = [Outgoing(leaf, b"online", retain=True) for leaf in ("status", "availability")]
HELLO = [("status", b"online"), ("availability", b"online")]


class Client:
    """Takes messages, and acknowledges what the test says."""

    def __init__(self) -> None:
        self.taken: SimpleQueue[Outgoing] = SimpleQueue()
        self._mids = 0

    def publish(self, message: Outgoing) -> int:
        self._mids += 1
        self.taken.put(message)
        return self._mids

    def next(self) -> tuple[str, bytes]:
        message = self.taken.get(timeout=5)
        return message.topic, message.payload


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def publisher(client):
    publisher = Publisher(lambda: GREETING, Counters())
    publisher.start()
    yield publisher
    publisher.stop((), 0.1)


def test_what_waits_goes_out_in_order_after_the_greeting(publisher, client):
    for number in range(3):
        publisher.publish(Outgoing("result", b"%d" % number))
    publisher.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    results = [("result", b"0"), ("result", b"1"), ("result", b"2")]
    assert [client.next() for _ in range(5)] == HELLO + results


def test_what_is_of_the_moment_is_not_kept_while_the_broker_is_away(publisher, client):
    """QoS 0, and retained states: an hour old, they would be untrue."""
    publisher.publish(Outgoing("stats", b"old", qos=0))
    publisher.publish(Outgoing("availability", b"offline", retain=True))
    publisher.publish(Outgoing("result", b"kept"))
    publisher.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    assert [client.next() for _ in range(3)] == [*HELLO, ("result", b"kept")]
    publisher.stop((), 0.05)
    assert client.taken.empty()


def test_no_more_than_the_window_is_under_way(publisher, client):
    publisher.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    for number in range(40):
        publisher.publish(Outgoing("result", b"%d" % number))
    for _ in range(20):
        client.next()
    publisher.stop((), 0.05)
    assert client.taken.empty()


def test_the_last_messages_go_out_though_stop_comes_right_behind_them(publisher, client):
    publisher.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    assert [client.next() for _ in range(2)] == HELLO
    last = Outgoing("status", b"offline")
    publisher.stop([last], 0.2)
    assert client.next() == ("status", b"offline")


def test_answers_to_strangers_are_bounded():
    counters = Counters()
    publisher = Publisher(list, counters)
    for _ in range(1200):
        publisher.answer_stranger(Outgoing("ack", b"no"))
    assert counters.snapshot() == {"acks_dropped": 200}
