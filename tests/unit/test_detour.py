"""Frames for a model on servers: answered once, by whoever is there in time, and none is lost."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest

from framebuf.frames import Frame
from framebuf.models import detour as module
from framebuf.models.backlog import Job
from framebuf.models.detour import Detour
from framebuf.models.fallback import Fallback
from framebuf.results import Failure, Findings, FrameResult
from framebuf.units import Moment

SECOND_NS = 10**9
PIXELS = np.zeros((2, 2, 3), np.uint8)
AWAY = Failure("servers_away", "net: a:1: Connection refused")
REFUSED = Failure("inference_failed", "net: a:1: it answers 500")


class HeldLane:
    """Holds jobs until the test takes them."""

    def __init__(self):
        self.backlog = []

    def submit(self, model, jobs):
        self.backlog += jobs

    def withdraw(self, model, turn):
        mine = [job for job in self.backlog if job.turn == turn]
        self.backlog = [job for job in self.backlog if job.turn != turn]
        return mine

    def take(self, count=1):
        """As a context does: into a tensor."""
        taken, self.backlog = self.backlog[:count], self.backlog[count:]
        for job in taken:
            job.begun()
            job.prepared()
        return taken


class Outcome:
    """What became of one frame."""

    def __init__(self):
        self.begun = self.prepared = 0
        self.results = []

    @property
    def models(self):
        return [each.model for each in self.results]


class Bed:
    """A detour between two lanes that the test plays."""

    def __init__(self, fallback=True, opened=True):
        self.servers, self.local = HeldLane(), HeldLane()
        self.lost, self.counts = [], []
        then = Fallback(self.local, "local") if fallback else None
        self.detour = Detour("net", then, self.lost.append, self.counts.append)
        if opened:
            self.detour.opened(self.servers)

    def submit(self, count=1, turn="a", left_s=10):
        outcomes = [Outcome() for _ in range(count)]
        now = time.monotonic_ns()
        self.detour.submit("net", [job_of(each, turn, now, left_s) for each in outcomes])
        return outcomes

    def overtake(self, after_s):
        """What the thread would do so much later."""
        with self.detour._lock:
            later = time.monotonic_ns() + round(after_s * SECOND_NS)
            failed, _ = self.detour._routes.overtake(later)
        for job in failed:
            module._fail(job, "net")


def job_of(outcome, turn, now, left_s):
    def begun():
        outcome.begun += 1

    def prepared():
        outcome.prepared += 1

    deadline = 2**63 if left_s is None else now + round(left_s * SECOND_NS)
    frame = Frame(0, Moment(now, now), PIXELS)
    return Job(frame, turn, now, prepared, outcome.results.append, 0, deadline, begun=begun)


def answer(jobs, model, error=None):
    for job in jobs:
        job.answered(FrameResult(model, None if error else Findings(outputs=()), error))


def assert_answered(outcomes, model):
    for each in outcomes:
        assert (each.models, each.begun, each.prepared) == ([model], 1, 1)


@pytest.fixture
def bed():
    return Bed()


def test_frames_go_to_the_servers_while_they_answer(bed):
    outcomes = bed.submit(3)
    assert not bed.local.backlog
    answer(bed.servers.take(3), "net")
    assert_answered(outcomes, "net")
    assert repr(bed.detour) == "<Detour net else local, up, 0 on their way>"


def test_pixels_are_kept_until_the_servers_have_answered(bed):
    (outcome,) = bed.submit()
    jobs = bed.servers.take()
    assert (outcome.begun, outcome.prepared) == (1, 0)
    answer(jobs, "net")
    assert outcome.prepared == 1


def test_without_a_fallback_they_are_let_go_as_soon_as_they_are_in_a_tensor():
    bed = Bed(fallback=False)
    (outcome,) = bed.submit()
    bed.servers.take()
    assert (outcome.prepared, outcome.results) == (1, [])


@pytest.mark.parametrize("error", [AWAY, REFUSED])
def test_what_the_servers_did_not_answer_the_fallback_does(bed, error):
    outcomes = bed.submit(2)
    answer(bed.servers.take(2), "net", error)
    assert bed.lost == [error.message]
    answer(bed.local.take(2), "local")
    assert_answered(outcomes, "local")
    assert bed.counts == ["fallbacks"] * 2


def test_what_waits_goes_along_with_what_failed(bed):
    outcomes = bed.submit(2, "a") + bed.submit(2, "b")
    answer(bed.servers.take(1), "net", AWAY)
    assert not bed.servers.backlog
    answer(bed.local.take(4), "local")
    assert_answered(outcomes, "local")


def test_what_other_calls_have_sent_goes_along_too_where_nobody_answered(bed):
    outcomes = bed.submit(3)
    first, second, third = bed.servers.take(2) + bed.servers.backlog
    third.begun()
    bed.servers.backlog = []
    answer([first], "net", AWAY)
    assert len(bed.local.backlog) == 2
    third.prepared()
    answer(bed.local.take(3), "local")
    answer([second, third], "net")
    assert_answered(outcomes, "local")


def test_a_call_that_was_refused_says_nothing_of_the_others(bed):
    outcomes = bed.submit(2)
    first, second = bed.servers.take(2)
    answer([first], "net", REFUSED)
    answer([second], "net")
    answer(bed.local.take(2), "local")
    assert [each.models for each in outcomes] == [["local"], ["net"]]


def test_while_they_are_away_frames_go_straight_to_the_fallback_and_then_back(bed):
    bed.submit()
    answer(bed.servers.take(), "net", AWAY)
    bed.local.take()
    outcomes = bed.submit(2)
    assert not bed.servers.backlog
    answer(bed.local.take(2), "local")
    assert_answered(outcomes, "local")
    bed.detour.back()
    outcomes = bed.submit(2)
    answer(bed.servers.take(2), "net")
    assert_answered(outcomes, "net")


def test_a_call_that_hangs_past_its_share_is_overtaken_and_its_answer_let_go(bed):
    outcomes = bed.submit(2, left_s=10)
    hung = bed.servers.take(2)
    bed.overtake(4.9)
    assert not bed.local.backlog
    bed.overtake(5.1)
    answer(bed.local.take(2), "local")
    answer(hung, "net")
    assert_answered(outcomes, "local")
    assert bed.counts == ["fallbacks"] * 2


def test_what_waits_behind_a_call_that_hangs_is_overtaken_too(bed):
    outcomes = bed.submit(3)
    bed.servers.take()
    bed.overtake(5.1)
    assert (len(bed.local.backlog), bed.servers.backlog) == (3, [])
    answer(bed.local.take(3), "local")
    assert_answered(outcomes, "local")


def test_a_frame_that_is_just_being_prepared_is_overtaken_once_it_is(bed):
    """Its pixels are read; nobody else may give them away meanwhile."""
    (outcome,) = bed.submit()
    (job,) = bed.servers.backlog
    bed.servers.backlog = []
    job.begun()
    bed.overtake(5.1)
    assert not bed.local.backlog
    job.prepared()
    answer(bed.local.take(), "local")
    assert_answered([outcome], "local")


def test_an_old_call_that_fails_says_nothing_of_servers_that_came_back(bed):
    bed.submit(2)
    first, second = bed.servers.take(2)
    answer([first], "net", REFUSED)
    bed.detour.back()
    answer([second], "net", AWAY)
    assert bed.detour.up
    assert len(bed.lost) == 1
    assert len(bed.local.backlog) == 2


def test_frames_without_a_deadline_wait_as_long_as_the_call(bed):
    bed.submit(left_s=None)
    bed.servers.take()
    bed.overtake(10**6)
    assert not bed.local.backlog


def test_a_turn_that_is_withdrawn_is_taken_back_as_it_was_submitted(bed):
    outcomes = bed.submit(2, "a")
    bed.submit(1, "b")
    jobs = bed.detour.withdraw("net", "a")
    assert len(jobs) == 2
    assert len(bed.servers.backlog) == 1
    answer(jobs, "nobody")
    assert [each.models for each in outcomes] == [["nobody"]] * 2
    assert not bed.local.backlog


def test_what_is_withdrawn_goes_to_nobody_else(bed):
    (outcome,) = bed.submit()
    jobs = bed.servers.take()
    assert bed.detour.withdraw("net", "a") == []
    bed.overtake(5.1)
    answer(jobs, "net", AWAY)
    assert not bed.local.backlog
    assert outcome.models == ["net"]


def test_what_has_gone_to_the_fallback_can_be_withdrawn_there(bed):
    outcomes = bed.submit(2)
    answer(bed.servers.take(), "net", AWAY)
    jobs = bed.detour.withdraw("net", "a")
    assert not bed.local.backlog
    answer(jobs, "nobody")
    assert [(each.models, each.begun) for each in outcomes] == [(["nobody"], 1), (["nobody"], 0)]


def test_before_the_servers_ever_answered_the_fallback_does():
    bed = Bed(opened=False)
    outcomes = bed.submit(2)
    answer(bed.local.take(2), "local")
    assert_answered(outcomes, "local")


def test_without_a_fallback_frames_wait_for_the_servers():
    bed = Bed(fallback=False, opened=False)
    outcomes = bed.submit(2, "a")
    bed.submit(1, "b")
    assert len(bed.detour.withdraw("net", "b")) == 1
    bed.detour.opened(bed.servers)
    answer(bed.servers.take(2), "net")
    assert_answered(outcomes, "net")


def test_without_a_fallback_an_error_tells_in_time_that_none_answers():
    bed = Bed(fallback=False, opened=False)
    outcomes = bed.submit(2, left_s=10)
    bed.overtake(8.9)
    assert not outcomes[0].results
    bed.overtake(9.1)
    assert_answered(outcomes, "net")
    assert outcomes[0].results[0].error.code == "servers_away"


def test_the_thread_overtakes_by_itself():
    bed = Bed()
    bed.detour.start()
    outcomes = bed.submit(2, left_s=1.0)
    bed.servers.take()
    end = time.monotonic() + 60
    while len(bed.local.backlog) < 2:
        assert time.monotonic() < end
        time.sleep(0.005)
    bed.detour.close()
    answer(bed.local.take(2), "local")
    assert_answered(outcomes, "local")


@pytest.mark.parametrize("fallback", [True, False])
def test_no_frame_is_lost_or_answered_twice_whatever_comes_between(fallback):
    """Threads submit, answer, fail, overtake, withdraw and come back in any order."""
    bed = Bed(fallback)
    lock = threading.Lock()  # a HeldLane has none of its own
    stop = threading.Event()
    outcomes, withdrawn = [], []
    chance = random.Random(7)
    for lane in (bed.servers, bed.local):
        lane.submit, lane.withdraw, lane.take = (
            locked(lock, each) for each in (lane.submit, lane.withdraw, _taken(lane))
        )

    def works(lane, model, seed):
        own = random.Random(seed)
        while not stop.is_set() or lane.backlog:
            for job in lane.take(3):
                job.begun()
                job.prepared()
                bad = model == "net" and own.random() < 0.3
                answer([job], model, AWAY if bad else None)

    threads = [
        threading.Thread(target=works, args=args)
        for args in [(bed.servers, "net", 1), (bed.servers, "net", 2), (bed.local, "local", 3)]
    ]
    for thread in threads:
        thread.start()
    for n in range(400):
        outcomes += bed.submit(chance.randint(1, 4), f"t{n}", left_s=chance.choice([0, 60]))
        if chance.random() < 0.3:
            bed.overtake(0.001)
        if chance.random() < 0.3:
            bed.detour.back()
        if chance.random() < 0.1:
            withdrawn += bed.detour.withdraw("net", f"t{n}")
    bed.detour.back()
    stop.set()
    for thread in threads:
        thread.join()
    works(bed.servers, "net", 4)
    works(bed.local, "local", 5)
    answer(withdrawn, "nobody")
    assert {len(each.results) for each in outcomes} == {1}
    assert "0 on their way" in repr(bed.detour)
    for each in outcomes:  # what servers began and failed is withdrawn where it waits again
        assert each.begun == 1 or (each.begun, each.models) == (0, ["nobody"])


def locked(lock, call):
    def inner(*args):
        with lock:
            return call(*args)

    return inner


def _taken(lane):
    def take(count):
        taken, lane.backlog = lane.backlog[:count], lane.backlog[count:]
        return taken

    return take
