"""Two real Tritons behind one daemon: killed, both killed, started again, frozen.

Every frame is answered once, by whoever is named, and no deadline is missed.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import ASSETS, Mosquitto, Node, nanodet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.serving.conftest import Triton

FRAMES = 64
NAME = "far"


def node_of(url: str, folder: Path, port: int) -> Node:
    film = make_video(folder / "film.mp4", 50, (640, 360))
    far = nanodet("far", 'fallback = "near"\ntimeout = "3s"\nbatch_sizes = [1, 4]\n')
    return Node(
        folder,
        port,
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 15\nbuffer = "10s"\n'
        f'models = ["far"]\n{far.replace(f"{ASSETS}/nanodet-416.onnx", url)}{nanodet("near")}',
        name=NAME,
    )


def drained(
    books: Books, id: str, meanwhile: Callable[[], None] | None = None, **trigger: Any
) -> tuple[Counter[str], dict[str, Any]]:
    """How many frames each model answered, and the done; `meanwhile` comes after a few results."""
    asked = {"id": id, "mode": "window", "before": FRAMES, **trigger}
    books.send_trigger("gate", asked)
    if meanwhile is not None:
        books.wait_results(id, 5, timeout_s=60)
        meanwhile()
    done = books.wait_done(id, timeout_s=120).document
    request = books.check_request(id)  # each index once, in order, and counted
    results = request.by_index.values()
    assert not [each for each in results if "error" in each]
    return Counter(each["model"] for each in results), done


def wait_away(books: Books, away: bool) -> None:
    def newest(messages: Any) -> bool:
        infos = (m for m in reversed(messages) if m.topic == f"framebuf/{NAME}/info")
        info = next(infos, None)
        return info is not None and info.document["models"]["far"]["away"] is away

    books.wait_for(newest, 90, f"away: {away}")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_every_frame_is_answered_once_and_in_time_whatever_becomes_of_the_servers(
    two_tritons: tuple[Triton, Triton], own_mosquitto: Mosquitto, tmp_path: Path, scheme: str
) -> None:
    one, other = two_tritons
    ports = [getattr(server, scheme) for server in two_tritons]
    url = f"{scheme}://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/nanodet"
    node = node_of(url, tmp_path, own_mosquitto.port)
    with node.running(), Books.open(own_mosquitto.port, NAME) as books:
        books.wait_text("gate/availability", "online")
        node.wait_for(lambda: "servers_away" not in node.log, "servers at the start")
        drained(books, "filled", deadline="60s", before=0, after=FRAMES)  # the history is there

        models, done = drained(books, "one-killed", one.running.kill, deadline="60s")
        assert models == {"far": FRAMES}
        assert (done["event_type"], done["published"]) == ("complete", FRAMES)

        models, done = drained(books, "both-killed", other.running.kill, deadline="60s")
        assert models["near"] > 0
        assert models["far"] + models["near"] == FRAMES
        assert done["event_type"] == "complete"
        wait_away(books, True)
        assert drained(books, "away", deadline="60s")[0] == {"near": FRAMES}

        one.start()
        wait_away(books, False)
        assert drained(books, "back", deadline="60s")[0] == {"far": FRAMES}

        frozen = lambda: one.running.signal(signal.SIGSTOP)  # noqa: E731 - said where it happens
        models, done = drained(books, "frozen", frozen, deadline="60s")
        assert models["near"] > 0
        assert models["far"] + models["near"] == FRAMES
        assert done["event_type"] == "complete"
        one.running.kill()  # this Triton dies when it thaws with calls that were given up
        other.start()
        wait_away(books, False)
        assert drained(books, "at-last", deadline="60s")[0] == {"far": FRAMES}
        books.check_everything()
