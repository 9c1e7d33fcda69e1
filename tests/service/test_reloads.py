"""SIGHUP, as systemctl reload sends it, to a daemon that works."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny


def test_a_reload_amid_a_request_loses_no_frame_and_the_next_trigger_has_the_new_defaults(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50, (320, 240))
    node = Node(tmp_path, mosquitto.port, films(film) + tiny(), name="reload")
    defaults = '[camera.trigger]\nmode = "window"\nbefore = 2\n'
    with node.running(), Books.open(mosquitto.port, "reload") as books:
        books.wait_text("gate/availability", "online")
        books.send_trigger("gate", {"id": "amid", "mode": "window", "before": 0, "after": 20})
        text = node.config.read_text()
        node.config.write_text(text.replace("[[model]]", defaults + "[[model]]", 1))
        node.signal(signal.SIGHUP)
        node.wait_log("reloaded: camera.gate.trigger.mode, camera.gate.trigger.before applied")
        done = books.wait_done("amid").document
        assert done["event_type"] == "complete"
        assert done["published"] == 20
        seqs = [one["frame"]["seq"] for _, one in sorted(books.request("amid").by_index.items())]
        assert seqs == list(range(seqs[0], seqs[0] + 20))
        books.send_trigger("gate", {"id": "next"})
        assert books.wait_done("next").document["published"] == 2
        node.config.write_text("nonsense = 1\n")
        node.signal(signal.SIGHUP)
        node.wait_log("not reloaded, nothing changed")
        books.send_trigger("gate", {"id": "still", "mode": "window", "before": 3})
        assert books.wait_done("still").document["published"] == 3
