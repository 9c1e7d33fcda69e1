"""A model on inference servers, in the daemon: whoever answers is named, and no deadline is missed.

The server is a small one of the test's; `make serving-test` has real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny
from tests.unit.oip_server import FakeServer, serving

if TYPE_CHECKING:
    from tests.service.messages import Message

NAME = "served"


def asked(books: Books, id: str, **trigger: Any) -> tuple[set[str], dict[str, Any]]:
    """Which models answered the next five frames, and the done document."""
    books.send_trigger("gate", {"id": id, "mode": "window", "before": 0, "after": 5, **trigger})
    done = books.wait_done(id, timeout_s=60).document
    books.check_request(id)
    return {result["model"] for result in books.request(id).by_index.values()}, done


def wait_away(books: Books, away: bool) -> None:
    """Until the newest word about the model is that."""
    books.wait_for(lambda messages: _newest(messages) is away, 60, f"away: {away}")


def _newest(messages: Sequence[Message]) -> bool | None:
    topic = f"framebuf/{NAME}/info"
    newest = next((m for m in reversed(messages) if m.topic == topic), None)
    away: bool | None = newest.document["models"]["net"]["away"] if newest else None
    return away


@contextmanager
def node_with(address: str, folder: Path, port: int) -> Iterator[Node]:
    film = make_video(folder / "film.mp4", 50, (320, 240))
    node = Node(
        folder,
        port,
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 10\nbuffer = "3s"\n'
        f'models = ["net"]\n[[model]]\nname = "net"\npath = "http://{address}/net"\n'
        'task = "raw"\nfallback = "tiny"\ntimeout = "20s"\n' + tiny().replace('"embed"', '"raw"'),
        name=NAME,
        env={"FRAMEBUF_STATS_S": "0.5"},
    )
    with node.running():
        yield node


def test_the_servers_answer_and_the_local_model_while_they_are_frozen_or_gone(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    fake = FakeServer()
    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        server.enter_context(serving(fake))
        stack.enter_context(node_with(fake.address, tmp_path, mosquitto.port))
        books = stack.enter_context(Books.open(mosquitto.port, NAME))
        books.wait_text("gate/availability", "online")
        wait_away(books, False)
        assert asked(books, "up")[0] == {"net"}

        fake.hold.clear()
        models, done = asked(books, "frozen", deadline="6s")
        assert models == {"tiny"}
        assert (done["event_type"], done["published"]) == ("complete", 5)
        wait_away(books, True)
        fake.hold.set()
        wait_away(books, False)
        assert asked(books, "thawed")[0] == {"net"}

        server.close()
        assert asked(books, "gone")[0] == {"tiny"}
        wait_away(books, True)
        stats = books.wait_message(
            lambda m: (
                m.topic.endswith("/stats") and m.document["counters"].get("fallbacks", 0) >= 10
            )
        )
        assert stats.document["counters"]["servers_away"] >= 2
        assert stats.document["counters"]["servers_back"] >= 1
        stack.enter_context(serving(fake, int(fake.address.rpartition(":")[2])))
        wait_away(books, False)
        assert asked(books, "back")[0] == {"net"}
