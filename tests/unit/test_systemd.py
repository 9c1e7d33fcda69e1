from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
import types
from pathlib import Path

import pytest

from framebuf.service import systemd
from framebuf.service.events import MESSAGE_IDS
from framebuf.service.journald import JournalHandler
from framebuf.service.systemd import Notifier

ENVIRONMENT = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager(tmp_path):
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


@pytest.fixture
def log_restored():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def test_fields_arrive_in_one_datagram(manager, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    notifier = Notifier()
    notifier.tell(READY="1", STATUS="2 of 2 cameras online")
    notifier.tell(WATCHDOG="1")
    assert manager.recv(999) == b"READY=1\nSTATUS=2 of 2 cameras online"
    assert manager.recv(999) == b"WATCHDOG=1"
    assert repr(notifier) == f"<Notifier {manager.getsockname()}>"


def test_a_status_is_told_only_where_it_is_new(manager, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    notifier = Notifier()
    for text in ("no broker yet", "no broker yet", "1 of 1 cameras online", "no broker yet"):
        notifier.tell_status(text)
    notifier.tell(WATCHDOG="1")
    told = [manager.recv(999) for _ in range(4)]
    assert told == [
        b"STATUS=no broker yet", b"STATUS=1 of 1 cameras online", b"STATUS=no broker yet",
        b"WATCHDOG=1",
    ]  # fmt: skip


def test_an_abstract_socket_is_written_with_an_at_sign(monkeypatch):
    name = f"framebuf-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        Notifier().tell(READY="1")
        assert listener.recv(99) == b"READY=1"


@pytest.mark.parametrize("value", [None, ""])
def test_off_systemd_it_is_quiet(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    notifier = Notifier()
    notifier.tell(READY="1")
    assert notifier.watchdog_s is None
    assert repr(notifier) == "<Notifier off>"


def test_a_manager_that_is_gone_is_no_error(tmp_path, manager):
    Notifier(str(tmp_path / "nobody")).tell(READY="1")
    Notifier(str(tmp_path / ("x" * 200))).tell(READY="1")
    manager.close()
    Notifier(str(tmp_path / "notify")).tell(READY="1")


def test_a_manager_that_does_not_read_does_not_stop_the_daemon(manager):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # the queue is full
            while True:
                filler.sendto(b"x", manager.getsockname())
    began = time.monotonic()
    Notifier(manager.getsockname()).tell(WATCHDOG="1")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("30000000", None, 30.0), ("500000", "me", 0.5), ("30000000", "1", None), (None, "me", None),
     ("", None, None)],
)  # fmt: skip
def test_the_watchdog_is_that_of_this_process(monkeypatch, usec, pid, seconds):
    if usec is not None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    assert Notifier().watchdog_s == seconds


@pytest.mark.usefixtures("log_restored")
def test_without_a_journal_the_log_is_readable_lines_with_their_time(capsys):
    systemd.log_to_journal_or_stderr("INFO")
    logging.getLogger("framebuf.x").info("camera %s", "gate", extra={"CAMERA": "gate"})
    logging.getLogger("framebuf.x").debug("not told")
    assert capsys.readouterr().err.split(" ", 2)[2] == "INFO    framebuf.x: camera gate\n"


@pytest.mark.usefixtures("log_restored")
def test_a_journal_that_standard_error_is_not_gets_nothing(monkeypatch, capsys):
    monkeypatch.setenv("JOURNAL_STREAM", "9:1")  # as a shell in a service's terminal inherits it
    systemd.log_to_journal_or_stderr()
    logging.getLogger("framebuf.x").warning("late")
    assert capsys.readouterr().err.endswith("WARNING framebuf.x: late\n")


@pytest.mark.usefixtures("log_restored")
def test_where_standard_error_is_the_journal_entries_go_to_its_socket(monkeypatch, manager):
    about = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
    systemd.log_to_journal_or_stderr("warning", Path(manager.getsockname()))
    logging.getLogger("framebuf.x").info("not told")
    logging.getLogger("framebuf.x").warning("late", extra={"CAMERA": "gate"})
    entry = manager.recv(9999)
    assert b"MESSAGE=late\n" in entry
    assert b"CAMERA=gate\n" in entry
    logging.getLogger().handlers[0].close()


@pytest.mark.usefixtures("log_restored")
def test_the_level_can_be_changed_while_it_runs(capsys):
    systemd.log_to_journal_or_stderr("info")
    systemd.set_log_level("error")
    logging.getLogger("framebuf.x").warning("not told")
    assert capsys.readouterr().err == ""


def test_systemd_pythons_handler_is_used_where_it_is_installed(monkeypatch):
    """With the number of the event, which the journal's own catalogue goes by."""
    sent = []

    class JournalHandler(logging.Handler):
        def __init__(self, **fields):
            super().__init__()
            self.fields = fields

        def emit(self, record):
            sent.append((self.fields, record.getMessage(), vars(record).get("MESSAGE_ID")))

    module = types.ModuleType("systemd")
    module.journal = types.SimpleNamespace(JournalHandler=JournalHandler)
    monkeypatch.setitem(sys.modules, "systemd", module)
    monkeypatch.setitem(sys.modules, "systemd.journal", module.journal)
    handler = systemd._journal(Path("/nowhere"))
    logger = logging.getLogger("framebuf.test")
    logger.propagate = False
    logger.addHandler(handler)
    logger.warning("bad", extra={"EVENT": "camera_offline"})
    logger.warning("plain")
    logger.removeHandler(handler)
    identifier = {"SYSLOG_IDENTIFIER": "framebuf"}
    assert sent == [
        (identifier, "bad", MESSAGE_IDS["camera_offline"]),
        (identifier, "plain", None),
    ]


def test_without_systemd_python_the_fields_go_by_our_own_handler(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    handler = systemd._journal(tmp_path / "socket")
    assert isinstance(handler, JournalHandler)
    handler.close()
