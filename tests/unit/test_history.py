"""History against plain lists, and gaps against a camera that ticks for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framebuf.buffer.history import History, Stamp
from tests.unit.rings import MS, PERIOD, at

times = st.lists(st.integers(0, 60), max_size=30).map(sorted)
some_time = st.integers(-5, 65)


def history(mono, keep=10**6, period_ns=None):
    made = History()
    made.period_ns = period_ns
    for seq, mono_ns in enumerate(mono):
        made.append(Stamp(seq, at(mono_ns)), keep)
    return made


def seqs(stamps):
    return [stamp.seq for stamp in stamps]


@given(times, some_time, some_time)
def test_between_takes_both_ends_as_a_list_would(mono, start, end):
    expected = [seq for seq, t in enumerate(mono) if start <= t <= end]
    assert seqs(history(mono).between(start, end)) == expected


@given(times, some_time, st.integers(0, 35))
def test_the_newest_until_a_moment_include_it(mono, end, count):
    until = [seq for seq, t in enumerate(mono) if t <= end]
    assert seqs(history(mono).newest_until(end, count)) == until[max(0, len(until) - count) :]


@given(times, st.integers(-1, 35))
def test_after_a_frame_come_those_with_higher_numbers(mono, seq):
    assert seqs(history(mono).after(seq)) == list(range(seq + 1, len(mono)))


@given(st.integers(1, 20), st.integers(0, 100))
def test_trimming_keeps_the_newest_at_least_and_no_more_than_twice_as_many(keep, count):
    made = history(range(count), keep)
    left = seqs(made.after(-1))
    assert left == list(range(count - len(left), count))
    assert min(keep, count) <= len(left) <= 2 * keep
    assert made.newest == (made.after(-1)[-1] if count else None)
    assert made.oldest == (made.after(-1)[0] if count else None)


def test_what_was_handed_out_does_not_change_when_the_history_is_trimmed():
    made = history(range(5), keep=5)
    handed = made.after(-1)
    for seq in range(5, 50):
        made.append(Stamp(seq, at(seq)), keep=5)
    assert seqs(handed) == [0, 1, 2, 3, 4]


def test_the_period_is_the_sources_word_or_the_median_of_the_last_frames():
    assert history([]).typical_period_ns() is None
    assert history([5]).typical_period_ns() is None
    assert history([0, 40, 80, 5000, 5040]).typical_period_ns() == 40
    slow_then_fast = [100 * n for n in range(50)] + [5000 + 10 * n for n in range(50)]
    assert history(slow_then_fast).typical_period_ns() == 10
    assert history([0, 40, 80], period_ns=33).typical_period_ns() == 33


class Ticking:
    """A camera whose every tick is a frame, but for those while it was away."""

    def __init__(self, present, keep=10**6):
        self.present = present
        self.history = History()
        self.history.period_ns = PERIOD
        seq = 0
        for tick, here in enumerate(present):
            if here:
                gap = seq > 0 and not present[tick - 1]
                self.history.append(Stamp(seq, at(tick * PERIOD), after_gap=gap), keep)
                seq += 1
        self.last = len(present) - 1 - present[::-1].index(True)

    def lost(self, start, end, *, open_gap):
        """Ticks in [start, end] without a frame; those since the last one only if it is away."""
        first, last = -(-start // PERIOD), end // PERIOD
        until = last if open_gap else min(last, self.last)
        return sum(
            not (0 <= tick < len(self.present) and self.present[tick])
            for tick in range(first, until + 1)
        )

    def forgotten(self, start, end):
        """Ticks in [start, end] that were frames, older than the stamps that are left."""
        oldest = self.history.oldest.mono_ns // PERIOD
        ticks = range(max(0, -(-start // PERIOD)), min(oldest - 1, end // PERIOD) + 1)
        return sum(self.present[tick] for tick in ticks)


@st.composite
def cameras(draw):
    runs = draw(st.lists(st.integers(1, 8), min_size=1, max_size=8))
    present = [bool((n + 1) % 2) for n, run in enumerate(runs) for _ in range(run)]
    present = [False] * draw(st.integers(0, 3)) + present
    return Ticking(present, draw(st.sampled_from([1, 2, 3, 5, 8, 10**6])))


@settings(max_examples=300, deadline=None)
@given(cameras(), st.integers(-200, 2500), st.integers(0, 2500), st.booleans())
def test_what_a_gap_took_is_what_the_camera_would_have_given(camera, start, length, open_gap):
    start, end = start * MS, (start + length) * MS
    lost = camera.history.lost_in_gaps(start, end, open_gap=open_gap)
    known = camera.history.oldest.mono_ns
    later = camera.lost(max(start, known), end, open_gap=open_gap)
    earlier = camera.lost(start, min(end, known - 1), open_gap=True)
    assert lost == later + earlier


@settings(max_examples=300, deadline=None)
@given(cameras(), st.integers(-200, 2500), st.integers(0, 2500))
def test_what_is_forgotten_are_the_frames_that_there_were(camera, start, length):
    start, end = start * MS, (start + length) * MS
    assert camera.history.forgotten(start, end) == camera.forgotten(start, end)


def test_no_more_than_so_many_runs_of_forgotten_frames_are_remembered():
    made = History()
    made.period_ns = PERIOD
    for seq in range(1000):
        made.append(Stamp(seq, at(2 * seq * PERIOD), after_gap=True), 1)
    assert made.forgotten(0, 2000 * PERIOD) == History.MOST_RUNS


def test_jitter_is_no_gap():
    late = [0, 40, 115, 120, 160, 290, 300]
    assert history(late, period_ns=40).lost_in_gaps(0, 300, open_gap=False) == 0


def test_a_gap_ends_with_its_frame_whenever_the_camera_began_to_tick_again():
    for shift in range(-19, 20):
        made = history([0, 40], period_ns=40)
        made.append(Stamp(2, at(240 + shift), after_gap=True), 100)
        # ticks at 80, 120, 160, 200; the one at 240 is the frame itself
        assert made.lost_in_gaps(0, 300, open_gap=False) == 4


@pytest.mark.parametrize(("told", "lost"), [(None, 1), (40, 25)])
def test_with_no_frame_ever_what_is_lost_is_the_rates_word_or_one(told, lost):
    assert history([], period_ns=told).lost_in_gaps(0, 1000, open_gap=True) == lost


def test_one_frame_and_no_rate_lose_one_while_the_camera_is_away():
    assert history([0]).lost_in_gaps(0, 1000, open_gap=True) == 1
    assert history([0]).lost_in_gaps(0, 1000, open_gap=False) == 0
