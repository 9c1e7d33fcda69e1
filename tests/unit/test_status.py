"""What `framebuf status` makes of messages: of other versions, of nobody, and of worse."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from framebuf.cli import answers, app, status_view
from framebuf.cli.status import _Look, code_of
from framebuf.config import Mqtt
from framebuf.service import visitor
from framebuf.service.fleet import Fleet
from framebuf.service.message import Message
from framebuf.service.sighting import Sighting
from framebuf.service.volley import Volley
from framebuf.units import Moment

INFO = {
    "v": 1,
    "version": "1.2.3",
    "cameras": {
        "gate": {"width": 1280, "height": 720, "rate": 15.0, "history": 150, "models": ["person"]},
        "yard": {"width": None, "height": None, "rate": None, "history": None, "models": []},
    },
    "models": {
        "person": {
            "task": "detect", "platform": "rk3588", "batch_sizes": [1, 8], "runtimes": 3,
            "simulated": True,
        }
    },
    "limits": {"max_pending": 32},
    "clock_synchronised": True,
}  # fmt: skip
STATS = {
    "v": 1,
    "at": "2026-11-25T18:00:00.000Z",
    "uptime_s": 93784.0,
    "counters": {"results": 100},
    "cameras": {"gate": {"held": 160, "leased": 3, "dropped": 0, "fps": 14.9, "held_s": 10.1}},
    "lanes": {"rk3588": {"waiting": 7}},
    "requests_open": 2,
}


def node(**said: object) -> Sighting:
    """A node that has said these; `gate` is its availability."""
    found = Sighting("gate-7")
    for leaf, document in said.items():
        text = document if isinstance(document, str) else json.dumps(document)
        path = [leaf] if leaf in ("status", "info", "stats") else [leaf, "availability"]
        found.take(path, text.encode())
    return found


def shown(*nodes: Sighting) -> str:
    view = status_view.of_all if len(nodes) > 1 else status_view.of_node
    return status_view.plain(view(nodes if len(nodes) > 1 else nodes[0], "localhost:1883", None))


def test_a_node_is_shown_with_its_cameras_models_lane_requests_and_counters():
    text = shown(node(status="online", info=INFO, gate="online", yard="offline", stats=STATS))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "gate-7 online framebuf 1.2.3 up 1 d 2 h"
    assert "gate online 1280×720 14.9 10.1 s, 150 of 150 frames 3 0 person" in lines
    assert "yard offline ? ? ? ? ?" in lines
    assert "person detect rk3588 (simulated) 1, 8 3 7" in lines
    assert "requests 2 of at most 32 open" in lines
    assert "results 100" in lines


def test_counters_are_told_with_their_growth_a_minute_once_there_are_two_stats():
    found = node(status="online", info=INFO, stats=STATS)
    assert found.rates() == {}
    later = STATS | {"uptime_s": 93814.0, "counters": {"results": 130, "connects": 1}}
    found.take(["stats"], json.dumps(later).encode())
    assert found.rates() == {"results": 60.0, "connects": 2.0}
    restarted = STATS | {"uptime_s": 30.0}
    found.take(["stats"], json.dumps(restarted).encode())
    assert found.rates() == {}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, 5),
        ({"info": INFO}, 5),
        ({"status": "offline", "info": INFO, "gate": "online", "yard": "online"}, 4),
        ({"status": "online", "info": INFO, "gate": "online", "yard": "offline"}, 3),
        ({"status": "online", "info": INFO, "gate": "online"}, 3),
        ({"status": "online", "info": INFO, "gate": "online", "yard": "online"}, 0),
        ({"status": "online", "gate": "online"}, 0),
    ],
)
def test_the_exit_status_tells_the_state(said, code):
    assert code_of(node(**said)) == code


def test_cameras_of_a_node_that_is_gone_are_offline_whatever_they_said_last():
    gone = node(status="offline", info=INFO, gate="online", yard="online")
    assert gone.cameras == {"gate": "offline", "yard": "offline"}


def test_a_camera_that_the_node_has_no_more_is_not_shown_though_the_broker_still_knows_it():
    assert "attic" not in node(status="online", info=INFO, attic="offline").cameras


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "7", '{"cameras": 1}', "[" * 100_000, '{"v": 1, "uptime_s": 1e999}', "\udc80"],
)
def test_nonsense_is_passed_over(said):
    found = node(status="online")
    for leaf in ("info", "stats", "status", "nix"):
        found.take([leaf], said.encode("utf-8", "surrogateescape"))
    found.take(["gate", "availability"], said.encode("utf-8", "surrogateescape"))
    assert found.cameras == {}
    assert shown(found)


def test_what_came_over_mqtt_cannot_steer_the_terminal_nor_rich():
    evil = "\x1b[31m[bold]x[/bold]\n\u202e"
    info = INFO | {"version": evil, "cameras": {evil: {}}, "models": {evil: {"platform": evil}}}
    stats = STATS | {"counters": {evil: 1}, "at": evil}
    text = shown(node(status="online", info=info, stats=stats))
    assert text.count("\\x1b[31m[bold]x[/bold]\\n\\u202e") == 6
    assert "\x1b" not in text


def test_the_nodes_stand_in_their_order_and_offline_ones_with_them():
    fleet = Fleet("site/fb")
    here, gone = node(status="online", info=INFO, gate="online", yard="offline"), b"offline"
    fleet.take(
        Message(topic, payload, Moment(0, 0))
        for topic, payload in (
            ("site/fb/b/status", gone),
            ("site/fb/a/status", b"online"),
            ("site/fb/c/status", b"online"),
            ("site/fb/c/status", b""),
            ("site/other/d/status", b"online"),
            ("site/fb", b"online"),
        )
    )
    assert [one.name for one in fleet.nodes] == ["a", "b"]
    lines = [" ".join(line.split()) for line in shown(here, *fleet.nodes).splitlines()]
    assert lines[2] == "gate-7 online 1.2.3 1 of 2 (yard offline) person on rk3588 (simulated)"
    assert lines[4] == "b offline ? 0 of 0 ?"
    assert lines[5] == "2 of 3 nodes online"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "--node", "a/b"], "--node"),
        (["status", "--node", ""], "--node"),
        (["status", "--base", "#"], "--base"),
        (["status", "--timeout", "nan"], "--timeout"),
        (["status", "--all", "--node", "a"], "--node"),
        (["trigger", "--all", "--node", "a"], "--node"),
        (["trigger"], "CAMERA"),
        (["trigger", "a/b", "--all"], "CAMERA"),
    ],
)
def test_wrong_options_are_a_usage_error_and_nothing_is_connected(monkeypatch, arguments, words):
    monkeypatch.setattr(visitor.Visitor, "connect", lambda *_: pytest.fail("it connected"))
    ended = CliRunner().invoke(app, [*arguments, "--host", "127.0.0.1"], terminal_width=300)
    assert ended.exit_code == 2, ended.exception
    assert words in ended.stderr


def test_a_broker_that_is_away_is_one_line_and_no_answer(monkeypatch):
    def away(*_):
        raise visitor.NoAnswerError("no broker at 127.0.0.1:1883: Connection refused")

    monkeypatch.setattr(visitor.Visitor, "connect", away)
    ended = CliRunner().invoke(app, ["status", "--all", "--json", "--host", "127.0.0.1"])
    assert ended.exit_code == 5
    assert json.loads(ended.stdout)["nodes"] == []
    assert ended.stderr == "framebuf: no broker at 127.0.0.1:1883: Connection refused\n"


ANSWERS = {"t/a/x/ack": "accepted", "t/a/y/ack": "rejected", "t/b/x/ack": "accepted"}


def test_a_volley_waits_for_each_camera_that_accepted_and_for_no_other():
    sent = {}
    volley = Volley("t", "1")
    listening = SimpleNamespace(send=lambda topic, document: sent.update({topic: document}))
    volley.fire(listening, {"id": "1", "before": 2}, {"a": ["x", "y"], "b": ["x"]})
    assert sent == {
        "t/a/trigger": {"id": "1", "before": 2, "cameras": ["x", "y"]},
        "t/b/trigger": {"id": "1", "before": 2, "cameras": ["x"]},
    }

    def hear(topic, **said):
        return volley.take(Message(topic, json.dumps(said).encode(), Moment(0, 0)))

    def left(*, wait):
        return [name for name, one in volley.targets.items() if not one.is_over(wait=wait)]

    assert left(wait=False) == ["a", "b"]
    assert hear("t/a/x/ack", id="2", status="accepted") is None
    assert hear("other/a/x/ack", id="1", status="accepted") is None
    assert hear("t/c/x/ack", id="1", status="accepted") is None
    for topic, status in ANSWERS.items():
        assert hear(topic, id="1", status=status) == topic.split("/")[1]
    assert left(wait=False) == []
    assert left(wait=True) == ["a", "b"]
    hear("t/a/x/done", id="1", event_type="complete")
    assert left(wait=True) == ["b"]


@pytest.mark.parametrize(
    ("done", "ack", "wait", "code"),
    [
        (None, None, False, 5),
        (None, "accepted", False, 0),
        (None, "accepted", True, 5),
        (None, "duplicate", False, 0),
        (None, "rejected", True, 4),
        ("complete", "accepted", True, 0),
        ("partial", "accepted", True, 3),
        ("failed", "accepted", True, 4),
    ],
)
def test_an_accepted_trigger_without_its_done_is_no_answer_to_who_waits(done, ack, wait, code):
    document = {"event_type": done} if done else None
    assert answers.code_of(document, {"status": ack} if ack else None, wait=wait) == code


@pytest.mark.parametrize("leaf", ["ack", "done", "result"])
@pytest.mark.parametrize(
    "said", [{}, {"id": "a"}, {"status": 7, "error": 7}, {"ms": [], "frame": 1}]
)
def test_an_answer_that_is_none_of_the_contracts_is_told_as_it_is(leaf, said):
    assert answers.line_of(leaf, said) == f"cannot be read: {said}"


def test_a_done_with_failed_frames_says_why_it_is_partial():
    said = {
        "id": "a", "event_type": "partial", "requested": 5, "published": 5, "failed": 2,
        "missing": {}, "already_claimed": 0, "ms": {"total": 94.0},
    }  # fmt: skip
    told = answers.line_of("done", said)
    assert told == "partial: 5 of 5 frames in 94 ms, 2 of them errors"


def test_without_a_broker_it_does_not_go_live_either(monkeypatch, capsys):
    def away(*_):
        raise visitor.NoAnswerError("no broker")

    monkeypatch.setattr(visitor.Visitor, "connect", away)
    assert _Look(Mqtt(), "gate-7").live() == 5
    assert capsys.readouterr().err == "framebuf: no broker\n"


def test_an_account_that_may_not_read_is_asked_after_for_its_broker_says_nothing(
    monkeypatch, capsys
):
    monkeypatch.setattr(visitor.Visitor, "connect", lambda *_: None)
    monkeypatch.setattr(visitor.Visitor, "close", lambda *_: None)
    monkeypatch.setattr(visitor.Visitor, "hear_all", lambda *_: [])
    for username, asked in ((None, False), ("gate-7", True)):
        mqtt = Mqtt(username=username)
        assert _Look(mqtt, "gate-7").once(json=False, timeout_s=0) == 5
        said = capsys.readouterr().err
        assert "knows no node gate-7 below framebuf" in said
        assert ("is the account gate-7 allowed to read" in said) == asked


def test_an_info_that_is_cleared_or_nonsense_takes_the_place_of_the_one_before():
    found = node(status="online", info=INFO, stats=STATS)
    for payload in (b"", b"{", b'{"cameras": 7}'):
        found.take(["info"], json.dumps(INFO).encode())
        found.take(["info"], payload)
        assert (found.info, found.document()["info"]) == (None, None)
    found.take(["stats"], b"{")
    assert found.document()["stats"] == STATS, "the next will be better"


def test_a_done_that_was_too_large_for_the_broker_is_told_as_its_error():
    error = {"code": "too_large", "message": "the broker takes 90 bytes of it"}
    said = {"v": 1, "event_type": "complete", "id": "a", "camera": "gate", "error": error}
    assert answers.line_of("done", said) == "complete: too_large: the broker takes 90 bytes of it"
