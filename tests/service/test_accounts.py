"""The node's own counts against what a second client saw, whatever the broker did meanwhile."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.ports import free_port
from tests.service.books import Books
from tests.service.gateway import Gateway
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny

if TYPE_CHECKING:
    from tests.service.messages import Message

NODE = "acct"
LIMITS = "max_inflight_messages 4\nmax_packet_size 2000\n"
MAX_PENDING = 6
OVER_QUOTA = 4
RESTARTS = 2


class Site:
    """A node that reaches its broker through a gateway, a sender, and a second client that hears.

    The second client is there before the node whenever the broker begins anew, and takes QoS 0:
    mosquitto writes to it before it acknowledges to the node, so that what it did not hear the
    node was never told to have delivered.
    """

    def __init__(self, broker: Mosquitto, gate: Gateway, node: Node, own: Books, second: Books):
        self.broker = broker
        self.gate = gate
        self.node = node
        self.own = own
        self.second = second
        self.accepted: list[str] = []

    def window(self, count: int, **more: Any) -> None:
        """Send triggers, and wait until they are accepted."""
        ids = [self.own.send_trigger("gate", {"mode": "window", "before": 0} | more) for _ in
               range(count)]  # fmt: skip
        for id in ids:
            assert self.own.wait_ack(id).document["status"] == "accepted"
        self.accepted += ids

    def wait_all(self) -> None:
        for id in self.accepted:
            self.second.wait_done(id)

    def restart_empty(self) -> None:
        """The broker stops in the middle of results, stays away, and begins anew with nothing."""
        self.window(3, after=12)
        for id in self.accepted[-3:]:
            self.second.wait_results(id, 2)
        self.broker.signal(signal.SIGSTOP)  # so that messages are under way when it stops
        for id in self.accepted[-3:]:
            self.node.wait_log(f"request {id} of camera gate: complete, 12 of 12")
        self.gate.hold()
        self.broker.stop()
        self.broker.start()
        for client in (self.own, self.second):
            _hears(client)
        self.gate.let_in()
        self.wait_all()

    def freeze(self) -> None:
        """The broker stands still while requests end, and goes on."""
        self.window(2, after=12)
        for id in self.accepted[-2:]:
            self.second.wait_results(id, 2)
        self.broker.signal(signal.SIGSTOP)
        for id in self.accepted[-2:]:
            self.node.wait_log(f"request {id} of camera gate: complete, 12 of 12")
        self.broker.signal(signal.SIGCONT)
        self.wait_all()

    def refuse_for_quota(self) -> None:
        """Some of what the node publishes in the midst of two requests is refused."""
        self.window(2, after=8)
        self.second.wait_results(self.accepted[-1], 1)
        self.gate.over_quota = OVER_QUOTA
        self.wait_all()
        assert not self.gate.over_quota

    def trouble(self) -> None:
        """What is refused, known, too late, too many, or too large."""
        self.window(1, after=2, meta="x" * 1750)
        self.window(1, after=1000, deadline="2s")
        self.wait_all()
        self.own.send_trigger("gate", {"id": self.accepted[0]})
        for bad in ({"befor": 1}, {"id": "two words"}, {"at": "now"}, {"before": 10**6}, b"{"):
            self.own.send_trigger("gate", bad)
        full = [self.own.send_trigger("gate", {"after": 30, "mode": "window"}) for _ in range(9)]
        for id in full:
            if self.own.wait_ack(id).document["status"] == "accepted":
                self.accepted.append(id)
        self.wait_all()

    def stats(self) -> dict[str, Any]:
        """The node's counts once all is said; what the second client then has is the same."""
        self.own.fence("gate")
        fence = self.own.messages[-1].id
        self.second.wait_for(lambda heard: any(m.id == fence and m.leaf == "ack" for m in heard))
        return self.own.wait_message(
            # leases go a moment after the request, once the journal has it
            lambda m: m.leaf == "stats" and not m.document["requests_open"]
            and not m.document["cameras"]["gate"]["leased"],
            what="stats without open requests and leases", after=self.own.messages[-1].order,
        ).document  # fmt: skip


def _hears(client: Books) -> None:
    """Until it hears what it publishes itself: it is connected and subscribed again."""
    for turn in range(300):
        if not client.is_connected():
            time.sleep(0.1)
            continue
        client.publish(client.prefix + "ping", b"%d" % turn)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            if any(m.leaf == "ping" and m.payload == b"%d" % turn for m in client.messages):
                return
            time.sleep(0.01)
    raise AssertionError("it hears nothing")


def once(messages: Sequence[Message], leaf: str) -> list[dict[str, Any]]:
    """Each document once: what was under way when a connection ended may come twice."""
    found: dict[tuple[Any, Any, Any], dict[str, Any]] = {}
    for m in messages:
        if m.leaf == leaf:
            key = (m.id or m.order, m.document.get("index"), m.document.get("status"))
            assert found.setdefault(key, m.document) == m.document, "the same, in other words"
    return list(found.values())


def seen(messages: Sequence[Message]) -> dict[str, int]:
    """What the node's counters have to say, from what was heard alone."""
    acks, results, dones = (once(messages, leaf) for leaf in ("ack", "result", "done"))
    told: Counter[str] = Counter()
    for ack in acks:
        rejected = ack["status"] == "rejected"
        told[f"rejected_{ack['error']['code']}" if rejected else f"triggers_{ack['status']}"] += 1
    told["results"] = len(results)
    for done in dones:
        told[f"done_{done['event_type']}"] += 1
        told["results_failed"] += done["failed"]
        told["messages_reduced"] += "left_out" in done
        told.update({f"missing_{reason}": count for reason, count in done["missing"].items()})
    assert sum(done["published"] for done in dones) == len(results)
    return {name: count for name, count in told.items() if count}


def test_every_accepted_trigger_has_its_done_and_the_counts_are_those_of_a_second_client(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    broker = Mosquitto(tool("mosquitto"), tmp_path, free_port(), LIMITS)
    broker.start()
    film = make_video(tmp_path / "film.mp4", 50)
    with Gateway(free_port(), broker.port) as gate:
        tables = f"max_pending = {MAX_PENDING}\n{films(film)}{tiny()}"
        node = Node(tmp_path, gate.port, tables, NODE, env={"FRAMEBUF_STATS_S": "0.3"})
        try:
            with (
                Books.open(broker.port, NODE) as own,
                Books.open(broker.port, NODE, qos=0) as second,
                node.running(),
            ):
                second.wait_text("gate/availability", "online")
                site = Site(broker, gate, node, own, second)
                site.refuse_for_quota()
                site.freeze()
                for _ in range(RESTARTS):
                    site.restart_empty()
                site.trouble()
                stats = site.stats()
                second.check_everything(is_redelivered=True)
                wanted = seen(second.messages)
                dones = {m.id for m in second.messages if m.leaf == "done"}
        finally:
            broker.stop()
    said = stats["counters"]
    names = ("triggers_", "rejected_", "results", "done_", "missing_", "messages_")
    assert {k: v for k, v in said.items() if k.startswith(names) and v} == wanted
    assert dones == set(site.accepted)
    assert said["publishes_retried"] == OVER_QUOTA
    assert said["connects"] == 1 + RESTARTS
    for kind in ("rejected_queue_full", "missing_not_captured", "messages_reduced", "done_partial"):
        assert wanted[kind], f"nothing was {kind}"
    # MQTT 5.0, sections 3.1.2.11.2 and 3.1.3.2.2: Session Expiry is max_age, Will Delay 10 s
    assert b"\x11\x00\x00\x00\x05" in gate.connects[0]
    assert b"\x18\x00\x00\x00\x0a" in gate.connects[0]
