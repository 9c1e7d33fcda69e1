"""kill -9 at the worst moments: nothing accepted is lost, and nothing is answered otherwise."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.service.books import Books
from tests.service.gateway import Gateway
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny

if TYPE_CHECKING:
    from tests.service.messages import Request


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", 50, (320, 240))


class Scene:
    """A node behind a gateway, and the books beside it."""

    def __init__(self, node: Node, gateway: Gateway, books: Books) -> None:
        self.node, self.gateway, self.books = node, gateway, books

    def kill(self) -> None:
        self.node.kill()
        self.gateway.keeps_pubacks_of = None

    def start_again(self) -> None:
        self.node.start()

    def ended(self, id: str) -> Request:
        """What was said of an id whose done has come, in every copy."""
        self.books.wait_done(id)
        self.books.fence("gate")
        return self.books.check_request(id, is_redelivered=True)


@contextmanager
def scene(mosquitto: Mosquitto, folder: Path, film: Path, name: str) -> Iterator[Scene]:
    gate = f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 10\nbuffer = "10s"\n'
    table = gate + f'models = ["tiny"]\n[camera.trigger]\nmax_age = "60s"\n{tiny()}'
    with Gateway(free_port(), mosquitto.port) as gateway:
        node = Node(folder, gateway.port, table, name=name)
        with Books.open(mosquitto.port, name) as books, node.running():
            books.wait_text("gate/availability", "online")
            yield Scene(node, gateway, books)


def copies(request: Request) -> Counter[int]:
    return Counter(m.document["index"] for m in request.results)


def test_a_trigger_that_the_broker_repeats_after_a_crash_is_answered_once(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    with scene(mosquitto, tmp_path, film, "repeated") as it:
        it.gateway.keeps_pubacks_of = "client"
        id = it.books.send_trigger("gate", {"mode": "window", "before": 0, "after": 20})
        it.books.wait_ack(id)  # so the journal has it, and the broker does not know
        it.kill()
        it.start_again()
        it.books.wait_message(
            lambda m: m.leaf == "ack" and m.id == id and m.document["status"] == "duplicate"
        )
        done = it.ended(id).done
    assert done["published"] == done["requested"] == 20
    assert done["attempts"] == 2


def test_what_was_acknowledged_is_not_answered_again_and_the_rest_is(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    with scene(mosquitto, tmp_path, film, "between") as it:
        id = it.books.send_trigger("gate", {"before": 0, "after": 50, "meta": {"lot": "A7"}})
        known = len(it.books.wait_results(id, 12))
        it.books.fence("gate")  # which came to the node behind the acknowledgements of those
        it.gateway.keeps_pubacks_of = "broker"
        it.books.fence("gate")  # behind all that may have been acknowledged before
        unknown = len(it.books.request(id).results)
        heard = len(it.books.wait_results(id, unknown + 6))
        it.kill()
        it.start_again()
        request = it.ended(id)
    times = copies(request)
    assert set(times) == set(range(50))
    assert all(times[index] == 1 for index in range(known)), "acknowledged"
    assert all(times[index] >= 2 for index in range(unknown, heard)), "never acknowledged"
    assert (request.done["event_type"], request.done["attempts"]) == ("complete", 2)


def test_a_done_that_was_not_acknowledged_comes_again_as_it_was(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    with scene(mosquitto, tmp_path, film, "unsaid") as it:
        it.books.wait_done(it.books.send_trigger("gate", {"before": 0, "after": 5}))
        it.gateway.keeps_pubacks_of = "broker"
        id = it.books.send_trigger("gate", {"mode": "window", "before": 5})
        first = it.books.wait_done(id)
        it.kill()
        it.start_again()
        again = it.books.wait_done(id, after=first.order)
        request = it.ended(id)
        assert copies(request) == dict.fromkeys(range(5), 2)
        assert again.payload == first.payload
        # what is accepted later is written down later
        now = datetime.now(UTC).isoformat(timespec="milliseconds")  # else it may be stale
        other = it.books.send_trigger("gate", {"mode": "window", "before": 1, "at": now})
        assert it.books.wait_ack(other).document["status"] == "accepted"
        it.kill()  # and now that it is acknowledged, it does not
        it.start_again()
        it.books.fence("gate")
        assert len(it.books.request(id).dones) == 2
        duplicate = it.books.send_trigger("gate", {"id": id})
        assert it.books.wait_done(duplicate, after=again.order).payload == first.payload


def test_a_request_that_ran_out_of_time_while_the_daemon_was_away_says_so(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    with scene(mosquitto, tmp_path, film, "late") as it:
        id = it.books.send_trigger(
            "gate", {"mode": "window", "before": 0, "after": 8, "deadline": "1s"}
        )
        it.gateway.keeps_pubacks_of = "broker"
        it.books.wait_results(id, 2)  # told, though the node does not know
        it.kill()
        it.start_again()
        request = it.ended(id)
    assert copies(request)[0] == copies(request)[1] == 2
    assert set(request.done["missing"]) <= {"deadline", "camera_gap", "not_captured"}
    assert request.done["requested"] == 8
    assert request.done["attempts"] == 2


KILLER = """
import os, signal
from framebuf.models.prepare import Preparer
write = Preparer.write
def deadly(self, pixels, *more):
    if pixels.shape[:2] == (480, 640):
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, pixels, *more)
Preparer.write = deadly
"""


def test_a_request_that_kills_the_daemon_is_given_up_and_no_other_with_it(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    """The frames of one camera are deadly, and share batches with those of the other."""
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    deadly = make_video(tmp_path / "deadly.mp4", 20, (640, 480))
    tables = "".join(
        f'[[camera]]\nname = "{name}"\nsource = "{source}"\nfps = 10\nbuffer = "20s"\n'
        'models = ["tiny"]\n'
        for name, source in (("good", film), ("bad", deadly))
    )
    node = Node(
        tmp_path, mosquitto.port, tables + tiny(), name="deadly", env={"PYTHONPATH": str(tmp_path)}
    )
    with Books.open(mosquitto.port, "deadly") as books, node.running():
        for name in ("good", "bad"):
            books.wait_text(f"{name}/availability", "online")
        good = {"id": "x", "cameras": ["good", "bad"], "mode": "window", "before": 2, "after": 2}
        books.send_trigger(None, good)
        for _ in range(3):
            assert node.wait_exit(keep_rings=True) == -signal.SIGKILL
            node.launch()
        bad = books.wait_done("x", "bad").document
        assert books.wait_done("x", "good").document["event_type"] == "complete"
        books.check_request("x", "good", is_redelivered=True)
    assert (bad["event_type"], bad["published"]) == ("failed", 0)
    assert bad["missing"]["crashed_daemon"] >= 2
