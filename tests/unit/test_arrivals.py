"""What a buffer says of moments whose frames may still be on their way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf.buffer.arrivals import Arrivals
from tests.unit.rings import MS, PERIOD, Hand, at, ring_folder

LATE = 500 * MS
STALE = 2000 * MS


@pytest.fixture
def hand():
    with ring_folder() as directory:
        yield Hand(directory)


def live(hand, *times):
    """A stream that has given frames of these stamps."""
    hand.buffer.opened(25.0, LATE)
    for mono_ns in times:
        assert arrive(hand, mono_ns) == mono_ns


def arrive(hand, mono_ns):
    """A frame through all its stages; its stamp, None where it is let go."""
    captured = hand.buffer.arrived(at(mono_ns))
    if captured is None:
        return None
    slot = hand.buffer.begin(captured, 2, 2)
    hand.buffer.commit(slot)
    return hand.buffer.newest().mono_ns


def test_a_camera_that_stamps_on_arrival_is_certain_up_to_now(hand):
    hand.frame(1000 * MS)
    assert hand.buffer.captured_until(1030 * MS) == 1030 * MS


def test_a_frame_that_has_arrived_holds_certainty_back_until_it_is_committed(hand):
    captured = hand.buffer.arrived(at(1000 * MS))
    assert hand.buffer.captured_until(1010 * MS) == 1000 * MS - 1
    slot = hand.buffer.begin(captured, 2, 2)
    assert hand.buffer.captured_until(1020 * MS) == 1000 * MS - 1
    hand.buffer.commit(slot)
    assert hand.buffer.captured_until(1020 * MS) == 1020 * MS


def test_a_stream_is_certain_up_to_its_newest_frame_or_its_lateness(hand):
    live(hand, 1000 * MS)
    assert hand.buffer.captured_until(1030 * MS) == 1000 * MS
    hand.buffer.opened(1.0, LATE)  # a slow one
    assert hand.buffer.captured_until(1700 * MS) == 1200 * MS


def test_frames_that_fps_passes_over_tell_the_time_too(hand):
    live(hand, 1000 * MS)
    assert hand.buffer.arrived(at(1040 * MS)) == at(1040 * MS)
    hand.buffer.passed_over()
    assert hand.buffer.captured_until(1050 * MS) == 1040 * MS


def test_a_stream_that_stands_still_is_waited_for_until_it_is_stale(hand):
    live(hand, 1000 * MS)
    assert hand.buffer.captured_until(2900 * MS) == 1000 * MS + 3 * PERIOD
    assert hand.buffer.captured_until(3001 * MS) == 3001 * MS
    hand.buffer.interrupted()
    assert hand.buffer.captured_until(3002 * MS) == 3002 * MS


def test_what_comes_in_one_go_after_that_keeps_its_stamps(hand):
    live(hand, 1000 * MS)
    hand.buffer.captured_until(1900 * MS)
    late = [1000 * MS + n * PERIOD for n in range(4, 24)]
    assert [arrive(hand, mono_ns) for mono_ns in late] == late


def test_a_frame_later_than_was_waited_for_is_let_go(hand):
    live(hand, 1000 * MS)
    hand.buffer.opened(1.0, LATE)
    arrive(hand, 1001 * MS)
    assert hand.buffer.captured_until(1900 * MS) == 1400 * MS
    assert arrive(hand, 1100 * MS) is None
    assert arrive(hand, 1400 * MS) is None
    assert arrive(hand, 1401 * MS) == 1401 * MS


def test_a_frame_stamped_on_arrival_that_meets_the_question_is_stamped_just_after_it(hand):
    assert hand.buffer.captured_until(1000 * MS) == 1000 * MS
    assert arrive(hand, 1000 * MS - 5000) == 1000 * MS + 1


def test_frames_of_a_time_that_was_told_to_be_a_gap_are_let_go_when_a_stream_comes_back(hand):
    live(hand, 1000 * MS)
    hand.buffer.interrupted()
    assert hand.buffer.settled_until(3000 * MS) == 3000 * MS
    hand.buffer.opened(25.0, LATE)
    assert arrive(hand, 2960 * MS) is None
    assert arrive(hand, 3000 * MS) is None
    assert arrive(hand, 3040 * MS) == 3040 * MS


def test_frames_of_a_gap_that_nobody_asked_about_are_kept(hand):
    live(hand, 1000 * MS)
    hand.buffer.interrupted()
    hand.buffer.opened(25.0, LATE)
    assert arrive(hand, 1500 * MS) == 1500 * MS


@given(
    lateness=st.sampled_from([0, LATE]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["frame", "pass", "ask", "arrive", "open", "lose"]),
            st.integers(0, 300),
            st.integers(0, 1500),
        ),
        max_size=60,
    ),
)
def test_no_frame_ever_appears_at_or_before_a_moment_that_was_told(lateness, steps):
    arrivals = Arrivals(STALE)
    arrivals.opened(lateness)
    now, told, newest = 10_000 * MS, -1, -1
    pending = False
    for what, wait, lag in steps:
        now += wait * MS
        if what == "ask":
            told = max(told, arrivals.told(arrivals.certain_until(now, PERIOD)))
            continue
        if pending:
            arrivals.ended()
            pending = False
        if what == "open":
            arrivals.opened(lateness)
        elif what == "lose":
            arrivals.interrupted()
        else:  # stamps rise, as those of a source do
            stamp = arrivals.arrived(at(max(newest + 1, now - (lag * MS if lateness else 0))))
            if stamp is not None:
                assert stamp.mono_ns > told
                newest = stamp.mono_ns
                pending = what == "arrive"
                if not pending:
                    arrivals.ended()
