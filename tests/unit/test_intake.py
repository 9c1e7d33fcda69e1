"""What concerns a message rather than its payload."""

from __future__ import annotations

import time

import pytest

from framebuf.contract import Topics
from framebuf.service import intake
from framebuf.service.health import Counters
from framebuf.service.intake import Intake
from framebuf.service.known import KnownIds
from framebuf.service.message import Message
from framebuf.service.response import Responses
from framebuf.units import Moment


class Replies:
    """Notes what is rejected."""

    def __init__(self):
        self.codes = []

    def rejected(self, camera, error, response):
        self.codes.append((camera, error.code, error.id))


class NothingRemembered:
    def find(self, camera, id):
        return None


class Feed:
    camera = buffer = None


@pytest.fixture
def taken(monkeypatch):
    """Hands a message to an intake: what was accepted, and what rejected."""
    monkeypatch.setattr(intake, "read_order", lambda trigger, *_, **__: trigger.id)

    def take(message):
        accepted, replies = [], Replies()
        topics = Topics("framebuf", "n")
        Intake(
            topics, {"gate": Feed()}, KnownIds(NothingRemembered(), lambda _: None), replies,
            Counters(), Responses((), topics.node_root), lambda _, order: accepted.append(order),
            lambda: None,
        ).take(message)  # fmt: skip
        return accepted, replies.codes

    return take


def message(waited_s, expiry_s):
    received = Moment(time.monotonic_ns() - round(waited_s * 1e9), time.time_ns())
    return Message("framebuf/n/gate/trigger", b'{"id":"x"}', received, expiry_s=expiry_s)


@pytest.mark.parametrize(("waited_s", "expiry_s"), [(2.0, 1), (0.1, 0)])
def test_a_trigger_whose_expiry_runs_out_before_it_is_looked_at_is_stale(taken, waited_s, expiry_s):
    assert taken(message(waited_s, expiry_s)) == ([], [("gate", "stale", "x")])


@pytest.mark.parametrize(("waited_s", "expiry_s"), [(2.0, 60), (2.0, None)])
def test_a_trigger_that_has_time_left_is_accepted(taken, waited_s, expiry_s):
    assert taken(message(waited_s, expiry_s)) == (["x"], [])
