"""Which brokers the node gets on with: versions, denials, a client id that is taken."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from framebuf.config import Mqtt
from framebuf.service import backoff, connection, version
from framebuf.service.broker import Broker
from framebuf.service.health import Counters
from framebuf.service.message import Message, Session
from framebuf.service.outbox import Outbox, Outgoing
from tests.ports import free_port
from tests.service.books import Books
from tests.service.gateway import Gateway
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny

WAIT_S = 60.0


class Kept:
    """A Broker in the test's own process, and all that it hears."""

    def __init__(self, port: int, client_id: str = "kept", **session: object) -> None:
        self.counters = Counters()
        self.heard: SimpleQueue[Message] = SimpleQueue()
        topics = (f"{client_id}/in",)
        self.broker = Broker(
            Mqtt(host="127.0.0.1", port=port),
            Session(client_id, topics, **session),  # type: ignore[arg-type]
            self.counters,
            on_message=self.heard.put,
        )

    def __enter__(self) -> Kept:
        self.broker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.stop()

    def count(self, name: str) -> int:
        return self.counters.snapshot().get(name, 0)


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextmanager
def gateway(broker: Mosquitto) -> Iterator[Gateway]:
    with Gateway(free_port(), broker.port) as gateway:
        yield gateway


@pytest.mark.parametrize("how", ["says so", "closes"])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    mosquitto: Mosquitto, tmp_path: Path, how: str
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    name = f"old-{uuid.uuid4().hex[:8]}"
    with Gateway(free_port(), mosquitto.port) as old, Books.open(mosquitto.port, name) as books:
        old.without_5 = how  # type: ignore[assignment]
        books.publish(f"framebuf/{name}/gate/trigger", b'{"id":"before"}', retain=True)
        node = Node(tmp_path, old.port, films(film) + tiny(), name)
        with node.running():
            books.wait_text("gate/availability", "online")
            books.wait_ack("before")
            books.check_rejected("before", "retained")
            books.publish(f"framebuf/{name}/gate/trigger", b"", retain=True)  # taken for a trigger
            id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 3})
            assert books.wait_done(id).document["published"] == 3
            books.check_request(id)
        assert node.log.count("with MQTT 3.1.1, which has no Response Topics") == 1
        assert old.levels == [5, 4]


def test_mqtt_5_is_tried_again_on_a_later_connection(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway(mosquitto) as old, ExitStack() as stack:
        old.without_5 = "says so"
        kept = stack.enter_context(Kept(old.port))
        until(lambda: kept.count("connects") == 1, "a connection")
        old.drop_all()
        until(lambda: kept.count("connects") == 2, "a second connection")
        assert old.levels == [5, 4, 4], "not yet"
        monkeypatch.setattr(version, "RETRY_S", 0.0)
        old.without_5 = None
        old.drop_all()
        until(lambda: kept.count("connects") == 3, "a third connection")
        assert old.levels == [5, 4, 4, 5]


def test_a_broker_that_only_closed_is_once_left_for_mqtt_5_and_then_believed(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway(mosquitto) as old:
        old.without_5 = "closes"
        with caplog.at_level(logging.INFO), Kept(old.port) as kept:
            until(lambda: kept.count("connects") == 1, "a connection")
            monkeypatch.setattr(version, "RETRY_S", 1.0)
            until(lambda: kept.count("connects") == 2, "a second try with 5")
            assert kept.broker.connected.wait(WAIT_S)
            kept.broker.publish(Outgoing("kept/in", b"still there"))
            while kept.heard.get(timeout=WAIT_S).payload != b"still there":
                pass
        assert old.levels == [5, 4, 5, 4]
        assert caplog.text.count("trying MQTT 5 on the broker again") == 1


def test_a_denied_topic_is_told_once_and_counted(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "acl").write_text("topic readwrite #\ntopic deny framebuf/acl/gate/result\n")
    (tmp_path / "film").mkdir()
    film = make_video(tmp_path / "film" / "film.mp4", 50)
    acl = f"acl_file {tmp_path}/acl\n"
    # with max_queued_messages 0, mosquitto 2.0.11 closes the connection over a denied message
    broker = Mosquitto(tool("mosquitto"), tmp_path, free_port(), acl, queue=1000)
    broker.start()
    node = Node(tmp_path, broker.port, films(film) + tiny(), "acl", env={"FRAMEBUF_STATS_S": "0.3"})
    try:
        with Books.open(broker.port, "acl") as books, node.running():
            books.wait_text("gate/availability", "online")
            for _ in range(2):  # the second shows that the frames of the first are free again
                id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 4})
                assert books.wait_done(id).document["published"] == 4
            books.wait_message(
                lambda m: (
                    m.leaf == "stats"
                    and m.document["counters"].get("publishes_denied") == 8
                    and m.document["cameras"]["gate"]["leased"] == 0
                ),
                what="8 denied, no frame held",
            )
        assert node.log.count("framebuf/acl/gate/result: the broker refuses: Not authorized") == 1
    finally:
        broker.stop()


def test_a_denied_subscription_is_told_with_its_topic_and_counted(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway(mosquitto) as strict:
        strict.denies_subscriptions = True
        with Kept(strict.port, "denied") as kept:
            told = "the broker denies us the topic denied/in: Not authorized"
            until(lambda: kept.broker.trouble == told, "word of the denial")
            assert kept.count("subscriptions_denied") == 1
        assert caplog.text.count(told) == 1


def test_a_client_id_that_another_takes_is_told(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway(mosquitto) as gate, Kept(gate.port, "twin") as one:
        for turn in (1, 2):
            until(lambda turn=turn: one.count("connects") == turn, "a connection")  # type: ignore[misc]
            gate.drop_all(b"\xe0\x02\x8e\x00")
            until(lambda turn=turn: one.count("taken_over") == turn, "the news")  # type: ignore[misc]
    assert caplog.text.count("taken over by another client: is a second node named twin?") == 1


def test_two_nodes_of_one_name_do_not_fight_in_a_tight_loop(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """mosquitto 2.0.11 closes the older connection without a word."""
    with Kept(mosquitto.port, "pair") as one, Kept(mosquitto.port, "pair") as other:
        until(lambda: "again and again: is a second node named pair?" in caplog.text, "a word")
        assert one.count("connects") + other.count("connects") < 12


def test_a_message_on_which_the_broker_closes_is_given_up_and_the_next_goes_out(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    settled = []
    with gateway(mosquitto) as gate, Kept(gate.port, "gives-up") as kept:
        assert kept.broker.connected.wait(WAIT_S)
        gate.closes_on = b"poison"
        for payload in (b"good 1", b"the poison: poison", b"good 2"):
            kept.broker.publish(
                Outgoing("elsewhere", payload, acknowledged=lambda: settled.append(1))
            )
        until(lambda: len(settled) == 3, "all settled")
        assert kept.count("messages_given_up") == 1
        assert kept.count("connects") <= 2 + Outbox.MAX_LOSSES


def test_an_acknowledgement_does_not_go_out_over_another_connection(
    mosquitto: Mosquitto,
) -> None:
    name = f"acked-{uuid.uuid4().hex}"  # the session outlives the test
    with gateway(mosquitto) as gate, Kept(gate.port, name, expiry_s=60) as kept:
        assert kept.broker.connected.wait(WAIT_S)
        settled = threading.Event()
        kept.broker.publish(Outgoing(f"{name}/in", b"first", acknowledged=settled.set))
        first = kept.heard.get(timeout=WAIT_S)
        assert settled.wait(WAIT_S), "else it is published again"
        gate.drop_all()
        again = kept.heard.get(timeout=WAIT_S)
        assert again.payload == b"first"
        assert again.kept
        kept.broker.acknowledge(first)  # of the old connection: no effect
        gate.drop_all()
        again = kept.heard.get(timeout=WAIT_S)
        kept.broker.acknowledge(again)
        kept.broker.publish(Outgoing(f"{name}/in", b"second"))
        assert kept.heard.get(timeout=WAIT_S).payload == b"second"


def test_what_expires_while_the_node_is_away_never_comes_and_of_the_rest_what_is_left_is_told(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RESUMED_NS", 60 * 10**9)  # however slowly it comes
    name = f"expires-{uuid.uuid4().hex}"  # the session outlives the test
    with (
        gateway(mosquitto) as gate,
        Kept(gate.port, name, expiry_s=60) as kept,
        Books.open(mosquitto.port, "none") as sender,
    ):
        assert kept.broker.connected.wait(WAIT_S)
        kept.broker.publish(Outgoing(f"{name}/in", b"it has subscribed"))
        kept.broker.acknowledge(kept.heard.get(timeout=WAIT_S))
        gate.hold()
        until(lambda: not kept.broker.connected.is_set(), "the loss")
        for seconds in (1, 100):
            sender.publish(
                f"{name}/in", b"%d" % seconds, properties={"MessageExpiryInterval": seconds}
            )
        time.sleep(2.1)  # the broker counts whole seconds
        gate.let_in()
        heard = kept.heard.get(timeout=WAIT_S)
        if heard.payload == b"it has subscribed":  # its acknowledgement was held too
            heard = kept.heard.get(timeout=WAIT_S)
        assert heard.payload == b"100"
        assert heard.kept
        assert heard.expiry_s is not None
        assert 80 < heard.expiry_s < 100


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_connection_that_is_lost_leaves_no_open_file_behind(
    own_mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    gc.collect()
    gc.disable()  # it would close them some time
    try:
        with Kept(own_mosquitto.port) as node:
            assert node.broker.connected.wait(WAIT_S)
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            for times in (2, 3, 4):
                if how == "reset":  # TCP does so for who ends with something unread
                    own_mosquitto.signal(signal.SIGSTOP)
                    node.broker.publish(Outgoing("kept/out", b"unread", qos=0))
                    until(lambda: unread(own_mosquitto.port), "the broker has something unread")
                    own_mosquitto.kill()
                else:
                    own_mosquitto.stop()
                until(lambda: not node.broker.connected.is_set(), "it is lost")
                own_mosquitto.start()
                until(lambda times=times: node.count("connects") == times, "it is back")
            until(
                lambda: len(os.listdir("/proc/self/fd")) <= before,  # noqa: PTH208
                f"it has more than {before} open files",
            )
    finally:
        gc.enable()


def unread(port: int) -> bool:
    """Whether some socket of `port` has received what its process has not read (proc(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        int(row[1].partition(":")[2], 16) == port and int(row[4].partition(":")[2], 16)
        for row in rows
    )


def test_a_host_that_cannot_be_one_is_told_and_does_not_end_the_thread() -> None:
    kept = Kept(1)
    kept.broker._mqtt = Mqtt(host="x" * 70 + ".example.org")  # a label has 63 characters
    with kept:
        until(lambda: kept.broker.trouble, "trouble")
        assert "is no host's name" in (kept.broker.trouble or "")
        assert kept.broker._thread.is_alive()


def test_a_broker_that_is_away_for_days_is_still_tried() -> None:
    with Kept(free_port()) as kept:
        until(lambda: kept.broker.trouble, "trouble")
        assert "Connection refused" in (kept.broker.trouble or "")
