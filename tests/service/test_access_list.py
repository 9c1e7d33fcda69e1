"""etc/mosquitto: what each account may do on a real broker, and nothing more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.service.account import PASSWORD, Account
from tests.service.parts import REPO, Mosquitto

FOLDER = REPO / "etc" / "mosquitto"
ACCOUNTS = ("framebuf", "trigger", "viewer")
WRITES = {
    "framebuf": (
        "status", "info", "stats", "ack", "gate/availability", "gate/ack", "gate/result",
        "gate/done", "gate/image/part-1/0", "gate/last_image",
    ),
    "trigger": ("trigger", "gate/trigger"),
    "viewer": (),
}  # fmt: skip
READS = {
    "framebuf": ("trigger", "gate/trigger"),
    "trigger": (
        "status", "ack", "gate/availability", "gate/ack", "gate/result", "gate/done",
        "gate/image/part-1/0",
    ),
    "viewer": ("status", "info", "stats", "gate/availability", "gate/result", "gate/done"),
}  # fmt: skip
EVERYTHING = sorted({*WRITES["framebuf"], *WRITES["trigger"], "gate/other", "other"})
"""Below framebuf/gate-7; framebuf/gate-7/gate/other is no topic of framebuf."""


@pytest.fixture(scope="module")
def guarded(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mosquitto]:
    """mosquitto with framebuf.conf as it is, but for its port and where its files are."""
    folder = tmp_path_factory.mktemp("guarded")
    port = free_port()
    passwords = folder / "framebuf.passwd"
    passwords.touch(0o600)
    for account in ACCOUNTS:
        command = [tool("mosquitto_passwd"), "-b", str(passwords), account, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
    conf = (FOLDER / "framebuf.conf").read_text("utf-8")
    acl = folder / "framebuf.acl"
    acl.write_bytes((FOLDER / "framebuf.acl").read_bytes())
    acl.chmod(0o600)
    for there, here in (
        ("listener 1883 127.0.0.1", f"user root\nlistener {port} 127.0.0.1"),
        ("password_file /etc/mosquitto/framebuf.passwd", f"password_file {passwords}"),
        ("acl_file /etc/mosquitto/framebuf.acl", f"acl_file {acl}"),
    ):
        assert f"\n{there}\n" in conf
        conf = conf.replace(there, here)
    broker = Mosquitto(tool("mosquitto"), folder, port)
    (folder / "mosquitto.conf").write_text(conf)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def account(guarded: Mosquitto) -> Iterator[Callable[..., Account]]:
    opened = []

    def open_account(name: str, password: str = PASSWORD) -> Account:
        opened.append(Account(guarded.port, name, password))
        return opened[-1]

    yield open_account
    for one in opened:
        one.close()


@pytest.mark.parametrize("name", ACCOUNTS)
def test_an_account_writes_what_it_needs_and_no_other_topic(account, name):
    client = account(name)
    written = {topic for topic in EVERYTHING if client.may_write(f"framebuf/gate-7/{topic}")}
    assert written == set(WRITES[name])


@pytest.mark.parametrize("name", ACCOUNTS)
def test_an_account_reads_what_it_needs_and_no_other_topic(account, name):
    """mosquitto grants every subscription, and holds back what may not be read."""
    reader, writers = account(name), [account("framebuf"), account("trigger")]
    last = READS[name][-1]
    assert reader.subscribe("framebuf/#")
    read = set()
    for topic in [topic for topic in EVERYTHING if topic != last] + [last]:
        for writer in writers:
            writer.may_write(f"framebuf/gate-7/{topic}")
    while (topic := reader.received().removeprefix("framebuf/gate-7/")) != last:
        read.add(topic)
    assert read | {last} == set(READS[name])


@pytest.mark.parametrize(("name", "password"), [("", ""), ("framebuf", "wrong"), ("stranger", "")])
def test_who_has_no_account_is_not_let_in(account, name, password):
    assert account(name, password).welcome.is_failure


def test_the_lists_name_every_topic_of_the_contract():
    from framebuf.contract import Topics

    topics = Topics("framebuf", "+")
    acl = (FOLDER / "framebuf.acl").read_text("utf-8")
    for leaf in ("status", "info", "stats", "trigger"):
        assert topics.of_node(leaf) in acl
    for leaf in ("availability", "trigger", "ack", "result", "done", "last_image"):
        assert topics.of_camera("+", leaf) in acl
    assert not Path(FOLDER / "framebuf.acl").read_text("utf-8").count("#/")
