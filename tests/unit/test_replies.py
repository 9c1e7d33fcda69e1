"""The line that a request ends with in the log."""

from __future__ import annotations

import logging

import pytest

from framebuf.contract import Done, Topics, encode
from framebuf.contract.messages import DoneTimings, WindowTimes
from framebuf.service.health import Counters
from framebuf.service.replies import Replies

AT = "2026-11-22T06:29:58.620Z"


class Silent:
    """A broker that takes everything."""

    max_packet = None

    def publish(self, message):
        pass


@pytest.mark.parametrize(
    ("outcome", "missing", "failed", "words"),
    [
        ("complete", {}, 0, "complete, 5 of 5 frames in 94 ms"),
        ("partial", {}, 2, "partial, 5 of 5 frames in 94 ms; 2 with an error"),
        (
            "partial", {"evicted": 3, "deadline": 1}, 1,
            "partial, 5 of 9 frames in 94 ms; 3 evicted, 1 deadline, 1 with an error",
        ),
    ],
)  # fmt: skip
def test_a_request_that_is_not_complete_says_why(caplog, outcome, missing, failed, words):
    caplog.set_level(logging.INFO)
    done = Done(
        event_type=outcome, id="a", camera="gate", requested=5 + sum(missing.values()),
        published=5, failed=failed, missing=missing, thinned=0, already_claimed=0,
        window=WindowTimes(AT, AT), summary={}, ms=DoneTimings(94.0, 40.0), boot_id="b",
        attempts=1,
    )  # fmt: skip
    replies = Replies(Topics("framebuf", "n"), Silent(), Counters())
    replies.done(done, encode(done), (), lambda: None)
    assert caplog.messages == [f"request a of camera gate: {words}"]
