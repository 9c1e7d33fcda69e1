"""The publisher, with the test in the client's place."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from framebuf.service.backoff import Pause
from framebuf.service.ears import Welcome
from framebuf.service.health import Counters
from framebuf.service.message import Refusal
from framebuf.service.outbox import Outgoing
from framebuf.service.publisher import MOST_TRIES, Publisher

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
        message = self.taken.get(timeout=60)
        return message.topic, message.payload

    def number(self) -> int:
        """What the next result has as its payload."""
        return int(self.next()[1])


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
    settled = []
    for _ in range(1200):
        publisher.answer_stranger(Outgoing("ack", b"no", acknowledged=lambda: settled.append(True)))
    assert counters.snapshot() == {"acks_dropped": 200}
    assert len(settled) == 200, "what is dropped waits for nobody"


QUOTA = Refusal("Quota exceeded", quota=True)


@pytest.fixture
def greeted(publisher, client, monkeypatch):
    """Greeted, and ten results under way as packets 3 to 12."""
    monkeypatch.setattr(Pause, "FIRST_S", 0.01)
    monkeypatch.setattr(Pause, "LONGEST_S", 0.01)
    publisher._pause = Pause()
    publisher.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    for mid in (1, 2):
        client.next()
        publisher.acknowledge(mid, None)
    for number in range(10):
        publisher.publish(Outgoing("result", b"%d" % number))
        assert client.number() == number
    return publisher


def test_what_is_refused_for_quota_goes_again_in_order_and_nothing_overtakes_it(greeted, client):
    for mid in range(3, 13):
        greeted.acknowledge(mid, QUOTA if mid in (5, 7) else None)
    greeted.publish(Outgoing("done", b"10"))
    for mid, again in ((13, 2), (14, 4), (15, 10)):
        assert client.number() == again
        assert client.taken.empty(), "one by one"
        greeted.acknowledge(mid, None)
    greeted.stop((), 60.0)  # or as soon as all is answered
    assert len(greeted._outbox) == 0
    assert greeted._counters.snapshot() == {"publishes_retried": 2}


def test_nothing_is_sent_again_while_others_are_on_their_way(greeted, client):
    greeted.acknowledge(3, QUOTA)
    greeted.publish(Outgoing("done", b"10"))
    for mid in range(4, 12):
        greeted.acknowledge(mid, None)
    greeted.stop((), 0.1)
    assert client.taken.empty(), "packet 12 is not answered"


def test_what_a_broker_refuses_again_and_again_for_quota_is_given_up_and_counted(greeted, client):
    settled = []
    for mid in range(3, 13):
        greeted.acknowledge(mid, None)
    greeted.publish(Outgoing("done", b"1", acknowledged=lambda: settled.append(1)))
    for turn in range(MOST_TRIES + 1):
        assert client.number() == 1
        assert not settled
        greeted.acknowledge(13 + turn, QUOTA)
        if not turn:
            greeted.publish(Outgoing("done", b"2"))
    assert client.number() == 2
    assert settled == [1]
    counted = greeted._counters.snapshot()
    assert counted == {"publishes_refused": 1, "publishes_retried": MOST_TRIES}


def test_what_was_held_back_goes_first_on_the_next_connection(greeted, client):
    greeted.acknowledge(5, QUOTA)
    greeted.disconnect()
    greeted.connect(client, Welcome(resumed=False, max_packet=None, window=20))
    mid = 13
    for wanted in (*HELLO, *(("result", b"%d" % n) for n in (2, 0, 1, 3))):
        assert client.next() == wanted
        greeted.acknowledge(mid, None)
        mid += 1


def test_a_pause_doubles_and_is_short_again_once_something_was_taken(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pause, lasted = Pause(), []
    for _ in range(8):
        pause.begin()
        pause.begin()  # of the same moment
        lasted.append(pause.left_s())
        now[0] += lasted[-1]
    assert lasted == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    pause.reset()
    pause.begin()
    assert pause.left_s() == 0.25
