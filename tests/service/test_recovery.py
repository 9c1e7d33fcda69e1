"""A daemon that was killed or stopped, and starts again: the frames of before are still there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny


def answers(books: Books, id: str, **trigger: Any) -> tuple[dict[int, Any], dict[str, Any]]:
    """The embedding of each frame by its seq, and the done document."""
    # Without a time, what is sent right after a restart may have waited in the broker: it is stale
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    books.send_trigger("gate", {"id": id, "mode": "window", "at": now, **trigger})
    done = books.wait_done(id).document
    books.check_request(id)
    found = {
        result["frame"]["seq"]: result["embedding"]["f32"]
        for result in books.request(id).by_index.values()
    }
    return found, done


def start_again(node: Node, books: Books) -> None:
    heard = books.newest
    node.start()
    online = f"framebuf/{node.name}/gate/availability"
    books.wait_message(
        lambda m: m.topic == online and m.payload == b"online",
        what="the new process",
        after=heard,
    )


def test_frames_from_before_a_kill_and_a_stop_are_answered_as_they_would_have_been(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50, (320, 240))
    gate = f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 10\nbuffer = "60s"\n'
    node = Node(tmp_path, mosquitto.port, gate + 'models = ["tiny"]\n' + tiny(), name="again")
    with node.running(), Books.open(mosquitto.port, "again") as books:
        books.wait_text("gate/availability", "online")
        first, _ = answers(books, "first", before=0, after=20)
        assert len(set(first.values())) == len(first) == 20
        node.kill()
        start_again(node, books)
        assert " frames of before are there" in node.log
        assert (node.ring_dir / "gate.0.ring").exists(), "it is written on"
        second, done = answers(books, "second", before="60s", after=5)
        assert first.items() <= second.items()
        assert done["missing"]["camera_gap"] >= 1
        assert sorted(second) == list(range(max(second) + 1)), "seq goes on without a gap"
        assert node.stop(keep_rings=True) == 0
        start_again(node, books)
        third, _ = answers(books, "third", before="60s", after=5)
        assert second.items() <= third.items()
        assert list(node.ring_dir.glob("*.ring")) == [node.ring_dir / "gate.0.ring"]
