"""Triggers that the contract rejects get their code, and the next good one is served."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import FRAMEBUF, Mosquitto, Node, tiny


@pytest.fixture(scope="module")
def node(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    film = make_video(folder / "film.mp4", 50, (320, 240))
    cameras = "".join(
        f'[[camera]]\nname = "{name}"\nsource = "{film}"\nfps = 20\nbuffer = 120\n'
        'models = ["tiny"]\n'
        for name in ("gate", "yard")
    )
    node = Node(folder, mosquitto.port, f"max_pending = 4\n{cameras}{tiny()}", name="trig")
    with node.running():
        yield node


@pytest.fixture
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, node.name) as books:
        books.wait_text("gate/availability", "online")
        books.wait_text("yard/availability", "online")
        full = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 5})
        books.wait_done(full)
        yield books


def ago(seconds: float) -> str:
    at = time.time() - seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


@pytest.mark.parametrize(
    ("trigger", "code"),
    [
        ({"id": "r1", "befor": 3}, "unknown_field"),
        ({"id": "r2", "before": 1.5}, "bad_payload"),
        ({"id": "r3", "before": "1.5"}, "bad_payload"),
        ({"id": "r4", "at": "yesterday"}, "bad_at"),
        ({"id": "r5", "at": -60}, "bad_at"),
        ({"id": "r6", "at": 60}, "stale"),
        ({"id": "r7", "before": 100_000}, "window_too_large"),
        ({"id": "r8", "before": "2h"}, "window_too_large"),
        ({"id": "r9", "meta": {"a": "x" * 5000}}, "bad_payload"),
    ],
)
def test_a_rejected_trigger_gets_its_code_and_the_next_good_one_is_served(
    books: Books, trigger: dict[str, Any], code: str
) -> None:
    if isinstance(trigger.get("at"), int):  # seconds ago, reckoned now
        trigger = trigger | {"at": ago(trigger["at"])}
    books.send_trigger("gate", trigger)
    books.wait_ack(str(trigger["id"]))
    books.check_rejected(str(trigger["id"]), code)

    good = books.send_trigger("gate", {"mode": "window", "before": 3})
    books.wait_done(good)
    books.fence("gate")
    assert books.check_request(good).done["published"] == 3


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff\xfe", b'{"id":"a b"}', b"x" * 70_000])
def test_a_payload_whose_id_cannot_be_read_is_rejected_with_id_null(
    books: Books, payload: bytes
) -> None:
    before = books.newest
    books.publish("framebuf/trig/gate/trigger", payload)
    ack = books.wait_message(
        lambda m: m.leaf == "ack" and m.document["id"] is None, what="an ack", after=before
    )
    assert ack.document["status"] == "rejected"
    assert ack.document["error"]["code"] in ("bad_payload", "bad_id")


def test_an_empty_payload_is_a_trigger_with_the_defaults_and_a_made_up_id(books: Books) -> None:
    before = books.newest
    books.publish("framebuf/trig/gate/trigger", b"")
    ack = books.wait_message(
        lambda m: m.leaf == "ack" and str(m.id).startswith("t-"), what="an ack", after=before
    )
    assert ack.document["status"] == "accepted"
    books.wait_done(str(ack.id))
    books.fence("gate")
    books.check_request(str(ack.id), "gate")


def test_a_retained_trigger_is_rejected_and_clearing_it_does_not_fire(books: Books) -> None:
    books.send_trigger("gate", {"id": "kept"}, retain=True)
    books.wait_ack("kept")
    books.check_rejected("kept", "retained")
    before = len(books.messages)
    books.publish("framebuf/trig/gate/trigger", b"", retain=True)
    books.fence("gate")
    said = [m.document for m in books.messages[before:] if m.leaf == "ack"]
    assert not [ack for ack in said if ack["status"] == "accepted"]


def test_a_known_id_is_a_duplicate_whose_done_comes_again(books: Books) -> None:
    id = books.send_trigger("gate", {"id": "twice", "mode": "window", "before": 2})
    first = books.wait_done(id)
    place = books.newest
    books.send_trigger("gate", {"id": "twice", "mode": "window", "before": 2})
    again = books.wait_done(id, after=place)
    assert again.document == first.document
    books.fence("gate")
    assert books.check_request(id, duplicates=1).acks[-1].document["first_at"]


def test_an_id_belongs_to_its_camera(books: Books) -> None:
    books.send_trigger(None, {"id": "both", "cameras": ["gate", "yard"], "mode": "window"})
    for camera in ("gate", "yard"):
        books.wait_done("both", camera)
        books.fence(camera)
        books.check_request("both", camera)


def test_more_than_max_pending_are_rejected_as_queue_full(books: Books) -> None:
    ids = [
        books.send_trigger("gate", {"mode": "window", "before": 1, "after": 30}) for _ in range(4)
    ]
    books.send_trigger("gate", {"id": "fifth"})
    books.wait_ack("fifth")
    books.check_rejected("fifth", "queue_full")
    for id in ids:
        books.wait_done(id)
    books.fence("gate")
    for id in ids:
        assert books.check_request(id).done["published"] == 31


def test_meta_comes_back_untouched(books: Books, mosquitto: Mosquitto) -> None:
    meta = b'{"lot":"A7","n":1.50,"big":123456789012345678901234567890,"u":"\\u00e9"}'
    books.publish(
        "framebuf/trig/gate/trigger",
        b'{"id":"meta","mode":"window","before":1,"meta":' + meta + b"}",
    )
    done = books.wait_done("meta")
    assert meta in done.payload


def test_a_deadline_that_passes_ends_the_request_and_counts_what_is_missing(books: Books) -> None:
    id = books.send_trigger(
        "gate",
        {"mode": "window", "before": 2, "after": 1000, "max_frames": 2000, "deadline": "2s"},
    )
    done = books.wait_done(id).document
    books.fence("gate")
    books.check_request(id)
    assert done["event_type"] == "partial"
    assert done["missing"]["not_captured"] > 900
    assert done["published"] >= 2


def test_the_moment_of_an_event_decides_not_when_its_trigger_came(books: Books) -> None:
    at = ago(1.0)
    id = books.send_trigger(
        "gate", {"mode": "window", "at": at, "before": "500ms", "after": "250ms"}
    )
    done = books.wait_done(id).document
    books.fence("gate")
    request = books.check_request(id)
    offsets = [r["frame"]["offset_ms"] for _, r in sorted(request.by_index.items())]
    assert offsets
    assert all(-501 <= offset <= 251 for offset in offsets)
    assert done["window"]["from"] < at < done["window"]["to"]


def test_info_says_what_the_node_is(books: Books) -> None:
    info = json.loads(
        books.wait_message(
            lambda m: m.topic == "framebuf/trig/info" and b"width\":null" not in m.payload,
            what="info",
        ).payload
    )  # fmt: skip
    assert info["cameras"]["gate"]["history"] == 120
    assert info["models"]["tiny"]["inputs"] == [8, 3, 256, 128]
    assert info["limits"]["max_pending"] == 4


def test_a_drain_whose_moment_is_ahead_claims_before_one_that_was_accepted_later(
    books: Books,
) -> None:
    first = books.send_trigger("yard", {"id": "ahead", "at": ago(-0.6), "before": 30})
    books.wait_ack("ahead")
    second = books.send_trigger("yard", {"id": "later", "before": "1s"})
    books.wait_done(second)
    ahead, later = books.wait_done(first).document, books.wait_done(second).document
    books.fence("yard")
    books.check_drains([first, second])
    assert (ahead["published"], ahead["already_claimed"]) == (30, 0)
    assert later["already_claimed"] > 0


def test_a_window_that_reaches_its_deadline_is_refused_also_where_its_moment_is_ahead(
    books: Books,
) -> None:
    books.send_trigger(
        "gate", {"id": "beyond", "at": ago(-3), "before": "1s", "after": "1s", "deadline": "3s"}
    )
    books.wait_ack("beyond")
    books.check_rejected("beyond", "window_too_large")


def test_the_command_sends_a_trigger_and_shows_what_comes_back(node: Node, books: Books) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FRAMEBUF, "trigger", "gate", "-c", str(node.config), "--timeout", "20", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    shown = run("--id", "shell", "--mode", "window", "--before", "2", "--wait", "--json")
    assert shown.returncode == 0, shown.stderr
    said = json.loads(shown.stdout)
    assert said["ack"]["status"] == "accepted"
    assert [result["index"] for result in said["results"]] == [0, 1]
    assert said["done"]["event_type"] == "complete"
    again = run("--id", "shell")
    assert (again.returncode, again.stdout) == (0, "duplicate shell\n")
    refused = run("--before", "100000", "--wait")
    assert refused.returncode == 4
    assert "window_too_large" in refused.stdout
