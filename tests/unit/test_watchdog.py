from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from framebuf.service import crash
from framebuf.service.heartbeats import Heartbeats
from framebuf.service.pulse import DEAD_NS, Pulse
from framebuf.service.systemd import Notifier
from framebuf.service.watchdog import OWN_S, Watchdog


class Bell:
    """Somebody whose silence the test sets."""

    def __init__(self):
        self.silent_ns = 0

    def silence(self, _now_ns):
        return self.silent_ns


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A service manager that ends who is silent for six seconds; hears what it is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", listener.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "6000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listener


@pytest.fixture
def unmanaged(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)


def heard(manager):
    found = []
    while True:
        try:
            found.append(manager.recv(99))
        except BlockingIOError:
            return found


def test_a_thread_is_silent_only_while_it_works():
    turns = [threading.Event() for _ in range(3)]
    at = threading.Semaphore(0)

    def work():
        pulse.beat()
        at.release()
        turns[0].wait()
        pulse.rest()
        at.release()
        turns[1].wait()

    thread = threading.Thread(target=work, name="encoder")
    pulse = Pulse(thread)
    assert pulse.silent_ns(time.monotonic_ns()) == 0
    began = time.monotonic_ns()
    thread.start()
    at.acquire()
    assert 4e11 < pulse.silent_ns(began + 5 * 10**11) <= 5e11
    assert repr(pulse) == "<Pulse encoder works>"
    turns[0].set()
    at.acquire()
    assert pulse.silent_ns(began + 5 * 10**11) == 0
    assert repr(pulse) == "<Pulse encoder rests>"
    turns[1].set()
    thread.join()
    assert pulse.silent_ns(began) == DEAD_NS
    assert repr(pulse) == "<Pulse encoder ended>"


def test_heartbeats_name_who_is_silent_for_longer_than_the_limit():
    beats = Heartbeats(10)
    bells = {name: Bell() for name in ("requests", "mqtt")}
    for name, bell in bells.items():
        beats.watch(name, bell.silence)
    bells["requests"].silent_ns = 10
    assert beats.silent(0) == {}
    bells["requests"].silent_ns = 11
    assert beats.silent(0) == {"requests": 11}


def test_the_watchdog_is_fed_until_a_thread_hangs_and_again_when_it_goes_on(manager, caplog):
    watchdog, bell = Watchdog(Notifier(), own=True), Bell()
    watchdog.heartbeats.watch("mqtt", bell.silence)
    watchdog.feed()
    assert heard(manager) == [b"WATCHDOG=1"]
    bell.silent_ns = 2_100_000_000  # more than a third of six seconds
    watchdog.feed()
    watchdog.feed()
    assert heard(manager) == []
    assert repr(watchdog) == "<Watchdog the service manager's, 6 s, 1 silent>"
    bell.silent_ns = DEAD_NS
    bell.silent_ns = 0
    watchdog.feed()
    assert heard(manager) == [b"WATCHDOG=1"]
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.ERROR, "thread mqtt hangs for 2.1 s now; the watchdog ends the process in 6.0 s"),
        (logging.WARNING, "thread mqtt goes on after all"),
    ]


def test_it_is_fed_ten_times_in_its_time_however_often_it_is_asked(manager, monkeypatch):
    clock = SimpleNamespace(now_s=1000.0)
    clock.monotonic = lambda: clock.now_s
    clock.monotonic_ns = lambda: round(clock.now_s * 1e9)
    monkeypatch.setattr("framebuf.service.watchdog.time", clock)
    watchdog = Watchdog(Notifier(), own=False)
    for _ in range(60):  # in six seconds
        watchdog.feed()
        clock.now_s += 0.1
    assert len(heard(manager)) == 10
    watchdog.wait(90, "loading")
    heard(manager)
    watchdog.feed()
    assert heard(manager) == [b"WATCHDOG=1"], "it waits no longer"


def test_a_thread_that_has_ended_is_called_so(manager, caplog):
    watchdog = Watchdog(Notifier(), own=False)
    watchdog.heartbeats.watch("mqtt", lambda _: DEAD_NS)
    watchdog.feed()
    assert caplog.messages == ["thread mqtt has ended; the watchdog ends the process in 6.0 s"]


@pytest.mark.parametrize("usec", ["30000000", "3000000", "400000"])
def test_it_asks_to_be_fed_ten_times_in_its_time_however_short_that_is(manager, monkeypatch, usec):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert Watchdog(Notifier(), own=False).interval_s * 10 == pytest.approx(int(usec) / 1e6)


@pytest.mark.usefixtures("unmanaged")
def test_without_a_service_manager_only_the_daemon_by_itself_has_a_watchdog(monkeypatch):
    armed = []
    monkeypatch.setattr(crash, "end_process_later", armed.append)
    monkeypatch.setattr(crash, "end_process_never", lambda: armed.append("never"))
    Watchdog(Notifier(), own=False).feed()
    assert armed == []
    watchdog, bell = Watchdog(Notifier(), own=True), Bell()
    watchdog.heartbeats.watch("mqtt", bell.silence)
    watchdog.wait(300, "loading")
    assert armed.pop() == 300
    watchdog.feed()
    assert armed == [OWN_S]
    bell.silent_ns = 11 * 10**9
    watchdog.feed()
    assert armed == [OWN_S], "armed again though a thread hangs"
    watchdog.close()
    assert armed == [OWN_S, "never"]


def ended(code):
    return subprocess.run(
        [sys.executable, "-c", "from framebuf.service import crash\n" + code],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_a_process_that_is_not_fed_ends_and_tells_where_each_thread_is():
    late = ended(
        "import threading, time\n"
        "there = threading.Event()\n"
        "def stuck():\n    there.set()\n    time.sleep(60)\n"
        "threading.Thread(target=stuck, daemon=True).start()\n"
        "there.wait()\n"
        "crash.end_process_later(60); crash.end_process_later(0.2); time.sleep(60)"
    )
    assert late.returncode == 1
    assert "in stuck" in late.stderr


def test_a_log_that_blocks_does_not_keep_a_crashing_process_alive():
    late = ended(
        "import logging, threading, time\n"
        "crash.WORD_S = 1.0\n"
        "class Full(logging.Handler):\n"
        "    def emit(self, record): time.sleep(60)\n"
        "logging.getLogger().addHandler(Full())\n"
        "crash.end_process_when_told()\n"
        "threading.Thread(target=lambda: 1 / 0).start(); time.sleep(60)"
    )
    assert late.returncode == 1
    assert "in emit" in late.stderr
