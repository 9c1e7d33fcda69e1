"""The books hear, wait and judge over a real broker, with the test in the node's place."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.service.books import Books
from tests.service.listener import BooksError
from tests.service.said import EMPTY, REFUSED, C, ack, done, good, result

if TYPE_CHECKING:
    from tests.service.parts import Mosquitto
    from tests.service.said import Said


@pytest.fixture
def port(mosquitto: Mosquitto) -> int:
    return mosquitto.port


def say(books: Books, said: Said) -> None:
    """Play the node, over the broker."""
    for leaf, document in said:
        books.publish(f"{C}/{leaf}", json.dumps(document).encode())


def test_books_hold_over_a_real_broker(port: int) -> None:
    with Books.open(port, "gate-7") as books:
        assert books.send_trigger("gate", {"id": "r", "max_frames": 4}) == "r"
        say(books, good())
        assert books.wait_done("r").document["published"] == 4
        assert [m.document["index"] for m in books.wait_results("r", 4)] == [0, 1, 2, 3]
        request = books.check_request("r")
        assert list(request.by_index) == [0, 1, 2, 3]
        assert [r.id for r in books.check_everything()] == ["r"]
        books.check_drains(["r"])
        say(books, [("ack", REFUSED[1] | {"id": "s"})])
        books.wait_ack("s")
        books.check_rejected("s", "stale")
        books.publish(f"{C}/availability", b"online", retain=True)
        assert books.wait_text("gate/availability", "online").retain
        books.check_everything()
        say(books, [result(3)])
        books.wait_results("r", 5)
        for check in (lambda: books.check_request("r"), books.check_everything):
            with pytest.raises(BooksError, match=r"results \[3\] after done"):
                check()


def test_the_same_id_on_two_cameras_is_two_requests(port: int) -> None:
    with Books.open(port, "gate-7", base="two") as books:
        books.send_trigger(None, {"id": "r", "cameras": ["gate", "yard"], "meta": 5})
        for camera in ("gate", "yard"):
            for leaf, document in (ack(), done(camera=camera, meta=5, **EMPTY)):
                books.publish(f"two/gate-7/{camera}/{leaf}", json.dumps(document).encode())
            books.wait_done("r", camera)
        assert len(books.check_everything()) == 2
        with pytest.raises(BooksError, match="several cameras"):
            books.check_request("r")
        assert books.check_request("r", "yard").done["camera"] == "yard"


def test_results_that_nobody_asked_for_are_found(port: int) -> None:
    with Books.open(port, "gate-7", base="stray") as books:
        books.publish("stray/gate-7/gate/result", json.dumps(result(0)[1]).encode())
        books.publish("stray/gate-7/gate/done", b'{"id": NaN}')
        books.wait_for(lambda heard: len(heard) == 2)
        with pytest.raises(BooksError, match=r"(?s)done is not a JSON object.*0 acks.*no done"):
            books.check_everything()


def test_waiting_ends_with_what_was_heard_last(port: int) -> None:
    with Books.open(port, "gate-7", base="quiet") as books:
        books.publish("quiet/gate-7/gate/ack", b"hello")
        with pytest.raises(BooksError, match=r"(?s)done of r did not come.*1 messages.*hello"):
            books.wait_done("r", timeout_s=0.3)
        assert "1 messages, 0 done" in repr(books)


def test_without_a_broker_the_books_say_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        books = Books(taken.getsockname()[1], "gate-7", "framebuf")
        with pytest.raises(BooksError, match="no broker"):
            books.start(0.2)
