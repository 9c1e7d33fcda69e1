"""How long the main thread rests, and what wakes it."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from framebuf.service.bell import Bell
from framebuf.service.rhythm import REST_S, TICK_S, Rhythm
from framebuf.units import SECOND_NS

LONG_S = 60


class Node:
    """What a rhythm looks at, all of it well."""

    def __init__(self, longest_s=LONG_S):
        self.left_ns = {"gate": 2 * SECOND_NS, "yard": 3 * SECOND_NS}
        self.broker = SimpleNamespace(trouble=None, connected=threading.Event())
        self.broker.connected.set()
        self.remote = SimpleNamespace(away=None)
        buffers = [
            SimpleNamespace(fresh_until=lambda n=name: self.until(n)) for name in self.left_ns
        ]
        self.rhythm = Rhythm(buffers, [self.remote], self.broker, longest_s)
        self.now_ns = 10**15

    def until(self, name):
        left_ns = self.left_ns[name]
        return -1 if left_ns is None else self.now_ns + left_ns

    def rest_s(self, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic_ns", lambda: self.now_ns)
            return self.rhythm.rest_s()


def test_it_rests_for_a_second_while_all_is_well(monkeypatch):
    assert Node().rest_s(monkeypatch) == REST_S


def test_it_looks_at_the_moment_in_which_a_camera_would_fall_silent(monkeypatch):
    node = Node()
    node.left_ns["yard"] = SECOND_NS // 4 - 1
    assert node.rest_s(monkeypatch) == 0.25


@pytest.mark.parametrize("left_ns", [None, -1, -LONG_S * SECOND_NS])
def test_it_looks_often_while_a_camera_is_away(monkeypatch, left_ns):
    node = Node()
    node.left_ns["yard"] = left_ns
    assert node.rest_s(monkeypatch) == TICK_S


def test_it_looks_often_while_the_broker_or_a_server_is_away(monkeypatch):
    node = Node()
    node.broker.connected.clear()
    assert node.rest_s(monkeypatch) == TICK_S
    node.broker.connected.set()
    node.broker.trouble = "the broker denies us the topic a/b"
    assert node.rest_s(monkeypatch) == TICK_S
    node.broker.trouble = None
    node.remote.away = "no server answers"
    assert node.rest_s(monkeypatch) == TICK_S
    node.remote.away = None
    assert node.rest_s(monkeypatch) == REST_S


@pytest.mark.parametrize("longest_s", [0.5, 0.05])
def test_it_never_rests_for_longer_than_the_watchdog_allows(monkeypatch, longest_s):
    node = Node(longest_s)
    assert node.rest_s(monkeypatch) == longest_s
    node.left_ns["gate"] = None
    assert node.rest_s(monkeypatch) == min(TICK_S, longest_s)


def test_a_bell_that_was_rung_ends_one_wait_however_often():
    bell = Bell()
    assert repr(bell) == "<Bell quiet>"
    bell.ring()
    bell.ring()
    assert repr(bell) == "<Bell rings>"
    assert bell.wait(LONG_S)
    assert not bell.wait(0.0)
    assert not bell.wait(-1.0), "what was due is over"


def test_a_bell_wakes_who_waits_from_another_thread_and_from_a_signal_handler():
    bell = Bell()
    ringer = threading.Thread(target=bell.ring)
    ringer.start()
    assert bell.wait(LONG_S)
    ringer.join()
    before = signal.signal(signal.SIGUSR1, lambda *_: bell.ring())
    try:
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        sender.start()
        assert bell.wait(LONG_S)
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
