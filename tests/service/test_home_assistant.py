"""Discovery by a real daemon on a real broker; tests/homeassistant has the real Home Assistant."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny

TOPIC = "homeassistant/device/framebuf-house/config"
ON = "[homeassistant]\ndiscovery = true\n"


def test_a_node_is_told_again_at_each_birth_and_connection_and_cleared_when_switched_off(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 20, (320, 240))
    node = Node(tmp_path, own_mosquitto.port, ON + films(film) + tiny(), name="house")
    seen = -1

    def told(books: Books) -> dict[str, Any] | None:
        """The entities of the next message; None: it was cleared."""
        nonlocal seen
        message = books.wait_message(lambda m: m.topic == TOPIC, what="discovery", after=seen)
        seen = message.order
        assert message.retain
        return json.loads(message.payload)["cmps"] if message.payload else None

    with node.running(), Books.open(own_mosquitto.port, "house", also=["homeassistant/#"]) as books:
        first = told(books)
        assert first is not None
        assert {"node", "gate-trigger", "gate-done"} < set(first)
        books.publish("homeassistant/status", b"online")
        assert told(books) == first
        own_mosquitto.stop()  # the books' and the node's connection end
        own_mosquitto.start()
        assert told(books) == first
        node.config.write_text(node.config.read_text().replace(ON, ""))
        node.signal(signal.SIGHUP)
        assert told(books) is None
        node.config.write_text(node.config.read_text().replace("[[camera]]", ON + "[[camera]]", 1))
        node.signal(signal.SIGHUP)
        assert told(books) == first
        books.publish("homeassistant/status", b"online")
        assert told(books) == first
