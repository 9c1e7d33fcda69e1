from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf.frames import Frame
from framebuf.models.backlog import Backlog, Job
from framebuf.units import SECOND_NS, Moment

PIXELS = np.zeros((1, 1, 3), np.uint8)


def job(turn, number=0, *, ready_s=0.0, priority=0, deadline_s=None, **more):
    ready = round(ready_s * SECOND_NS)
    deadline = 2**63 if deadline_s is None else round(deadline_s * SECOND_NS)
    frame = Frame(number, Moment(ready, ready), PIXELS)
    return Job(frame, turn, ready, lambda: None, lambda _: None, priority, deadline, **more)


def filled(*jobs):
    backlog = Backlog()
    for one in jobs:
        backlog.add(one)
    return backlog


def take(backlog, count=1, now_s=0.0):
    taken = (backlog.take(round(now_s * SECOND_NS)) for _ in range(count))
    return [(one.turn, one.frame.seq) for one in taken if one is not None]


def turns(backlog, count=1, now_s=0.0):
    return "".join(turn for turn, _ in take(backlog, count, now_s))


def many(turn, count, **more):
    return [job(turn, number, **more) for number in range(count)]


def test_frames_of_one_request_come_in_the_order_they_were_added():
    backlog = filled(*many("a", 5))
    assert take(backlog, 2) + take(backlog, 9) == [("a", n) for n in range(5)]
    assert take(backlog, 3) == []


def test_a_late_frame_of_high_priority_does_not_overtake_its_own_request():
    backlog = filled(job("a", 0), job("a", 1, priority=9))
    assert take(backlog, 2) == [("a", 0), ("a", 1)]


def test_a_large_drain_does_not_hold_up_a_single_frame():
    backlog = filled(*many("d", 300), job("s", ready_s=0.1))
    assert "s" in turns(backlog, 2, now_s=0.1)


def test_a_single_frame_waits_for_one_frame_at_most_of_each_of_several_drains():
    backlog = filled(*many("a", 50), *many("b", 50), *many("c", 50))
    turns(backlog, 10)
    backlog.add(job("s"))
    assert "s" in turns(backlog, 4)


def test_requests_take_turns_frame_by_frame():
    backlog = filled(*many("a", 4), *many("b", 2), *many("c", 3))
    assert turns(backlog, 9) == "abcabcaca"


def test_a_request_whose_frames_come_singly_does_not_stop_one_that_has_them_all():
    backlog = filled(*many("d", 100))
    got = ""
    for number in range(20):
        backlog.add(job("s", number, ready_s=number / 100))
        got += turns(backlog, 1, now_s=number / 100)
    assert abs(got.count("d") - got.count("s")) <= 2, got


def test_a_flood_of_single_frames_does_not_stop_a_drain_and_a_drain_not_the_flood():
    backlog = filled(*many("d", 100))
    got = ""
    for number in range(40):
        backlog.add(job(f"s{number}", ready_s=number / 100))
        got += turns(backlog, 1, now_s=number / 100)[0]
    assert 6 <= got.count("d") <= 25, got  # its share of those who wait, which become more


def test_priority_goes_first():
    backlog = filled(*many("a", 2), *many("b", 2, priority=1), *many("c", 2, priority=-1))
    assert turns(backlog, 6) == "bbaacc"


def test_what_another_model_has_found_goes_before_any_frame_and_by_the_same_order_among_itself():
    backlog = filled(
        job("a", priority=9), *many("b", 2, downstream=True),
        job("c", priority=1, ready_s=50, downstream=True),
    )  # fmt: skip
    assert turns(backlog, 4, now_s=50) == "bcba"
    upstream, downstream = filled(job("a", priority=9)), filled(job("b", downstream=True))
    assert downstream.urgency(0) < upstream.urgency(0), "so do their lines in the lane"


@pytest.mark.parametrize(("waited_s", "first"), [(1.9, "b"), (2.0, "b"), (3.0, "a")])
def test_a_second_of_waiting_is_worth_one_of_priority(waited_s, first):
    backlog = filled(job("a", ready_s=0), job("b", ready_s=waited_s, priority=2, deadline_s=99))
    assert turns(backlog, 1, now_s=waited_s) == first


def test_nobody_waits_for_ever_behind_a_higher_priority():
    backlog = filled(job("a"))
    for second in range(12):
        backlog.add(job("b", second, ready_s=second, priority=10))
        if turns(backlog, 1, now_s=second) == "a":
            break
    assert second == 10


def test_an_old_drain_does_not_become_first_in_everything_for_its_age():
    backlog = filled(*many("d", 600))
    for tenth in range(300):  # half a minute of work
        turns(backlog, 1, now_s=tenth / 10)
    backlog.add(job("s", ready_s=30))
    assert "s" in turns(backlog, 2, now_s=30)


def test_of_equal_priority_the_nearer_deadline_goes_first():
    backlog = filled(job("a", deadline_s=60), job("b", deadline_s=2), job("c"))
    assert turns(backlog, 3, now_s=1) == "bac"


def test_deadlines_of_one_setting_take_turns_though_one_is_a_little_nearer():
    backlog = filled(*many("a", 3, deadline_s=30), *many("b", 3, deadline_s=30.5))
    assert turns(backlog, 6) == "ababab"


def test_a_deadline_that_is_past_is_the_nearest():
    jobs = job("a", deadline_s=202, ready_s=200), job("b", deadline_s=0.5, ready_s=200)
    assert turns(filled(*jobs), 2, now_s=200) == "ba"


def test_a_request_that_shares_nothing_is_taken_by_its_name_only():
    backlog = filled(job("shy", priority=1, alone=True), job("a"))
    assert backlog.alone(0) == "shy"
    assert take(backlog) == []  # nor what is less urgent: that would hold it up
    assert backlog.take_of("shy", 0).turn == "shy"
    assert backlog.alone(0) is None
    assert take(backlog) == [("a", 0)]


def test_withdrawing_takes_back_what_was_not_taken_of_that_request_alone():
    backlog = filled(*many("a", 5), *many("b", 2))
    taken = take(backlog, 2)
    assert [one.frame.seq for one in backlog.withdraw("a")] == [1, 2, 3, 4]
    assert taken == [("a", 0), ("b", 0)]
    assert backlog.withdraw("a") == backlog.withdraw("nobody") == []
    assert len(backlog) == 1
    assert take(backlog, 9) == [("b", 1)]


def test_it_says_what_it_holds():
    assert repr(filled(*many("a", 3), job("b"))) == "<Backlog 4 frames of 2 requests>"
    assert repr(Backlog()) == "<Backlog 0 frames of 0 requests>"


actions = st.one_of(
    st.tuples(
        st.just("add"), st.sampled_from("abcd"), st.integers(-3, 3),
        st.sampled_from([None, 0.5, 2, 30]), st.integers(1, 5),
    ),
    st.tuples(st.just("take"), st.integers(0, 9), st.floats(0, 5)),
    st.tuples(st.just("withdraw"), st.sampled_from("abcde")),
)  # fmt: skip


@given(st.lists(actions, max_size=60))
def test_nothing_is_lost_or_doubled_and_each_request_keeps_its_order(steps):
    backlog, now = Backlog(), 0.0
    added, waiting, out = 0, Counter(), {}
    for kind, *given_ in steps:
        if kind == "add":
            turn, priority, deadline, count = given_
            for _ in range(count):
                until = None if deadline is None else now + deadline
                backlog.add(job(turn, added, ready_s=now, priority=priority, deadline_s=until))
                added += 1
            waiting[turn] += count
        elif kind == "take":
            count, passed = given_
            now += passed
            got = take(backlog, count, now)
            assert len(got) == min(count, waiting.total())
            for turn, seq in got:
                waiting[turn] -= 1
                out.setdefault(turn, []).append(seq)
        else:
            got = backlog.withdraw(given_[0])
            assert len(got) == waiting.pop(given_[0], 0)
            out.setdefault(given_[0], []).extend(one.frame.seq for one in got)
        assert len(backlog) == waiting.total()
    for turn, seq in take(backlog, added, now):
        out.setdefault(turn, []).append(seq)
    assert sorted(seq for seqs in out.values() for seq in seqs) == list(range(added))
    assert all(seqs == sorted(seqs) for seqs in out.values())
