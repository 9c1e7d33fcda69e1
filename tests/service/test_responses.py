"""Response Topics: where answers go besides the camera's topics, and where they must not go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny

NODE = "resp"


@pytest.fixture(scope="module")
def node(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    film = make_video(folder / "film.mp4", 50)
    node = Node(
        folder,
        mosquitto.port,
        films(film) + films(film, name="yard") + tiny(),
        NODE,
        mqtt='response_prefix = ["reply", "plc/7/"]\n',
    )
    with node.running():
        yield node


@pytest.fixture(scope="module")
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, NODE, also=["reply/#", "plc/#", "replyx/#"]) as books:
        for camera in ("gate", "yard"):
            books.wait_text(f"{camera}/availability", "online")
        id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 5})
        books.wait_done(id)
        yield books


def answers(books: Books, topic: str) -> list[tuple[str, bytes | None]]:
    """What came on a Response Topic: the kind of each document and its Correlation Data."""

    def kind(document: dict[str, object]) -> str:
        if "status" in document:
            return str(document["status"])
        return "done" if "event_type" in document else "result"

    return [(kind(m.document), m.correlation) for m in books.messages if m.topic == topic]


@pytest.mark.parametrize("topic", ["reply/a", "reply", "plc/7", "plc/7/x/y"])
@pytest.mark.parametrize("correlation", [None, b"", b"\x00\xff" * 30_000])
def test_ack_results_and_done_go_to_the_response_topic_too(
    books: Books, topic: str, correlation: bytes | None
) -> None:
    before = len(answers(books, topic))
    asked = {"ResponseTopic": topic, "ContentType": "x/y", "PayloadFormatIndicator": 1}
    if correlation is not None:
        asked["CorrelationData"] = correlation
    id = books.send_trigger("gate", {"mode": "window", "before": 2}, properties=asked)
    books.wait_done(id)
    books.fence("gate")
    books.check_request(id, "gate")
    kinds = ("accepted", "result", "result", "done")
    assert answers(books, topic)[before:] == [(kind, correlation) for kind in kinds]


def test_a_duplicate_is_answered_where_its_sender_wants_it(books: Books) -> None:
    wanted = {"ResponseTopic": "reply/first", "CorrelationData": b"1"}
    trigger = {"id": "twice", "mode": "window", "before": 0, "after": 6}
    books.send_trigger("gate", trigger, properties=wanted)
    books.wait_ack("twice")
    early = {"ResponseTopic": "reply/early", "CorrelationData": b"2"}
    books.send_trigger("gate", trigger, properties=early)
    books.wait_done("twice")
    late = {"ResponseTopic": "reply/late", "CorrelationData": b"3"}
    books.send_trigger("gate", trigger, properties=late)
    books.fence("gate")
    assert answers(books, "reply/first") == [
        ("accepted", b"1"), *[("result", b"1")] * 6, ("done", b"1"),
    ]  # fmt: skip
    for topic, correlation in (("reply/early", b"2"), ("reply/late", b"3")):
        assert answers(books, topic) == [("duplicate", correlation), ("done", correlation)]


def test_a_rejection_and_each_camera_of_a_node_trigger_answer_there_too(books: Books) -> None:
    books.send_trigger("gate", {"befor": 1}, properties={"ResponseTopic": "reply/bad"})
    books.send_trigger(
        None,
        {"id": "both", "cameras": ["gate", "yard"], "mode": "window", "before": 1},
        properties={"ResponseTopic": "reply/both"},
    )
    for camera in ("gate", "yard"):
        books.wait_done("both", camera)
        books.fence(camera)
        books.check_request("both", camera)
    assert answers(books, "reply/bad") == [("rejected", None)]
    told = [m.document for m in books.messages if m.topic == "reply/both"]
    assert sorted(d["camera"] for d in told if "status" in d) == ["gate", "yard"]
    assert sorted(d["camera"] for d in told if "event_type" in d) == ["gate", "yard"]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"id": "n1"}, "missing required field cameras"),
        ({"id": "n2", "cameras": ["nowhere", "gate"], "mode": "window"}, "not here: nowhere"),
        ({"id": "n3", "cameras": []}, "length >= 1"),
    ],
)
def test_a_bad_trigger_for_the_node_is_answered_on_its_own_ack(
    books: Books, payload: dict[str, object], words: str
) -> None:
    id = books.send_trigger(None, payload)
    ack = books.wait_ack(id, NODE)
    assert ack.topic == f"framebuf/{NODE}/ack"
    assert ack.document["error"]["code"] == "bad_payload"
    assert words in ack.document["error"]["message"]
    if "gate" in payload.get("cameras", []):  # type: ignore[operator]
        assert books.wait_done(id, "gate").document["published"] >= 1


REFUSED = {
    "outside of the prefixes": "elsewhere/x",
    "a prefix by half a level": "replyx/a",
    "above a prefix": "plc",
    "the wildcard +": "reply/+",
    "the wildcard #": "reply/#",
    "$share": "$share/g/reply/a",
    "$SYS": "$SYS/broker",
    "another camera's trigger": f"framebuf/{NODE}/yard/trigger",
    "a trigger below a prefix": "reply/gate/trigger",
    "the node's status": f"framebuf/{NODE}/status",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_response_topic_that_is_not_allowed_is_refused(
    books: Books, case: str, record: Callable[[str, str], None]
) -> None:
    heard = len(books.messages)
    id = books.send_trigger("gate", {"mode": "window"}, properties={"ResponseTopic": REFUSED[case]})
    books.wait_ack(id)
    books.fence("gate")
    books.check_rejected(id, "bad_response_topic")
    said = [m for m in books.messages[heard:] if m.id == id and m.leaf != "trigger"]
    assert len(said) == 1, "only on the camera's own topic"
    record(f"Response Topic: {case}", "rejected, bad_response_topic")


def test_without_prefixes_every_response_topic_is_refused(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("none")
    film = make_video(folder / "film.mp4", 20)
    with (
        Books.open(mosquitto.port, "closed", also=["reply/closed"]) as books,
        Node(folder, mosquitto.port, films(film) + tiny(), "closed").running(),
    ):
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"before": 1}, properties={"ResponseTopic": "reply/closed"})
        books.wait_ack(id)
        books.fence("gate")
        books.check_rejected(id, "bad_response_topic")
        assert answers(books, "reply/closed") == []
