"""A broker that takes messages and never says so, until the line is cut.

For as long as WITHHELD says, in seconds: `make chaos` withholds for ten minutes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from tests.chaos.sender import utc_now
from tests.ports import free_port
from tests.service.books import Books
from tests.service.messages import Request
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny
from tests.service.rules import rejection_faults, request_faults

WITHHELD_S = float(os.environ.get("WITHHELD", "2"))
PENDING = 8
GROWTH_KIB = 16 * 1024


@pytest.mark.timeout(300 + 2 * WITHHELD_S)
def test_withheld_pubacks_fill_the_queue_and_all_comes_in_order_when_the_line_is_cut(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    port = free_port()
    node = Node(
        tmp_path, port, f"max_pending = {PENDING}\n" + films(film) + tiny(), name="withheld"
    )
    sent = []
    with (
        Books.open(own_mosquitto.port, "withheld") as books,
        Proxy(port, own_mosquitto.port) as proxy,
        node.running(),
    ):
        books.wait_text("gate/availability", "online")
        first = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 4})
        books.wait_done(first)  # so that there are frames for those to come
        books.fence("gate")  # its PUBACK has come too, else it takes one of the places
        proxy.withhold()
        began_s, rss_kib = time.monotonic(), []
        while len(sent) < 4 * PENDING or time.monotonic() < began_s + WITHHELD_S:
            trigger = {"id": f"w-{len(sent)}", "mode": "window", "before": 3, "after": 1}
            sent.append(books.send_trigger("gate", trigger))
            if len(sent) > 4 * PENDING:
                rss_kib.append(node.anonymous_kib())
                time.sleep(1.0)  # no more than the answers to rejected ones that may wait
        assert proxy.withheld > 0
        proxy.cut(refuse=True)
        proxy.release()
        proxy.restore()
        for id in sent:
            books.wait_ack(id, timeout_s=60)
        books.fence("gate")
        requests = [books.request(id) for id in sent]
        accepted = [r for r in requests if r.acks[0].document["status"] == "accepted"]
        for request in accepted:
            books.wait_done(request.id, timeout_s=60)
        # with its moment, for the broker may have kept it until the session was resumed
        trigger = {"mode": "window", "before": 3, "at": utc_now()}
        after = books.send_trigger("gate", trigger)
        assert books.wait_done(after).document["event_type"] == "complete"
        books.fence("gate")
        judged = {r.id: _faults(books.request(r.id)) for r in requests}
    full = len(requests) - len(accepted)
    print(
        f"\nwithheld: {proxy.withheld} PUBACKs in {time.monotonic() - began_s:.0f} s; "
        f"{len(accepted)} accepted, {full} queue_full, RssAnon {rss_kib[:1]} to {rss_kib[-1:]} KiB"
    )
    assert {id: faults for id, faults in judged.items() if faults} == {}
    assert len(accepted) >= PENDING
    assert full >= PENDING
    assert max(rss_kib, default=0) - min(rss_kib, default=0) < GROWTH_KIB


def _faults(request: Request) -> list[str]:
    if request.acks[0].document["status"] == "rejected":
        once = Request(request.id, request.acks[:1], request.results, request.dones)
        return rejection_faults(once, "queue_full")
    # a broker that says nothing has it all the same, and gets it again over the next connection
    faults = request_faults(request, is_redelivered=True)
    complete = request.dones and request.done["event_type"] == "complete"
    return faults if complete else [*faults, f"not complete: {request.dones}"]
