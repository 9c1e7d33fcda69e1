"""etc/mosquitto/fleet.conf on a real broker: a node's account may be that node, and no other."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.ports import free_port
from tests.service.account import PASSWORD, Account
from tests.service.fleet_broker import CERTIFICATE, FOLDER, fleet_broker

if TYPE_CHECKING:
    from tests.service.parts import Mosquitto

NODES = ("gate-7", "gate-8")
OPERATORS = ("trigger", "viewer")
WRITES = {
    "status", "info", "stats", "ack", "gate/availability", "gate/ack", "gate/result", "gate/done",
    "gate/image/part-1/0", "gate/last_image",
}  # fmt: skip
READS = {"trigger", "gate/trigger"}
EVERYTHING = sorted({*WRITES, *READS, "gate/other", "other"})


@dataclass
class Fleet:
    """The broker with its two listeners, and who they can be trusted by."""

    broker: Mosquitto
    nodes_port: int
    operators_port: int
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def fleet(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / CERTIFICATE
    )
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    ports = free_port(), free_port()
    broker = fleet_broker(tool, folder, *ports, nodes=NODES, operators=OPERATORS)
    broker.start()
    yield Fleet(broker, *ports, tls)
    broker.stop()


@pytest.fixture
def account(fleet: Fleet) -> Iterator[Callable[..., Account]]:
    opened: list[Account] = []

    def open_account(name: str, password: str = PASSWORD, **more) -> Account:
        port = fleet.nodes_port if name in NODES else fleet.operators_port
        opened.append(Account(more.pop("port", port), name, password, tls=fleet.tls, **more))
        return opened[-1]

    yield open_account
    for one in opened:
        one.close()


def test_a_nodes_account_writes_its_own_topics_and_no_other_nodes(account) -> None:
    client = account("gate-7")
    for node in (*NODES, "gate-70", "gate"):
        written = {topic for topic in EVERYTHING if client.may_write(f"framebuf/{node}/{topic}")}
        assert written == (WRITES if node == "gate-7" else set()), node


def test_a_nodes_account_hears_its_own_triggers_and_nothing_else(account) -> None:
    node, trigger, other = account("gate-7"), account("trigger"), account("gate-8")
    assert node.subscribe("framebuf/#"), "mosquitto grants all, and holds back"
    for leaf in ("trigger", "gate/trigger"):
        assert trigger.may_write(f"framebuf/gate-8/{leaf}")
    for topic in sorted(WRITES):
        assert other.may_write(f"framebuf/gate-8/{topic}")
        assert node.may_write(f"framebuf/gate-7/{topic}")
    for leaf in ("trigger", "gate/trigger"):
        assert trigger.may_write(f"framebuf/gate-7/{leaf}")
    assert [node.received() for _ in range(2)] == [
        "framebuf/gate-7/trigger",
        "framebuf/gate-7/gate/trigger",
    ]


def test_no_node_throws_another_off_by_taking_its_client_id(account) -> None:
    node = account("gate-7", client_id="framebuf-gate-7")
    for id in ("framebuf-gate-7", "gate-7"):
        thief = account("gate-8", client_id=id)
        assert not thief.welcome.is_failure
        assert thief.may_write("framebuf/gate-8/status")
    assert node.may_write("framebuf/gate-7/status"), "it is still connected"
    assert node.disconnected.empty()


@pytest.mark.parametrize(
    ("name", "password", "listener"),
    [
        ("gate-7", "wrong", "nodes"),
        ("gate-9", PASSWORD, "nodes"),
        ("trigger", PASSWORD, "nodes"),
        ("gate-7", PASSWORD, "operators"),
        ("framebuf", PASSWORD, "operators"),
        ("", "", "nodes"),
    ],
)
def test_who_has_no_account_on_a_listener_is_not_let_in(
    account, fleet: Fleet, name: str, password: str, listener: str
) -> None:
    port = fleet.nodes_port if listener == "nodes" else fleet.operators_port
    assert account(name, password, port=port).welcome.is_failure


def test_the_limits_are_told_to_clients_of_mqtt_5(account) -> None:
    node = account("gate-7", keepalive_s=3600)
    assert node.properties.MaximumPacketSize == 2 * 2**20
    assert node.properties.ServerKeepAlive == 60


def test_the_retained_state_is_there_again_after_a_restart_for_who_comes_late(
    account, fleet: Fleet
) -> None:
    for name in NODES:
        assert account(name).may_write(f"framebuf/{name}/status", b"online", retain=True)
    fleet.broker.stop()
    fleet.broker.start()
    reader = account("viewer")
    assert reader.subscribe("framebuf/+/status")
    assert {reader.received() for _ in NODES} == {f"framebuf/{name}/status" for name in NODES}


def test_the_list_names_every_topic_of_the_contract_once() -> None:
    acl = (FOLDER / "fleet-nodes.acl").read_text("utf-8")
    topics = re.findall(r"^pattern (read|write) framebuf/%u/(\S+)$", acl, re.MULTILINE)
    leaves = {leaf.replace("+/image/+/+", "gate/image/part-1/0") for _, leaf in topics}
    assert {leaf.replace("+/", "gate/") for leaf in leaves} == WRITES | READS
    assert len(topics) == len(WRITES | READS)


def test_a_broker_that_systemd_starts_may_have_as_many_connections_as_its_listeners_say() -> None:
    limits = (FOLDER / "fleet-limits.conf").read_text("utf-8")
    files = int(re.search(r"^LimitNOFILE=(\d+)$", limits, re.MULTILINE)[1])
    conf = (FOLDER / "fleet.conf").read_text("utf-8")
    connections = map(int, re.findall(r"^max_connections (\d+)$", conf, re.MULTILINE))
    assert files > sum(connections) + 100
