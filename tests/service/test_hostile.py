"""What strangers send: each case against the running daemon, with its outcome in a table.

After every case the next good trigger is served; after all of them memory has not grown.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny

NODE = "hostile"
TRIGGER = f"framebuf/{NODE}/gate/trigger"
GROWTH_KIB = 8 * 1024


@pytest.fixture(scope="module")
def node(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    film = make_video(folder / "film.mp4", 50)
    camera = (
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 20\nbuffer = 40\nmodels = ["tiny"]\n'
    )
    node = Node(folder, mosquitto.port, f"{camera}{tiny()}", name=NODE)
    with node.running():
        yield node


@pytest.fixture(scope="module")
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, NODE) as books:
        books.wait_text("gate/availability", "online")
        yield books


class Stranger:
    """A client that sends what no good client would."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, payload: bytes, qos: int = 1, topic: str = TRIGGER, **told: object) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in told.items():
            setattr(properties, name, value)
        info = self._client.publish(topic, payload, qos, properties=properties)
        info.wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def stranger(mosquitto: Mosquitto, node: Node) -> Iterator[Stranger]:
    stranger = Stranger(mosquitto.port)
    yield stranger
    stranger.close()


def nested(levels: int) -> bytes:
    return b'{"meta":' + b"[" * levels + b"]" * levels + b"}"


REJECTED: dict[str, tuple[bytes, str]] = {
    "id with +": (b'{"id":"a+b"}', "bad_id"),
    "id with #": (b'{"id":"#"}', "bad_id"),
    "id with /": (b'{"id":"../../etc"}', "bad_id"),
    "id with NUL": (b'{"id":"a\\u0000b"}', "bad_id"),
    "id with U+FFFF": (b'{"id":"\\uffff"}', "bad_id"),
    "id with a newline at its end": (b'{"id":"abc\\n"}', "bad_id"),
    "empty id": (b'{"id":""}', "bad_id"),
    "id of 65 characters": (b'{"id":"' + b"a" * 65 + b'"}', "bad_id"),
    "id that is a number": (b'{"id":7}', "bad_payload"),
    "66 kB": (b'{"id":"' + b"a" * 66_000 + b'"}', "bad_payload"),
    "900 kB": (b"[" + b" " * 900_000 + b"]", "bad_payload"),
    "JSON 200,000 deep": (nested(200_000), "bad_payload"),
    "JSON 30,000 deep": (nested(30_000), "bad_payload"),
    "meta of 33 levels": (nested(33), "bad_payload"),
    "an integer of 5,000 digits": (b'{"stride":' + b"9" * 5000 + b"}", "bad_payload"),
    "before of 5,000 digits": (b'{"before":' + b"9" * 5000 + b"}", "bad_payload"),
    "NaN": (b'{"stride":NaN}', "bad_payload"),
    "Infinity in meta": (b'{"meta":Infinity}', "bad_payload"),
    "a key twice": (b'{"id":"a","id":"b"}', "bad_payload"),
    "bad UTF-8": (b'{"id":"\xff\xfe"}', "bad_payload"),
    "bad UTF-8 in meta": (b'{"meta":"\xff"}', "bad_payload"),
    "a lone surrogate as id": (b'{"id":"\\ud800"}', "bad_payload"),
    "an array": (b"[1]", "bad_payload"),
    "a string": (b'"now"', "bad_payload"),
    "two documents": (b"{}{}", "bad_payload"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "bad_payload"),
    "an unknown field": (b'{"befor":1}', "unknown_field"),
    "deadline of zero": (b'{"deadline":"0s"}', "bad_payload"),
    "deadline below zero": (b'{"deadline":"-1s"}', "bad_payload"),
    "deadline in the far future": (b'{"deadline":"9999d"}', "bad_payload"),
    "at in the year 1": (b'{"at":"0001-01-01T00:00:00Z"}', "stale"),
    "at in the year 9999": (b'{"at":"9999-12-31T23:59:59Z"}', "bad_at"),
    "at on 30 February": (b'{"at":"2026-02-30T00:00:00Z"}', "bad_at"),
    "before of a million frames": (b'{"before":1000000}', "window_too_large"),
    "stride of zero": (b'{"stride":0}', "bad_payload"),
    "a will sent as a trigger": (b"offline", "bad_payload"),
}


def serves(books: Books) -> None:
    """The next good trigger gets its frames."""
    id = books.send_trigger("gate", {"mode": "window", "before": 1})
    assert books.wait_done(id).document["published"] == 1


@pytest.mark.parametrize("case", REJECTED)
def test_a_hostile_trigger_is_rejected_with_its_code(
    books: Books, stranger: Stranger, case: str, record: Callable[[str, str], None]
) -> None:
    payload, code = REJECTED[case]
    heard = len(books.messages) - 1
    stranger.send(payload)
    ack = books.wait_message(
        lambda m: m.leaf == "ack" and m.document["status"] == "rejected", 10, "a rejection", heard
    )
    assert ack.document["error"]["code"] == code
    assert len(ack.payload) < 1000
    serves(books)
    record(case, f"rejected, {code}")


IGNORED = {
    "a topic below the trigger's": f"{TRIGGER}/x",
    "a camera that is not here": f"framebuf/{NODE}/nowhere/trigger",
    "an ack sent to us": f"framebuf/{NODE}/gate/ack",
    "another node": "framebuf/other/gate/trigger",
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_is_not_for_us_is_ignored(
    books: Books, stranger: Stranger, case: str, record: Callable[[str, str], None]
) -> None:
    heard = len(books.messages)
    stranger.send(b'{"id":"stray"}', topic=IGNORED[case])
    serves(books)
    answers = [m for m in books.messages[heard:] if m.leaf in ("ack", "done")]
    assert "stray" not in [m.id for m in answers if m.topic != IGNORED[case]]
    record(case, "ignored")


def test_a_flood_at_qos_0_is_answered_or_counted_and_the_next_is_served(
    books: Books, stranger: Stranger, record: Callable[[str, str], None]
) -> None:
    for _ in range(3000):
        stranger.send(b"{", qos=0)
    serves(books)
    record("3,000 broken triggers at QoS 0", "rejected or counted")


def test_20_mb_are_never_sent_to_the_node(
    books: Books, stranger: Stranger, node: Node, record: Callable[[str, str], None]
) -> None:
    before = node.peak_kib()
    stranger.send(b"[" + b" " * 20_000_000 + b"]")
    serves(books)
    assert node.peak_kib() - before < 10_000
    record("20 MB", "kept back by the broker")


def test_half_a_packet_and_then_silence_holds_nobody_up(
    books: Books, mosquitto: Mosquitto, record: Callable[[str, str], None]
) -> None:
    with socket.create_connection(("127.0.0.1", mosquitto.port)) as half:
        half.sendall(b"\x10\x20\x00\x04MQTT\x05")
        serves(books)
    record("half a CONNECT", "no effect")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payload=st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
        st.dictionaries(
            st.sampled_from(
                ["id", "at", "before", "after", "mode", "stride", "meta", "max_frames"]
            ),
            st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=3),
        ).map(lambda value: json.dumps(value).encode()),
    ),
    correlation=st.none() | st.binary(max_size=64),
)
def test_whatever_the_payload_it_is_answered(
    books: Books, stranger: Stranger, payload: bytes, correlation: bytes | None
) -> None:
    heard = len(books.messages) - 1
    told = {} if correlation is None else {"CorrelationData": correlation}
    stranger.send(payload, **told)
    books.wait_message(lambda m: m.leaf == "ack", 10, f"an ack to {payload!r}", heard)


def test_memory_has_not_grown_after_hostile_triggers(
    books: Books, stranger: Stranger, node: Node, record: Callable[[str, str], None]
) -> None:
    def round_of_all() -> None:
        for payload, _ in REJECTED.values():
            stranger.send(payload)
        books.fence("gate")

    for _ in range(2):
        round_of_all()
    before = node.anonymous_kib()
    for _ in range(10):
        round_of_all()
    growth = node.anonymous_kib() - before
    assert growth < GROWTH_KIB
    record(f"all of these {10} times more", f"RssAnon {growth:+d} KiB")
