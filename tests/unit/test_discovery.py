"""What Home Assistant is told, when, and how it is taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framebuf import config
from framebuf.config import HomeAssistant
from framebuf.contract import Topics
from framebuf.service import discovery as module
from framebuf.service.announced import NAME, Announced, AnnouncedFile
from framebuf.service.discovery import Discovery
from framebuf.service.home_assistant import device, identity
from framebuf.service.message import Message
from framebuf.units import Moment

TOML = """
[node]
name = "gate-7"
[mqtt]
last_image = true
[homeassistant]
discovery = true
labels = ["person"]
[[camera]]
name = "gate"
source = "pictures"
models = ["person"]
[[camera]]
name = "yard"
source = "pictures"
models = ["person"]
[[model]]
name = "person"
path = "person.onnx"
task = "detect"
decoder = "nanodet"
"""
ONE = TOML.replace('[[camera]]\nname = "yard"\nsource = "pictures"\nmodels = ["person"]\n', "")
OFF = TOML.replace("discovery = true", "discovery = false")
TOPICS = Topics("framebuf", "gate-7")
TOPIC = "homeassistant/device/framebuf-gate-7/config"


def opened(folder: Path, text: str = TOML, topics: Topics = TOPICS) -> Discovery:
    loaded = config.parse(text, "framebuf.toml", folder)
    discovery = Discovery(loaded.config, topics, folder)
    discovery.open()
    return discovery


def entities(discovery: Discovery) -> dict[str, dict[str, object]]:
    """Of the one message that is told."""
    [message] = discovery.greeting()
    assert (message.topic, message.qos, message.retain) == (TOPIC, 1, True)
    return json.loads(message.payload)["cmps"]


def test_a_node_is_one_retained_message_with_a_device_and_its_entities(tmp_path):
    [message] = opened(tmp_path).greeting()
    told = json.loads(message.payload)
    assert told["dev"]["identifiers"] == ["framebuf-gate-7"]
    assert told["o"]["name"] == "framebuf"
    kinds = {key: one["platform"] for key, one in told["cmps"].items()}
    of_camera = {
        "camera": "binary_sensor", "trigger": "button", "done": "event", "buffer": "sensor",
        "label-person": "sensor", "image": "image",
    }  # fmt: skip
    wanted = {f"{c}-{key}": kind for c in ("gate", "yard") for key, kind in of_camera.items()}
    assert kinds == {"node": "binary_sensor"} | wanted
    assert len({one["unique_id"] for one in told["cmps"].values()}) == len(kinds)


def test_the_button_sends_a_trigger_of_defaults_that_is_not_retained(tmp_path):
    button = entities(opened(tmp_path))["gate-trigger"]
    assert button["command_topic"] == "framebuf/gate-7/gate/trigger"
    assert (button["payload_press"], button["retain"], button["qos"]) == ("{}", False, 1)


def test_what_a_camera_does_is_available_while_node_and_camera_are(tmp_path):
    found = entities(opened(tmp_path))
    for key in ("gate-trigger", "gate-done", "gate-buffer", "gate-label-person"):
        topics = [one["topic"] for one in found[key]["availability"]]
        assert topics == ["framebuf/gate-7/status", "framebuf/gate-7/gate/availability"]
        assert found[key]["availability_mode"] == "all"
    assert "availability" not in found["node"]


def test_there_is_a_picture_only_where_there_is_a_last_image(tmp_path):
    found = entities(opened(tmp_path, TOML.replace("last_image = true", "")))
    assert "gate-image" not in found


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("person", "gate-label-person"),
        ("traffic light", "gate-label-traffic_light-"),
        ("traffic_light", "gate-label-traffic_light"),
        ("\"}} {{ states('lock.door') }}", None),
        ("Ö\\", None),
    ],
)
def test_a_label_is_text_whatever_stands_in_it(tmp_path, label, key):
    text = TOML.replace('["person"]\n[[', f"[{json.dumps(label)}]\n[[", 1)
    found = entities(opened(tmp_path, text))
    [mine] = [name for name in found if name.startswith("gate-label-")]
    assert key is None or mine[: len(key)] == key
    assert mine.isascii()
    assert " " not in mine
    quoted = json.dumps(label, ensure_ascii=False)
    assert f"value_json.summary.get({quoted}, 0)" in found[mine]["value_template"]


def test_nodes_of_one_name_below_other_bases_are_other_devices():
    names = ("framebuf", "a_b"), ("a", "b"), ("a_b", "b"), ("a", "b_b"), ("a/b", "b")
    ids = [identity(Topics(base, node)) for base, node in names]
    assert len(set(ids)) == len(ids)
    assert all(id.isascii() and not set(id) & set("/ .+#") for id in ids)


def test_the_birth_of_home_assistant_is_answered_once_and_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SPREAD_S", 0.0)
    discovery = opened(tmp_path)
    assert discovery.birth_topics == ("homeassistant/status",)
    assert discovery.changes() == []
    assert discovery.heard(Message("homeassistant/status", b"offline", Moment(0, 0)))
    assert discovery.changes() == []
    assert discovery.heard(Message("homeassistant/status", b"online", Moment(0, 0)))
    assert [message.topic for message in discovery.changes()] == [TOPIC]
    assert discovery.changes() == []
    assert not discovery.heard(Message("framebuf/gate-7/trigger", b"online", Moment(0, 0)))


def test_a_camera_that_leaves_the_configuration_is_told_to_be_no_more(tmp_path):
    opened(tmp_path)
    found = entities(opened(tmp_path, ONE))
    assert found["yard-trigger"] == {"platform": "button"}
    assert found["yard-label-person"] == {"platform": "sensor"}
    assert len(found["gate-trigger"]) > 1
    still = entities(opened(tmp_path, ONE))
    assert still["yard-trigger"] == {"platform": "button"}, "Home Assistant may have been away"
    assert len(entities(opened(tmp_path))["yard-trigger"]) > 1


def test_switched_off_it_is_cleared_until_the_broker_has_that_and_then_forgotten(tmp_path):
    opened(tmp_path)
    for _ in range(2):
        off = opened(tmp_path, OFF)
        assert [(one.topic, one.payload, one.retain) for one in off.greeting()] == [
            (TOPIC, b"", True)
        ]
    [message] = off.greeting()
    message.acknowledged()
    assert off.greeting() == []
    assert off.changes() == []
    assert not (tmp_path / NAME).exists()
    assert opened(tmp_path, OFF).greeting() == []


def test_off_from_the_start_it_writes_and_says_nothing(tmp_path):
    discovery = opened(tmp_path, OFF)
    assert (discovery.greeting(), discovery.changes()) == ([], [])
    assert discovery.birth_topics == ()
    assert list(tmp_path.iterdir()) == []


def test_a_reload_switches_it_off_and_on_and_moves_it(tmp_path):
    discovery = opened(tmp_path)
    discovery.apply(HomeAssistant(discovery=True, labels=("person",)))
    assert discovery.changes() == [], "nothing has changed"
    discovery.apply(HomeAssistant(discovery=False))
    [gone] = discovery.changes()
    assert (gone.topic, gone.payload) == (TOPIC, b"")
    discovery.apply(HomeAssistant(discovery=True))
    [back] = discovery.changes()
    gone.acknowledged()  # late: it must not be forgotten that it is on again
    assert discovery.changes() == []
    assert [one.topic for one in AnnouncedFile(tmp_path).read()] == [TOPIC]
    discovery.apply(HomeAssistant(discovery=False))
    [gone] = discovery.changes()
    gone.acknowledged()  # early: and the next reload comes before it is written down
    discovery.apply(HomeAssistant(discovery=True))
    [back] = discovery.changes()
    assert [one.topic for one in AnnouncedFile(tmp_path).read()] == [TOPIC]
    assert json.loads(back.payload)["cmps"]["gate-label-person"] == {"platform": "sensor"}
    discovery.apply(HomeAssistant(discovery=True, prefix="ha"))
    moved = discovery.changes()
    assert [(one.topic, bool(one.payload)) for one in moved] == [
        (TOPIC, False),
        ("ha/device/framebuf-gate-7/config", True),
    ]
    assert discovery.birth_topics == ("homeassistant/status", "ha/status")


def test_a_file_that_cannot_be_read_or_written_fails_nothing(tmp_path, caplog):
    (tmp_path / NAME).write_text("{")
    assert len(opened(tmp_path).greeting()) == 1
    assert "cannot be read" in caplog.text
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert len(opened(tmp_path).greeting()) == 1
    assert "cannot be written" in caplog.text


def test_what_was_told_is_on_the_disk_before_it_is_told(tmp_path):
    discovery = opened(tmp_path)
    [told] = AnnouncedFile(tmp_path).read()
    assert isinstance(told, Announced)
    assert set(told.components) == set(entities(discovery))
    assert device(config.parse(TOML, "f", tmp_path).config, TOPICS)["cmps"].keys() == set(
        told.components
    )
