"""What the requests' thread makes of the journal of an earlier start. The lane is a fake."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from framebuf.config import Camera, Node
from framebuf.contract import Topics
from framebuf.errors import JournalError
from framebuf.models.chain import Chain
from framebuf.results import BatchPlace, Detection, Failure, Findings, FrameResult, Timings
from framebuf.service import post
from framebuf.service.encoder import Encoder
from framebuf.service.feed import Feed
from framebuf.service.health import Counters
from framebuf.service.journal import Journal
from framebuf.service.marks import Marks
from framebuf.service.message import Message
from framebuf.service.requests import Requests
from framebuf.service.restored import Restored
from framebuf.units import Moment
from tests.unit.rings import MS, PERIOD, Hand, ring_folder
from tests.unit.test_images import HOUR_NS, SOON_S, FakeBroker, FakeLane

C = "framebuf/n/gate"
CAT = (Detection("cat", 0, 0.9, (0.0, 0.0, 1.0, 1.0)),)


class Start:
    """One start of the service around the requests' thread; the frames outlive it."""

    def __init__(self, directory, hand, boot="b"):
        self.boot, self.hand = boot, hand
        self.broker, self.lane, self.counters = FakeBroker(), FakeLane(), Counters()
        self.journal, entries = Journal.open(directory.path, boot, HOUR_NS)
        self.marks = Marks.open(directory, boot)
        buffers = {"gate": hand.buffer}
        restored = Restored.of(entries, self.journal, self.marks, buffers, boot)
        camera = Camera(name="gate", source="x", models=("m",))
        self.feed = Feed(
            camera,
            hand.buffer,
            Chain(self.lane, "m"),
            restored.claims["gate"],
            restored.open["gate"],
        )
        self.requests = Requests(
            Node(name="n", max_pending=4), (), Topics("framebuf", "n"), [self.feed], self.broker,
            self.counters, boot, Encoder(), journal=self.journal, marks=self.marks,
            lost=restored.lost,
        )  # fmt: skip
        self.requests.start()

    def trigger(self, id, **more):
        now = Moment(time.monotonic_ns(), time.time_ns())
        payload = json.dumps({"id": id, "mode": "window"} | more).encode()
        self.requests.receive(Message(f"{C}/trigger", payload, now))

    def next(self, leaf, *, acknowledge=True):
        """The next message, which is of this kind; acks may be told again after a crash."""
        message = self.broker.said.get(timeout=SOON_S)
        while leaf != "ack" and message.topic == f"{C}/ack":
            message = self.broker.said.get(timeout=SOON_S)
        assert message.topic == f"{C}/{leaf}", message
        if acknowledge and message.acknowledged is not None:
            message.acknowledged()
        return json.loads(message.payload)

    def acknowledged(self):
        """The next trigger that the broker is told is taken care of."""
        return self.broker.acknowledged.get(timeout=SOON_S)

    def job(self):
        return self.lane.jobs.get(timeout=SOON_S)

    def answer(self, job, run=1, error=None):
        job.begun()
        job.prepared()
        found = None if error else Findings(detections=CAT)
        place, ms = BatchPlace(1, 0, 1), Timings(infer=2.0)
        job.answered(FrameResult("m", found, error, place, ms, run))

    def crash(self):
        """As a kill -9 would: what is in the journal and the marks stays, the rest is gone."""
        self.requests.stop(0.0)
        self.journal.close()

    def stop(self):
        self.requests.stop(0.0)
        self.requests.settle()
        self.marks.disarm()
        self.journal.close()


@pytest.fixture
def world():
    with ring_folder() as directory:
        hand = Hand(directory)
        newest = time.monotonic_ns() - MS
        hand.frames(*(newest - back * PERIOD for back in range(7, -1, -1)))
        started = []

        def start(boot="b"):
            started.append(Start(directory, hand, boot))
            return started[-1]

        yield start
        for one in started:
            assert not one.requests._thread.is_alive()


def accepted(one, id="r", **more):
    one.trigger(id, **more)
    assert one.next("ack")["status"] == "accepted"


def test_frames_of_a_trigger_stay_while_the_disk_takes_its_time_to_write_it_down(world):
    start = world()
    accept = start.requests._ledger.accept

    def slow(requests):
        accept(requests)
        now = time.monotonic_ns()
        start.hand.frames(*(now + number * PERIOD for number in range(40)))

    start.requests._ledger.accept = slow
    accepted(start, before=4, deadline="60s")
    assert [start.job().frame.seq for _ in range(4)] == [4, 5, 6, 7]
    start.stop()


def test_a_drain_holds_no_frames_that_an_earlier_one_has_claimed(world):
    start, held = world(), []
    hold = start.requests._windows.hold

    def noted(feed, request):
        leases = hold(feed, request)
        held.append([lease.seq for lease in leases])
        return leases

    start.requests._windows.hold = noted
    accepted(start, "first", mode="drain")
    assert [start.job().frame.seq for _ in range(8)] == [*range(8)]
    start.hand.frames(time.monotonic_ns())
    accepted(start, "second", mode="drain")
    assert start.job().frame.seq == 8
    start.stop()
    assert held == [[*range(8)], [8]]


def test_what_the_journal_does_not_take_holds_no_frames(world):
    start = world()

    def broken(requests):
        raise JournalError("disk I/O error")

    start.requests._ledger.accept = broken
    start.trigger("r", before=8)
    assert start.next("ack")["error"]["code"] == "queue_full"
    start.stop()
    assert not start.hand.buffer.leased()


def test_a_broker_that_confirms_nothing_keeps_no_triggers_back(world):
    start = world()
    for number in range(30):
        start.trigger(f"bad-{number}", before=-1)
    told = [json.loads(start.acknowledged().payload)["id"] for _ in range(30 - post.WAITING)]
    assert told == [f"bad-{number}" for number in range(post.WAITING, 30)]
    start.crash()


@pytest.mark.parametrize("again", [False, True], ids=["refused", "duplicate"])
def test_a_trigger_is_the_brokers_until_that_has_the_answer_of_who_is_not_accepted(world, again):
    start = world()
    accepted(start, before=1, deadline="60s")
    assert json.loads(start.acknowledged().payload)["id"] == "r"
    start.trigger("r" if again else "none", **({} if again else {"before": -1}))
    answer = start.broker.said.get(timeout=SOON_S)
    assert json.loads(answer.payload)["status"] == ("duplicate" if again else "rejected")
    accepted(start, "next", before=1, deadline="60s")
    assert json.loads(start.acknowledged().payload)["id"] == "next", "it holds up no other"
    assert start.broker.acknowledged.empty()
    answer.acknowledged()
    assert json.loads(start.acknowledged().payload)["id"] == ("r" if again else "none")
    start.crash()


def test_frames_without_an_acknowledged_result_are_asked_for_again(world):
    first = world()
    accepted(first, before=4, deadline="60s")
    jobs = [first.job() for _ in range(4)]
    first.answer(jobs[0])
    assert first.next("result")["index"] == 0
    first.answer(jobs[1])
    first.next("result", acknowledge=False)
    first.trigger("later", before=1, deadline="60s")  # written down with all before it
    assert first.next("ack")["status"] == "accepted"
    first.crash()
    second = world()
    assert {job.turn for job in (second.job(), *[second.job() for _ in range(3)])} == {
        "gate/r", "gate/later",
    }  # fmt: skip
    assert second.lane.jobs.empty()
    second.stop()


def test_the_done_of_a_resumed_request_counts_what_earlier_starts_published(world):
    first = world()
    accepted(first, before=3, deadline="60s")
    jobs = [first.job() for _ in range(3)]
    first.answer(jobs[0], run=1)
    first.next("result")
    accepted(first, "other", before=1, deadline="60s")
    first.crash()
    second = world()
    again = [second.job() for _ in range(3)]
    assert [job.frame.seq for job in again[:2]] == [job.frame.seq for job in jobs[1:]]
    for job in again[:2]:
        second.answer(job, run=1)
    assert [second.next("result")["index"] for _ in range(2)] == [1, 2]
    done = second.next("done")
    assert (done["event_type"], done["published"], done["summary"]) == ("complete", 3, {"cat": 3})
    assert (done["attempts"], done["ms"]["infer"]) == (2, 4.0)
    second.stop()


@pytest.mark.parametrize("fails_in", [1, 2])
def test_a_done_that_was_made_before_a_crash_counts_the_newest_result_of_each_frame(
    world, fails_in
):
    one = world()
    accepted(one, before=3, deadline="60s")
    jobs = [one.job() for _ in range(3)]
    dones = []
    for life in (1, 2, 3):
        fault = Failure("inference_failed", "simulated") if life == fails_in else None
        for place, job in enumerate(jobs):
            one.answer(job, run=place, error=fault if place == 1 else None)
        results = [one.next("result", acknowledge=False) for _ in range(len(jobs))]
        assert ["error" in result for result in results] == [False, fault is not None, False]
        dones.append(one.next("done", acknowledge=False))
        one.crash()
        one = world()
        jobs = [one.job() for _ in range(3)]
    told = [(done["event_type"], done["failed"], done["summary"]) for done in dones]
    failed, well = ("partial", 1, {"cat": 2}), ("complete", 0, {"cat": 3})
    assert told == [failed if life == fails_in else well for life in (1, 2, 3)]
    assert [done["attempts"] for done in dones] == ([1, 2, 2] if fails_in == 1 else [1, 2, 3])
    assert [done["published"] for done in dones] == [3, 3, 3]
    for place, job in enumerate(jobs):
        one.answer(job, run=place)
        one.next("result")
    assert one.next("done") == dones[-1], "nothing has changed, so it is the same document"
    one.stop()


def test_a_done_that_was_made_before_a_crash_counts_what_had_arrived_and_what_is_lost(world):
    one = world()
    accepted(one, before=4, deadline="60s")
    jobs = [one.job() for _ in range(4)]
    for place, job in enumerate(jobs):
        fault = Failure("inference_failed", "simulated") if place in (0, 3) else None
        one.answer(job, run=place, error=fault)
        one.next("result", acknowledge=place < 2)
    done = one.next("done", acknowledge=False)
    assert (done["event_type"], done["failed"]) == ("partial", 2)
    accepted(one, "later", before=1, deadline="60s")  # written down with all before it
    one.crash()
    one = world(boot="c")
    done = one.next("done")
    assert (done["event_type"], done["published"], done["failed"], done["missing"]) == (
        "partial", 2, 1, {"frames_lost": 2},
    )  # fmt: skip
    assert done["summary"] == {"cat": 1}
    one.stop()


def test_after_a_reboot_what_was_not_answered_is_lost_and_told(world):
    first = world()
    accepted(first, before=4, deadline="60s")
    first.answer(first.job())
    first.next("result")
    accepted(first, "open", before=0, after=5, deadline="60s")
    first.crash()
    second = world(boot="c")
    for id, published, lost in (("r", 1, 3), ("open", 0, 5)):
        done = second.next("done")
        assert (done["id"], done["published"], done["missing"]) == (
            id, published, {"frames_lost": lost},
        )  # fmt: skip
        assert done["attempts"] == 1
    second.trigger("r")
    assert second.next("ack")["status"] == "duplicate"
    assert second.next("done")["id"] == "r"
    second.stop()


def test_two_deaths_with_a_frame_in_a_tensor_and_it_runs_alone_a_third_and_it_is_given_up(world):
    one = world()
    accepted(one, "bad", before=2, deadline="60s")
    accepted(one, "good", before=1, deadline="60s")
    for alone in (False, False, True):
        jobs = [one.job() for _ in range(3)]
        assert [job.alone for job in jobs] == [alone, alone, False]
        jobs[0].begun()
        one.crash()
        one = world()
    done = one.next("done")
    assert (done["id"], done["event_type"], done["missing"]) == (
        "bad", "failed", {"crashed_daemon": 2},
    )  # fmt: skip
    assert done["attempts"] == 4
    one.answer(one.job())
    assert one.next("result")["id"] == "good"
    assert one.next("done")["event_type"] == "complete"
    one.stop()


def test_a_stop_is_no_death_and_neither_is_a_frame_that_only_waited(world):
    one = world()
    accepted(one, "r", before=1, deadline="60s")
    for _ in range(4):
        one.job().begun()
        one.stop()
        one = world()
    for _ in range(4):
        one.job()
        one.crash()
        one = world()
    assert not one.job().alone
    one.stop()


def test_while_the_disk_is_full_triggers_are_rejected_and_open_requests_answered(world):
    one = world()
    accepted(one, "before", before=2, deadline="60s")
    jobs = [one.job() for _ in range(2)]
    real = one.journal._db

    class Full:
        def __getattr__(self, name):
            return getattr(real, name)

        def execute(self, text, *values):
            if text.startswith("BEGIN"):
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return real.execute(text, *values)

    one.journal._db = Full()
    one.trigger("refused", before=1)
    ack = one.next("ack")
    assert (ack["status"], ack["error"]["code"]) == ("rejected", "queue_full")
    assert "the journal cannot be written" in ack["error"]["message"]
    for job in jobs:
        one.answer(job)
    assert [one.next("result")["index"] for _ in range(2)] == [0, 1]
    assert one.next("done")["id"] == "before"
    one.journal._db = real
    time_out = threading.Event()
    while one.requests.trouble is not None:
        assert not time_out.wait(0.05)
    accepted(one, "after", before=1)
    one.stop()
    assert Path(one.journal.path).exists()
