"""What Home Assistant is told of a node: its device discovery message.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from framebuf import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Config
    from framebuf.contract import Topics

Component = dict[str, Any]

OUTCOMES = ["complete", "partial", "failed"]
STATS_EXPIRE_S = 300
"""So long after the last stats, of which one a minute comes, the buffered seconds are unknown."""


def identity(topics: Topics) -> str:
    """The device's id, alike for no two nodes of a broker; letters, digits, `-` and `_`."""
    if topics.base == "framebuf":
        return f"framebuf-{_plain(topics.node)}"
    return f"framebuf-{_plain(topics.node_root)}"


def device(config: Config, topics: Topics) -> dict[str, Any]:
    """The whole message. `cmps` are the entities, by keys that stay theirs."""
    return {
        "dev": {
            "identifiers": [identity(topics)],
            "name": topics.node,
            "manufacturer": "framebuf",
            "model": "framebuf node",
            "sw_version": __version__,
        },
        "o": {"name": "framebuf", "sw_version": __version__},
        "cmps": _components(config, topics),
    }


def _components(config: Config, topics: Topics) -> dict[str, Component]:
    found = {"node": _connectivity("Connection", topics.of_node("status"))}
    for camera in config.camera:
        entities = {
            "camera": _connectivity(
                f"{camera.name} camera",
                topics.of_camera(camera.name, "availability"),
                availability=[{"topic": topics.of_node("status"), **_STATES}],
            ),
            **_of_camera(camera.name, topics, config.homeassistant.labels),
        }
        if config.mqtt.last_image:
            entities["image"] = {
                "platform": "image",
                "name": f"{camera.name} last image",
                "image_topic": topics.of_camera(camera.name, "last_image"),
                "content_type": "image/jpeg",
                "availability": [{"topic": topics.of_node("status"), **_STATES}],
            }
        found |= {f"{_plain(camera.name)}-{kind}": it for kind, it in entities.items()}
    owner = identity(topics)
    return {key: {**one, "unique_id": f"{owner}-{key}"} for key, one in found.items()}


def _of_camera(camera: str, topics: Topics, labels: Sequence[str]) -> dict[str, Component]:
    """What is of use while the node and the camera are online."""
    done = topics.of_camera(camera, "done")
    found: dict[str, Component] = {
        "trigger": {
            "platform": "button",
            "name": f"{camera} trigger",
            "command_topic": topics.of_camera(camera, "trigger"),
            "payload_press": "{}",  # the configured defaults, and an id that is made up
            "qos": 1,
            "retain": False,  # a retained trigger is rejected, for it would fire again
        },
        "done": {
            "platform": "event",
            "name": f"{camera} done",
            "state_topic": done,
            "event_types": OUTCOMES,
            "qos": 1,
        },
        "buffer": {
            "platform": "sensor",
            "name": f"{camera} buffer",
            "state_topic": topics.of_node("stats"),
            "value_template": _buffered(camera),
            "device_class": "duration",
            "state_class": "measurement",
            "unit_of_measurement": "s",
            "suggested_display_precision": 1,
            "expire_after": STATS_EXPIRE_S,
            "entity_category": "diagnostic",
        },
    }
    for label in labels:
        found[f"label-{_plain(label)}"] = {
            "platform": "sensor",
            "name": f"{camera} {label}",
            "state_topic": done,
            "value_template": _counted(label),
            "state_class": "measurement",
            "unit_of_measurement": "frames",
            "qos": 1,
        }
    both = [topics.of_node("status"), topics.of_camera(camera, "availability")]
    availability = [{"topic": topic, **_STATES} for topic in both]
    shared = {"availability": availability, "availability_mode": "all"}
    return {kind: {**one, **shared} for kind, one in found.items()}


_STATES = {"payload_available": "online", "payload_not_available": "offline"}


def _connectivity(name: str, topic: str, **more: Any) -> Component:
    return {
        "platform": "binary_sensor",
        "name": name,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topic,
        "payload_on": "online",
        "payload_off": "offline",
        "qos": 1,
        **more,
    }


def _buffered(camera: str) -> str:
    return f"{{{{ value_json.cameras.get({_quoted(camera)}, {{}}).get('held_s') }}}}"


def _counted(label: str) -> str:
    """Frames of the request with the label; unknown where the summary did not fit the broker."""
    known = "value_json.summary is defined and 'summary' not in value_json.get('left_out', [])"
    return f"{{{{ value_json.summary.get({_quoted(label)}, 0) if {known} else None }}}}"


def _quoted(text: str) -> str:
    """As a string of Jinja, which reads escapes as Python does."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    """Letters, digits, `-` and `_`, alike for no two texts."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text, re.ASCII):
        return text
    short = re.sub(r"[^A-Za-z0-9_-]", "_", text, flags=re.ASCII)[:40]
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
