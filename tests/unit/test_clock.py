"""Stamps by a stream's clock, over the ways in which packets arrive."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf.capture.clock import StreamClock
from framebuf.units import SECOND_NS, Moment

MS = 10**6
STEP = 40 * MS
START = 1000 * SECOND_NS
UTC = 1_800_000_000 * SECOND_NS


def at(mono_ns: int) -> Moment:
    return Moment(mono_ns, UTC + mono_ns)


def stamps(packets, clock=None):
    """Stamps of (stream time, arrival) as Stream asks for them: the first once it has settled."""
    clock = clock or StreamClock()
    out, held = [], []
    for stream_ns, mono_ns in packets:
        clock.arrived(stream_ns, mono_ns)
        held.append((stream_ns, mono_ns))
        if clock.settled:
            out += [clock.stamp(time_ns, at(arrived)) for time_ns, arrived in held]
            held = []
    out += [clock.stamp(time_ns, at(arrived)) for time_ns, arrived in held]
    assert all(moment.utc_ns - moment.mono_ns == UTC for moment in out)
    return [moment.mono_ns for moment in out]


def steady(count, lag=5 * MS, start=START):
    return [(n * STEP, start + n * STEP + lag) for n in range(count)]


def test_what_libav_held_back_while_it_opened_the_stream_is_stamped_when_it_was_captured():
    opened = START + 14 * STEP
    bunch = [(n * STEP, max(opened + n * MS // 10, START + n * STEP)) for n in range(40)]
    assert stamps(bunch) == [START + n * STEP for n in range(40)]


def test_frames_that_the_network_held_back_are_not_bunched():
    packets = steady(100)
    for n in range(50, 70):
        packets[n] = (packets[n][0], packets[70][1] + n)
    assert stamps(packets) == [START + 5 * MS + n * STEP for n in range(100)]


def test_what_takes_longer_for_good_is_taken_for_the_way_after_two_seconds():
    packets = steady(100)
    packets[25:] = [(time_ns, arrived + 800 * MS) for time_ns, arrived in packets[25:]]
    lag = [arrived - stamp for (_, arrived), stamp in zip(packets, stamps(packets), strict=True)]
    assert set(lag[:25]) == {0}
    assert set(lag[25:76]) == {800 * MS}
    assert set(lag[76:]) == {0}


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_is_followed(ppm):
    drifting = [(n * STEP, START + n * STEP + n * STEP * ppm // 10**6) for n in range(25 * 600)]
    late = [arrived - stamp for (_, arrived), stamp in zip(drifting, stamps(drifting), strict=True)]
    assert min(late) >= 0
    assert max(late) <= 2 * MS


def test_without_times_arrival_is_the_stamp():
    packets = [(None, START + n * STEP) for n in range(5)]
    clock = StreamClock()
    assert stamps(packets, clock) == [arrived for _, arrived in packets]
    assert clock.settled
    assert clock.offset_ns is None
    assert repr(clock) == "<StreamClock by arrival, lag 0.0 ms>"


def test_a_frame_without_a_time_among_others_is_stamped_on_arrival():
    packets = steady(30)
    packets[20] = (None, packets[20][1] + 7 * MS)
    assert stamps(packets)[19:22] == [START + 5 * MS + 19 * STEP, packets[20][1], packets[21][1]]


@pytest.mark.parametrize("jump", [-3600 * SECOND_NS, 3600 * SECOND_NS, -500 * MS, -10 * SECOND_NS])
def test_a_clock_that_jumps_is_followed_from_the_frame_on_at_which_it_jumps(jump):
    packets = steady(50)
    packets[25:] = [(time_ns + jump, arrived) for time_ns, arrived in packets[25:]]
    assert stamps(packets) == [START + 5 * MS + n * STEP for n in range(50)]


def test_the_first_bunch_is_over_when_packets_come_as_slowly_as_they_were_captured():
    clock = StreamClock()
    for n in range(10):
        clock.arrived(n * STEP, START + n)
    assert not clock.settled
    for n in range(10, 13):
        assert not clock.settled
        clock.arrived(n * STEP, START + (n - 9) * STEP)
    assert clock.settled


def test_a_bunch_without_end_is_not_waited_for():
    clock = StreamClock()
    for n in range(1001):
        assert not clock.settled
        clock.arrived(n * STEP, START + n * MS)
    assert clock.settled


@given(
    seed=st.integers(),
    loss=st.floats(0, 0.3),
    jitter_ms=st.integers(0, 300),
    jumps=st.lists(st.integers(-(10**13), 10**13), max_size=3),
)
def test_stamps_rise_and_are_never_after_arrival(seed, loss, jitter_ms, jumps):
    chance = random.Random(seed)
    arrived = START
    packets = []
    for n in range(200):
        jump = jumps[n * len(jumps) // 200] if jumps else 0
        arrived = max(arrived + 1, START + n * STEP + chance.randrange(jitter_ms * MS + 1))
        packets.append((None if chance.random() < loss else n * STEP + jump, arrived))
    found = stamps(packets)
    assert all(a < b for a, b in pairwise(found))
    assert all(stamp <= came for stamp, (_, came) in zip(found, packets, strict=True))
