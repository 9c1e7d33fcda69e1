"""A year unattended begins with memory that does not grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny

pytestmark = pytest.mark.alone

WARM = 100
TRIGGERS = 2000
GROWTH_KIB = 5 * 1024


def test_anonymous_memory_grows_by_less_than_5_mb_over_2000_triggers(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    node = Node(
        tmp_path, own_mosquitto.port,
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nbuffer = 20\n'
        f'models = ["tiny"]\n{tiny()}',
    )  # fmt: skip
    with node.running(), Books.open(own_mosquitto.port, "t") as books:
        books.wait_text("gate/availability", "online")
        full = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 20})
        books.wait_done(full)
        _fire(books, 0, WARM)
        before = node.anonymous_kib()
        _fire(books, WARM, WARM + TRIGGERS)
        growth = node.anonymous_kib() - before
        print(f"RssAnon {before} KiB after {WARM} triggers, {growth:+d} KiB over {TRIGGERS} more")
        assert growth < GROWTH_KIB
        dones = [m.document for m in books.messages if m.leaf == "done"]
        assert len(dones) == 1 + WARM + TRIGGERS
        assert {done["event_type"] for done in dones} == {"complete"}


def _fire(books: Books, first: int, end: int) -> None:
    """Windows of one to four frames, eight under way at a time."""
    for start in range(first, end, 8):
        ids = [
            books.send_trigger("gate", {"id": f"n{n}", "mode": "window", "before": 1 + n % 4})
            for n in range(start, min(start + 8, end))
        ]
        for id in ids:
            books.wait_done(id)
