"""What strangers send: each case against the running daemon, with its outcome in a table.

After every case the next good trigger is served; after all of them memory has not grown.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import REPO, Mosquitto, Node, tiny

NODE = "hostile"
TRIGGER = f"framebuf/{NODE}/gate/trigger"
GROWTH_KIB = 8 * 1024
WAIT_S = 60.0


@pytest.fixture(scope="module")
def node(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    film = make_video(folder / "film.mp4", 50, (320, 240))
    camera = (
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 20\nbuffer = 120\nmodels = ["tiny"]\n'
    )
    node = Node(folder, mosquitto.port, f"{camera}{tiny()}", name=NODE)
    with node.running():
        yield node


@pytest.fixture(scope="module")
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, NODE) as books:
        books.strangers = {"stray", "beside"}
        books.wait_text("gate/availability", "online")
        yield books


class Stranger:
    """A client that sends what no good client would."""

    def __init__(
        self, port: int, client_id: str = "", will: bytes | None = None, *, retain: bool = False
    ) -> None:
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self.gone = threading.Event()
        self._client.on_disconnect = lambda *_: self.gone.set()
        self._client.on_publish = self._sent
        self._on_its_way = threading.Semaphore(0)
        if will is not None:
            self._client.will_set(TRIGGER, will, qos=1, retain=retain)
        self._client.connect("127.0.0.1", port, clean_start=True)
        self._client.loop_start()

    def _sent(self, *_: object) -> None:
        self._on_its_way.release()

    def pour(self, payloads: Sequence[bytes]) -> None:
        """At QoS 1, as fast as it goes."""
        for payload in payloads:
            self._client.publish(TRIGGER, payload, 1)
        for _ in payloads:
            assert self._on_its_way.acquire(timeout=WAIT_S)

    def vanish(self) -> None:
        """Without a goodbye: the broker publishes its will."""
        sock = self._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        assert self.gone.wait(WAIT_S)

    def send(self, payload: bytes, qos: int = 1, topic: str = TRIGGER, **told: object) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in told.items():
            setattr(properties, name, value)
        info = self._client.publish(topic, payload, qos, properties=properties)
        if not self.gone.is_set():
            info.wait_for_publish(WAIT_S)

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
    "id with /": (b'{"id":"a/b"}', "bad_id"),
    "id with NUL": (b'{"id":"a\\u0000b"}', "bad_id"),
    "id with U+FFFF": (b'{"id":"\\uffff"}', "bad_id"),
    "id with a newline at its end": (b'{"id":"abc\\n"}', "bad_id"),
    "id ../../etc": (b'{"id":"../../etc"}', "bad_id"),
    "id $SYS": (b'{"id":"$SYS"}', "bad_id"),
    "id of 60 kB": (b'{"id":"' + b"a" * 60_000 + b'"}', "bad_id"),
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


NAMES: dict[str, list[object] | str] = {
    "+": ["+"],
    "#": ["#"],
    "a /": ["gate/trigger"],
    "../": ["../other/gate"],
    "NUL": ["a\0b"],
    "U+FFFF": ["\uffff"],
    "$SYS": ["$SYS"],
    "nothing": [""],
    "60 kB": ["x" * 60_000],
    "a number": [7],
    "no list": "gate",
    "an empty list": [],
    "1,001 of them": [f"c{n}" for n in range(1001)],
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
    heard = books.newest
    stranger.send(payload)
    ack = books.wait_message(
        lambda m: m.leaf == "ack" and m.document["status"] == "rejected",
        what="a rejection",
        after=heard,
    )
    assert ack.document["error"]["code"] == code
    assert len(ack.payload) < 1000
    serves(books)
    record(case, f"rejected, {code}")


@pytest.mark.parametrize("case", NAMES)
def test_a_trigger_for_the_node_that_names_no_camera_is_rejected(
    books: Books, stranger: Stranger, case: str, record: Callable[[str, str], None]
) -> None:
    heard = books.newest
    stranger.send(
        json.dumps({"cameras": NAMES[case], "id": "n"}).encode(),
        topic=f"framebuf/{NODE}/trigger",
    )
    ack = books.wait_message(
        lambda m: m.topic == f"framebuf/{NODE}/ack", what="an ack", after=heard
    )
    assert ack.document["error"]["code"] == "bad_payload"
    assert len(ack.payload) < 1000
    serves(books)
    record(f"cameras: {case}", "rejected, bad_payload")


def test_a_deadline_that_has_passed_before_anything_could_be_done_still_ends_in_a_done(
    books: Books, record: Callable[[str, str], None]
) -> None:
    id = books.send_trigger("gate", {"mode": "window", "before": 30, "deadline": "1ms"})
    done = books.wait_done(id).document
    assert done["missing"]["deadline"] > 0
    serves(books)
    record("a deadline of a millisecond", "accepted, done says deadline")


def test_60_kb_of_correlation_data_are_no_burden(
    books: Books, stranger: Stranger, record: Callable[[str, str], None]
) -> None:
    """Where they are given back is in test_responses.py."""
    stranger.send(b'{"id":"much","before":1,"mode":"window"}', CorrelationData=b"\0\xff" * 30_000)
    assert books.wait_done("much").document["published"] == 1
    record("60 kB of Correlation Data", "accepted, unused without a Response Topic")


@pytest.mark.parametrize(
    ("case", "topic"),
    [("wildcards", "#"), ("$share", "$share/g/x"), ("65 kB", "x" * 65_000), ("../", "../x")],
)
def test_a_response_topic_where_none_is_allowed_is_refused(
    books: Books, stranger: Stranger, case: str, topic: str, record: Callable[[str, str], None]
) -> None:
    """Where some are, the rest is refused one by one in test_responses.py."""
    id = f"resp-{len(books.messages)}"
    stranger.send(json.dumps({"id": id}).encode(), ResponseTopic=topic)
    ack = books.wait_ack(id)
    assert ack.document["error"]["code"] == "bad_response_topic"
    assert len(ack.payload) < 1000
    serves(books)
    record(f"Response Topic: {case}", "rejected, bad_response_topic")


@pytest.mark.parametrize(
    ("case", "retain", "outcome"),
    [("", False, "accepted"), (" and retained", True, "rejected")],
)
def test_a_will_is_a_trigger_like_any_other(
    books: Books,
    mosquitto: Mosquitto,
    case: str,
    retain: bool,
    outcome: str,
    record: Callable[[str, str], None],
) -> None:
    id = f"testament-{outcome}"
    will = json.dumps({"id": id, "mode": "window", "before": 1}).encode()
    dying = Stranger(mosquitto.port, will=will, retain=retain)
    dying.send(b"alive", topic="elsewhere")
    dying.vanish()
    dying.close()
    ack = books.wait_ack(id).document
    assert ack["status"] == outcome
    if retain:
        assert ack["error"]["code"] == "retained"
        books.publish(TRIGGER, b"", retain=True)
    else:
        assert books.wait_done(id).document["published"] == 1
    serves(books)
    record(f"a will on the trigger's topic{case}", outcome)


def test_a_stranger_with_the_nodes_client_id_is_no_end_of_it(
    books: Books, mosquitto: Mosquitto, record: Callable[[str, str], None]
) -> None:
    heard = books.newest
    twin = Stranger(mosquitto.port, f"framebuf-{NODE}")
    books.wait_subscribed(heard)
    assert twin.gone.wait(WAIT_S)
    twin.close()
    serves(books)
    record("another client takes the node's id", "lost, reconnected, subscribed again")


def test_a_flood_of_good_triggers_is_accepted_or_told_to_be_too_much(
    books: Books, stranger: Stranger, record: Callable[[str, str], None]
) -> None:
    heard = books.newest
    flood = [json.dumps({"id": f"f{n}", "mode": "window", "before": 3}) for n in range(500)]
    stranger.pour([one.encode() for one in flood])
    acks = {f"f{n}": books.wait_ack(f"f{n}", after=heard).document for n in range(500)}
    accepted = [id for id, ack in acks.items() if ack["status"] == "accepted"]
    codes = {ack["error"]["code"] for ack in acks.values() if "error" in ack}
    assert codes <= {"queue_full"}
    for id in accepted:
        assert books.wait_done(str(id)).document["published"] == 3
    serves(books)
    record("500 good triggers at once", "each accepted with its done, or queue_full")


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
    stranger.send(b"{")  # once the broker has this, it has all, and no answer comes later
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


text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"]))
topics = st.sampled_from([TRIGGER, TRIGGER, TRIGGER, f"framebuf/{NODE}/trigger"])
told = st.fixed_dictionaries(
    {},
    optional={
        "CorrelationData": st.binary(max_size=64),
        "ResponseTopic": text.filter(lambda topic: topic and not set("+#") & set(topic)),
        "ContentType": text,
        "PayloadFormatIndicator": st.sampled_from([0, 1]),
        "MessageExpiryInterval": st.integers(1, 2**32 - 1),
        "UserProperty": st.lists(st.tuples(text, text), min_size=1, max_size=5),
    },
)


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
    topic=topics,
    told=told,
)
def test_whatever_payload_topic_and_properties_it_is_answered(
    books: Books, stranger: Stranger, payload: bytes, topic: str, told: dict[str, object]
) -> None:
    heard = books.newest
    stranger.send(payload, topic=topic, **told)
    wanted = topic.replace("trigger", "ack")
    books.wait_message(lambda m: m.topic == wanted, what=f"an ack to {payload!r}", after=heard)
    assert not stranger.gone.is_set(), "the broker closed on it: the node never saw it"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    below=text.filter(lambda name: not set("+#") & set(name)),
    above=st.booleans(),
    told=told,
)
def test_whatever_is_published_beside_its_topics_is_ignored(
    books: Books, stranger: Stranger, below: str, above: bool, told: dict[str, object]
) -> None:
    topic = f"framebuf/{NODE}/{below}/trigger" if above else f"{TRIGGER}/{below}"
    if topic == TRIGGER:
        return
    heard = len(books.messages)
    stranger.send(b'{"id":"beside"}', topic=topic, **told)
    books.fence("gate")
    assert "beside" not in [m.id for m in books.messages[heard:] if m.topic != topic]


def test_memory_has_not_grown_after_hostile_triggers(
    books: Books, stranger: Stranger, node: Node, record: Callable[[str, str], None]
) -> None:
    def round_of_all() -> None:
        for payload, _ in REJECTED.values():
            stranger.send(payload)
        for names in NAMES.values():
            document = json.dumps({"cameras": names}).encode()
            stranger.send(document, topic=f"framebuf/{NODE}/trigger")
        stranger.send(b"{}", ResponseTopic="x" * 65_000, CorrelationData=b"y" * 60_000)
        books.fence("gate")

    for _ in range(2):
        round_of_all()
    before = node.anonymous_kib()
    for _ in range(10):
        round_of_all()
    growth = node.anonymous_kib() - before
    assert growth < GROWTH_KIB
    record(f"all of these {10} times more", f"RssAnon {growth:+d} KiB")


CLOCK = """
import time
real = time.time_ns
def shifted():
    with open({path!r}) as file:
        return real() + int(file.read() or 0)
time.time_ns = shifted
"""


def test_a_clock_that_jumps_moves_no_window(
    mosquitto: Mosquitto,
    tmp_path_factory: pytest.TempPathFactory,
    record: Callable[[str, str], None],
) -> None:
    """The jump is simulated: the node's process reads its wall clock through a shift."""
    folder = tmp_path_factory.mktemp("clock")
    shift = folder / "shift"
    shift.write_text("0")
    (folder / "sitecustomize.py").write_text(CLOCK.format(path=str(shift)))
    film = make_video(folder / "film.mp4", 50)
    camera = f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 20\nbuffer = 60\n'
    node = Node(
        folder, mosquitto.port, f'{camera}models = ["tiny"]\n{tiny()}', name="clock",
        env={"PYTHONPATH": f"{folder}:{REPO}"},
    )  # fmt: skip
    with node.running(), Books.open(mosquitto.port, "clock") as books:
        books.wait_text("gate/availability", "online")
        books.wait_done(books.send_trigger("gate", {"mode": "window", "before": 0, "after": 25}))
        for hours in (0, 1, -2):
            _jump(shift, hours)
            now = books.send_trigger("gate", {"mode": "window", "before": "1s"})
            wants = {"mode": "window", "before": "1s", "at": _utc(hours)}
            by_its_clock = books.send_trigger("gate", wants)
            for id in (now, by_its_clock):
                done = books.wait_done(id).document
                assert done["event_type"] == "complete"
                # a busy machine keeps fewer frames a second
                assert 1 <= done["published"] <= 22
                frames = [r["frame"] for _, r in sorted(books.request(id).by_index.items())]
                assert all(-1005 <= frame["offset_ms"] <= 5 for frame in frames)
                seqs = [frame["seq"] for frame in frames]
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
            other = books.send_trigger("gate", {"before": 1, "at": _utc(hours + 3)})
            assert books.wait_ack(other).document["error"]["code"] == "bad_at"
            other = books.send_trigger("gate", {"before": 1, "at": _utc(hours - 3)})
            assert books.wait_ack(other).document["error"]["code"] == "stale"
    record("a clock that jumps by hours (simulated)", "no window moves; at is by the new clock")


def _jump(shift: Path, hours: int) -> None:
    new = shift.with_suffix(".new")
    new.write_text(str(hours * 3600 * 10**9))
    new.replace(shift)


def _utc(hours: float) -> str:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
