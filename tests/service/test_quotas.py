"""Brokers with limits, frozen and restarted: every accepted trigger gets its done."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import ASSETS, Mosquitto, Node, films, nanodet, tiny

if TYPE_CHECKING:
    from tests.service.messages import Message

QUICK_STATS = {"FRAMEBUF_STATS_S": "0.3"}


@contextmanager
def limited(
    program: str, folder: Path, extra: str, queue: int = 1000, name: str = "lim"
) -> Iterator[tuple[Books, Node, Mosquitto]]:
    """A broker with these limits, a node and its books."""
    broker = Mosquitto(program, folder, free_port(), extra, queue=queue)
    broker.start()
    try:
        film = make_video(folder / "film.mp4", 50)
        node = Node(folder, broker.port, films(film) + tiny(), name, env=QUICK_STATS)
        with Books.open(broker.port, name) as books, node.running():
            books.wait_text("gate/availability", "online")
            yield books, node, broker
    finally:
        broker.stop()


def counts(books: Books, after: int = -1, **wanted: int) -> dict[str, int]:
    """The counters of the first stats after `after` that say so."""

    def says(m: Message) -> bool:
        if m.leaf != "stats":
            return False
        counters = m.document["counters"]
        return all(counters.get(name, 0) == count for name, count in wanted.items())

    found: dict[str, int] = books.wait_message(says, what=f"stats {wanted}", after=after).document[
        "counters"
    ]
    return found


def drain(books: Books, **trigger: Any) -> str:
    asked = {"mode": "window", "before": 0, "after": 4} | trigger
    id = books.send_trigger("gate", asked)
    books.wait_done(id)
    return id


@pytest.mark.parametrize("limit", [500, 450])
def test_a_result_that_is_larger_than_the_broker_takes_is_sent_without_its_embedding(
    tool: Callable[[str], str], tmp_path: Path, limit: int
) -> None:
    limits = f"max_packet_size {limit}\n"
    with limited(tool("mosquitto"), tmp_path, limits) as (books, node, _):
        ids = [drain(books, meta={"lot": "x" * (limit - 250)}), drain(books)]
        for id in ids:
            results = books.request(id).results
            assert [m.document["index"] for m in results] == [0, 1, 2, 3]
            assert all(m.document["left_out"] == ["embedding"] for m in results)
            assert books.request(id).done["event_type"] == "complete"
        books.check_request(ids[1])
        assert books.request(ids[0]).done["left_out"] == ["meta"]
        counts(books, results_reduced=8)
        assert "lost the broker" not in node.log


def test_detections_that_are_larger_than_the_broker_takes_are_replaced_by_an_error(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    broker = Mosquitto(tool("mosquitto"), tmp_path, free_port(), "max_packet_size 600\n")
    broker.start()
    photos = films(ASSETS / "photos").replace("tiny", "obj")
    node = Node(tmp_path, broker.port, photos + nanodet(more="threshold = 0.05\n"), "lim")
    try:
        with Books.open(broker.port, "lim") as books, node.running():
            books.wait_text("gate/availability", "online")
            id = drain(books)
            books.fence("gate")
            done = books.check_request(id).done
            errors = [m.document.get("error") for m in books.request(id).results]
        assert done["event_type"] == "failed"
        assert [error["code"] for error in errors] == ["too_large"] * 4
        assert "lost the broker" not in node.log
    finally:
        broker.stop()


def test_a_limit_that_the_broker_tells_by_refusing_is_learned(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    """mosquitto 2.0.11 refuses with a code that is none, which ends the connection."""
    limits = "message_size_limit 450\n"
    with limited(tool("mosquitto"), tmp_path, limits) as (books, node, _):
        losses = []
        for _turn in range(2):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())  # the session may be resumed
            id = drain(books, at=at, before="2s", after="1s", max_frames=4)
            books.check_request(
                id, is_redelivered=True
            )  # the trigger too, on a connection that ended
            results = books.request(id).results
            assert results
            assert all(m.document["left_out"] == ["embedding"] for m in results)
            losses.append(node.log.count("lost the broker"))
        assert losses[0] <= 5
        assert losses[1] == losses[0], "it was learned"


def test_a_frozen_broker_gets_all_that_was_said_when_it_thaws(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    with limited(tool("mosquitto"), tmp_path, "") as (books, node, broker):
        ids = [
            books.send_trigger("gate", {"mode": "window", "before": 0, "after": 15})
            for _ in range(3)
        ]
        for id in ids:
            books.wait_results(id, 2)
        broker.signal(signal.SIGSTOP)
        for id in ids:
            node.wait_log(f"request {id} of camera gate: complete, 15 of 15")
        broker.signal(signal.SIGCONT)
        for id in ids:
            books.wait_done(id)
        books.fence("gate")
        for id in ids:
            assert books.check_request(id).done["published"] == 15


def test_after_a_restart_with_nothing_kept_every_accepted_trigger_has_its_done(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    limits = "max_inflight_messages 5\n"
    with limited(tool("mosquitto"), tmp_path, limits, queue=50) as (books, node, broker):
        trigger = {"mode": "window", "before": 0, "after": 12}
        ids = [books.send_trigger("gate", trigger) for _ in range(6)]
        for id in ids:
            books.wait_results(id, 2)
        for _ in range(2):
            heard = books.newest
            broker.stop()
            broker.start()
            books.wait_subscribed(heard)
        for id in ids:
            node.wait_log(f"request {id} of camera gate")
        # what an empty broker took while nobody was subscribed is gone; dones are remembered
        for id in ids:
            books.send_trigger("gate", {"id": id})
            done = books.wait_done(id).document
            assert done["event_type"] == "complete"
            assert done["published"] == 12
        said = counts(books, triggers_accepted=6, triggers_duplicate=6)
        assert said["connects"] == 3


def test_triggers_to_a_node_that_is_frozen_are_answered_if_the_broker_kept_them(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    """max_queued_messages drops the rest, of which nobody is told."""
    limits = "max_inflight_messages 3\n"
    with limited(tool("mosquitto"), tmp_path, limits, queue=5) as (books, node, _):
        node.signal(signal.SIGSTOP)
        for number in range(40):
            trigger = {"id": f"q{number}", "mode": "window", "before": 1}
            books.publish("framebuf/lim/gate/trigger", json.dumps(trigger).encode())
        node.signal(signal.SIGCONT)

        def all_done(m: Message) -> bool:
            said = m.document["counters"] if m.leaf == "stats" else {}
            return 20 <= said.get("triggers_accepted", 0) == said.get("done_complete", 0)

        books.wait_message(all_done, what="a done for each accepted trigger")
        # the broker may have dropped what is for the books too; dones are remembered
        accepted = {m.id for m in books.messages if m.leaf == "ack" and m.id is not None}
        assert accepted
        for id in sorted(accepted):
            books.send_trigger("gate", {"id": id})
            assert books.wait_done(id).document["published"] == 1


def test_a_limit_below_any_result_still_gives_each_accepted_trigger_its_done(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Of results and done nothing fits but their bare errors; rejections keep their code."""
    limits = "max_packet_size 240\n"
    with limited(tool("mosquitto"), tmp_path, limits) as (books, node, _):
        id = drain(books)
        bad = books.send_trigger("gate", {"bef": 1, "meta": "x" * 60})
        ack = books.wait_ack(bad)
        said = books.request(id)
    assert ack.document["error"]["code"] == "unknown_field"
    assert [m.document["index"] for m in said.results] == [0, 1, 2, 3]
    for m in (*said.results, said.dones[0]):
        assert m.document["error"]["code"] == "too_large"
    assert "lost the broker" not in node.log
