"""Windows against a list of frames and the contract's section "Which frames", in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framebuf.buffer.claims import Claims
from framebuf.buffer.window import Window
from framebuf.buffer.windowspec import WindowSpec
from framebuf.units import Size, Span
from tests.unit.rings import MS, PERIOD, Hand, ring_folder

HISTORY = 30
START = 10_000 * MS
ALL = 2**31 - 1


# the contract, in plain Python ----------------------------------------------------------------


@dataclass
class Answer:
    """What one window should be told."""

    members: list[int] = field(default_factory=list)
    """Frames of the window, by number."""
    in_stride: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Before thinning."""
    already_claimed: int = 0


def contract(times, spec, claimed, *, drain):
    """Which of the frames, captured at `times`, a window asks for. Drains add to `claimed`."""
    past = [seq for seq, mono_ns in enumerate(times) if mono_ns <= spec.moment_ns]
    to_come = [seq for seq, mono_ns in enumerate(times) if mono_ns > spec.moment_ns]
    before, after = spec.before, spec.after
    if before is not None and before.is_zero and after.is_zero:
        before_it = past[-1:]  # the one frame nearest before
    elif before is None:
        before_it = past[-HISTORY:]
    elif before.frames is not None:
        before_it = past[len(past) - min(before.frames, len(past)) :]
    else:
        before_it = [seq for seq in past if times[seq] >= spec.moment_ns - before.ns]
    if after.frames is not None:
        after_it = to_come[: after.frames]
    else:
        after_it = [seq for seq in to_come if times[seq] <= spec.moment_ns + after.ns]
    # the frame at or before the moment is number 0, the next ones 1, 2 …, those before −1, −2 …
    numbered = list(enumerate(before_it, 1 - len(before_it))) + list(enumerate(after_it, 1))
    answer = Answer([seq for _, seq in numbered])
    answer.in_stride = [seq for number, seq in numbered if number % spec.stride == 0]
    taken = {seq for seq in answer.members if seq in claimed} if drain else set()
    if drain:
        claimed.update(answer.members)
    answer.asked = [seq for seq in answer.in_stride if seq not in taken]
    answer.already_claimed = len(answer.in_stride) - len(answer.asked)
    return answer


def is_evenly_thinned(kept, of, limit):
    """Exactly `limit` of them, or all, in order, over the whole; gaps differ by a frame at most."""
    assert len(kept) == min(limit, len(of))
    if not kept:
        return True
    places = [of.index(seq) for seq in kept]
    steps = [b - a for a, b in pairwise(places)]
    assert all(step > 0 for step in steps)
    widest = -(-len(of) // len(kept))
    ends = (places[0] + 1, len(of) - places[-1])
    return max(ends) <= widest and (not steps or max(steps) - min(steps) <= 1)


# a feed, as the requests' thread has it -------------------------------------------------------


@dataclass
class Open:
    spec: WindowSpec
    window: Window
    asked: list = field(default_factory=list)
    started: bool = False

    @property
    def seqs(self):
        return [one.stamp.seq for one in self.asked]


class Feed:
    """Open windows over a buffer, looked after in order of acceptance whenever the test says."""

    def __init__(self, directory, **more):
        more = {"span": Span(frames=HISTORY), "memory": Size(2**21), **more}
        self.hand = Hand(directory, **more)
        self.buffer = self.hand.buffer
        self.claims = Claims()
        self.open: list[Open] = []
        self.now = START - 1  # before the first frame

    def capture(self, mono_ns, **more):
        self.now = max(self.now, mono_ns)
        return self.hand.frame(mono_ns, **more)

    def accept(self, spec, *, drain=False):
        self.look()
        one = Open(spec, Window(spec, self.claims if drain else None))
        self.open.append(one)
        self.look()
        return one

    def look(self):
        for one in self.open:
            if one.started:
                one.asked += one.window.extend(self.buffer.after(one.window.last_seq))
        for one in self.open:
            waits = one.spec.counts_from_moment
            until = self.buffer.captured_until(self.now)
            if not one.started and (not waits or until >= one.spec.moment_ns):
                newest = self.buffer.newest()
                seq = newest.seq if newest else -1
                one.asked += one.window.start(self.buffer, seq, self.now)
                one.started = True

    def pass_time(self, now):
        self.now = max(self.now, now)
        self.look()


def at_frame(number):
    return START + number * PERIOD


def window(moment, before=None, after=None, stride=1, max_frames=ALL):
    return WindowSpec(moment, before, after or Span(), stride, max_frames)


@pytest.fixture
def feed():
    with ring_folder() as directory:
        yield Feed(directory)


# spans whose ends fall on frames, beside them, and between
lengths = st.one_of(
    st.integers(0, 12).map(lambda n: Span(ns=n * PERIOD)),
    st.integers(0, 500).map(lambda ms: Span(ns=ms * MS)),
)
counts = st.integers(0, 12).map(lambda n: Span(frames=n))
befores = st.one_of(st.none(), lengths, counts)
afters = st.one_of(lengths, counts)
moments = st.one_of(
    st.integers(-3, 25).map(at_frame),
    st.integers(-100, 1000).map(lambda ms: START + ms * MS),
)
strides = st.sampled_from([1, 1, 1, 2, 3, 5])
steps = st.lists(st.one_of(st.just(PERIOD), st.integers(1, 3 * PERIOD)), min_size=0, max_size=40)


def times_of(steps):
    times, mono_ns = [], START
    for step in steps:
        times.append(mono_ns)
        mono_ns += step
    return times


@settings(max_examples=250, deadline=None)
@given(steps, moments, befores, afters, strides, st.booleans(), st.sets(st.integers(0, 39)))
def test_a_window_wholly_in_the_past_is_what_the_contract_says(
    steps, moment, before, after, stride, drain, claimed
):
    times = times_of(steps)
    with ring_folder() as directory:
        feed = Feed(directory)
        for mono_ns in times:
            feed.capture(mono_ns)
        for seq in claimed:
            feed.claims.claim(seq)
        feed.now += 60_000 * MS
        spec = window(moment, before, after, stride)
        one = feed.accept(spec, drain=drain)
    expected = contract(times, spec, set(claimed), drain=drain)
    assert one.seqs == expected.asked
    assert [asked.index for asked in one.asked] == list(range(len(one.asked)))
    assert one.window.thinned == 0
    assert one.window.already_claimed == expected.already_claimed
    members = [times[seq] for seq in expected.members]
    assert one.window.first_ns == (members[0] if members else None)
    assert one.window.last_ns == (members[-1] if members else None)


@settings(max_examples=250, deadline=None)
@given(steps, moments, befores, afters, strides, st.booleans(), st.integers(1, 12), st.booleans())
def test_thinning_a_window_in_the_past_keeps_exactly_max_frames_evenly_spread(
    steps, moment, before, after, stride, drain, limit, away
):
    times = times_of(steps)
    spec = window(moment, before, after, stride, limit)
    with ring_folder() as directory:
        feed = Feed(directory)
        for mono_ns in times:
            feed.capture(mono_ns)
        if away:
            feed.buffer.interrupted()
        if after.frames is None:
            feed.pass_time(moment + after.ns)
        elif len([t for t in times if t > moment]) < after.frames:
            return  # not in the past
        feed.now = max(feed.now, moment)
        one = feed.accept(spec, drain=drain)
    expected = contract(times, spec, set(), drain=drain)
    assert is_evenly_thinned(one.seqs, expected.asked, limit)
    assert one.window.thinned == len(expected.asked) - len(one.seqs)


@settings(max_examples=250, deadline=None)
@given(
    steps, moments, befores, afters, strides, st.booleans(), st.integers(0, 40),
    st.lists(st.booleans(), min_size=41, max_size=41),
)  # fmt: skip
@example([PERIOD] * 20, at_frame(10), Span(frames=0), Span(ns=200 * MS), 1, False, 5, [True] * 41)
def test_frames_in_several_chunks_are_the_same_as_in_one(
    steps, moment, before, after, stride, drain, accepted, looks
):
    times = times_of(steps)
    spec = window(moment, before, after, stride)
    with ring_folder() as directory:
        feed = Feed(directory)
        one = None
        for number, mono_ns in enumerate(times):
            if number == accepted:
                one = feed.accept(spec, drain=drain)
            feed.capture(mono_ns)
            if looks[number]:
                feed.look()
        one = one or feed.accept(spec, drain=drain)
        feed.pass_time(START + 60_000 * MS)
    expected = contract(times, spec, set(), drain=drain)
    assert one.seqs == expected.asked
    assert len(feed.claims) == (len(expected.members) if drain else 0)


# one request: when it comes (in frames), moment (in frames from then), spans, stride, mode
orders = st.tuples(
    st.integers(0, 40), st.integers(-12, 12), befores, afters, strides, st.booleans()
)


@settings(max_examples=250, deadline=None)
@given(st.lists(orders, max_size=6), st.lists(st.booleans(), min_size=41, max_size=41))
def test_first_accepted_first_served_and_windows_neither_claim_nor_are_blocked(orders, looks):
    """Drains whose first frame is not known yet, when they come, must wait: see below."""
    times = [at_frame(number) for number in range(40)]
    orders = sorted(orders, key=lambda order: order[0])
    with ring_folder() as directory:
        feed = Feed(directory)
        opened = []
        for number in range(41):
            for when, moment, before, after, stride, drain in orders:
                if when == number:
                    start = feed.now + moment * PERIOD
                    spec = window(start, before, after, stride)
                    if drain and spec.counts_from_moment:
                        spec = window(min(start, feed.now), before, after, stride)
                    opened.append((feed.accept(spec, drain=drain), drain))
            if number < 40:
                feed.capture(times[number])
                if looks[number]:
                    feed.look()
        feed.pass_time(START + 60_000 * MS)
    claimed: set[int] = set()
    for one, drain in opened:
        expected = contract(times, one.spec, claimed, drain=drain)
        assert one.seqs == expected.asked
        assert one.window.already_claimed == expected.already_claimed
    assert len(feed.claims) == len(claimed)


@settings(max_examples=200, deadline=None)
@given(
    steps, moments, befores, afters, strides, st.booleans(), st.integers(0, 40),
    st.integers(1, 12), st.sets(st.integers(1, 39), max_size=3), st.sampled_from([25.0, None]),
)  # fmt: skip
@example([PERIOD] * 4, at_frame(3), Span(frames=9), Span(ns=400 * MS), 1, False, 4, 10, {3}, 25.0)
def test_what_is_asked_for_and_what_is_missing_are_never_more_than_max_frames(
    steps, moment, before, after, stride, drain, accepted, limit, reopened, rate
):
    with ring_folder() as directory:
        feed = Feed(directory, rate=rate)
        one = None
        spec = window(moment, before, after, stride, limit)
        for number, mono_ns in enumerate(times_of(steps)):
            if number == accepted:
                one = feed.accept(spec, drain=drain)
            if number in reopened:
                feed.buffer.interrupted()
                feed.buffer.opened(rate)
            feed.capture(mono_ns)
            feed.look()
        feed.buffer.interrupted()
        one = one or feed.accept(spec, drain=drain)
        feed.pass_time(START + 60_000 * MS)
        missing = tuple(one.window.missing(feed.buffer, feed.now).values())
    assert min(missing) >= 0
    assert one.window.asked == len(one.asked)
    assert one.window.asked + sum(missing) <= limit


# by example -----------------------------------------------------------------------------------


def captured(feed, count, first=0):
    for number in range(first, first + count):
        feed.capture(at_frame(number))


def test_before_and_after_count_frames_or_time(feed):
    captured(feed, 20)
    moment = at_frame(10)
    for before, after, expected in [
        (Span(frames=3), Span(frames=2), [8, 9, 10, 11, 12]),
        (Span(ns=2 * PERIOD), Span(ns=PERIOD), [8, 9, 10, 11]),
        (Span(ns=2 * PERIOD - 1), Span(frames=1), [9, 10, 11]),
        (Span(frames=0), Span(frames=2), [11, 12]),
        (Span(ns=0), Span(frames=2), [10, 11, 12]),
        (Span(frames=1), Span(), [10]),
    ]:
        assert feed.accept(window(moment, before, after)).seqs == expected


def test_a_window_without_length_is_the_frame_nearest_before(feed):
    captured(feed, 20)
    for moment, expected in [
        (at_frame(10), [10]), (at_frame(10) - 1, [9]), (at_frame(10) + PERIOD - 1, [10]),
        (at_frame(500), [19]), (at_frame(0) - 1, []),
    ]:  # fmt: skip
        feed.now = max(feed.now, moment)
        for zero in (Span(), Span(frames=0)):
            one = feed.accept(window(moment, zero, Span()))
            assert one.seqs == expected
            assert one.window.missing(feed.buffer, feed.now)["not_captured"] == 1 - len(expected)


def test_the_one_frame_is_asked_for_however_late_the_next_one_is(feed):
    """A live camera is often late by a little; max_frames = 1 must not thin the frame away."""
    captured(feed, 5)
    feed.now = at_frame(4) + 2 * PERIOD
    for before in (Span(), Span(frames=1)):
        assert feed.accept(window(feed.now, before, max_frames=1)).seqs == [4]
    assert len(feed.accept(window(feed.now, Span(frames=3), max_frames=3)).seqs) == 3


def test_a_window_of_counted_frames_to_come_is_thinned_over_all_of_them(feed):
    captured(feed, 5)
    one = feed.accept(window(feed.now, Span(frames=0), Span(frames=20), max_frames=5))
    for number in range(5, 30):
        feed.capture(at_frame(number))
        feed.look()
    assert is_evenly_thinned(one.seqs, list(range(5, 25)), 5)
    assert one.window.thinned == 15


@pytest.mark.parametrize("stride", [1, 3])
def test_a_timed_window_to_come_is_thinned_by_the_cameras_rate_and_never_beyond(feed, stride):
    captured(feed, 5)
    spec = window(feed.now, Span(), Span(ns=20 * PERIOD), stride, max_frames=4)
    one = feed.accept(spec)
    for number in range(5, 30):
        feed.capture(at_frame(number))
        feed.look()
    assert is_evenly_thinned(one.seqs, list(range(4, 25, stride)), 4)
    # begun in the middle of a stride, every frame is still expected once
    middle = feed.accept(window(at_frame(27), Span(), Span(ns=7 * PERIOD), 3, max_frames=2))
    captured(feed, 6, first=30)
    feed.look()
    assert middle.seqs == [27, 33]
    # faster than it said: still no more
    fast = feed.accept(window(feed.now, Span(), Span(ns=20 * PERIOD), stride, max_frames=4))
    for number in range(100):
        feed.capture(at_frame(36) + number * PERIOD // 5)
        feed.look()
    assert len(fast.seqs) == 4


def test_a_moment_to_come_is_waited_for_where_its_frames_cannot_be_told_yet(feed):
    captured(feed, 5)
    moment = at_frame(4) + 5000 * MS
    counted = feed.accept(window(moment, Span(frames=2), Span(frames=1)))
    timed = feed.accept(window(moment, Span(ns=PERIOD), Span(ns=PERIOD)))
    nearest = feed.accept(window(moment, Span(), Span()))
    captured(feed, 200, first=5)
    feed.look()
    assert counted.seqs == [128, 129, 130]
    assert timed.seqs == [128, 129, 130]
    assert nearest.seqs == [129]


def test_a_frame_that_has_arrived_at_the_moment_is_waited_for(feed):
    captured(feed, 3)
    slot = feed.buffer.begin(feed.buffer.newest().captured.shifted(PERIOD), 2, 2)
    feed.now = at_frame(3) + 1
    nearest = feed.accept(window(feed.now, Span(), Span()))
    assert not nearest.started
    feed.buffer.commit(slot)
    feed.look()
    assert nearest.seqs == [3]


def test_evicted_and_dropped_frames_are_asked_for_and_say_why_they_are_gone(feed):
    captured(feed, 60)  # of 55 slots: 0 to 4 are evicted
    leases = [feed.buffer.lease(seq) for seq in range(5, 60)]
    captured(feed, 3, first=60)
    leases.pop(0).release()
    captured(feed, 1, first=63)
    one = feed.accept(window(feed.now, Span(ns=80 * PERIOD)))
    assert one.seqs == list(range(64))
    stamps = [asked.stamp for asked in one.asked]
    gone = {s.seq: feed.buffer.why_gone(s) for s in stamps if feed.buffer.lease(s.seq) is None}
    assert gone == dict.fromkeys(range(6), "evicted") | dict.fromkeys(range(60, 63), "memory")


def test_a_larger_frame_midway_loses_nothing_that_memory_holds(feed):
    captured(feed, 10)
    lease = feed.buffer.lease(4)
    feed.capture(at_frame(10), height=60, width=40)
    feed.capture(at_frame(11), height=60, width=40)
    one = feed.accept(window(feed.now, Span(frames=12)))
    assert one.seqs == list(range(12))
    assert int(lease.frame.pixels[0, 0, 0]) == 4 * 37 + 1
    lease.release()
    feed.capture(at_frame(12), height=60, width=40)
    heights = [feed.buffer.lease(s.stamp.seq).frame.pixels.shape[0] for s in one.asked]
    assert len(set(heights[:10])) == 1
    assert heights[10:] == [60, 60]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Span(frames=2), Span(frames=1), [3, 4, 6]),
        (Span(frames=0), Span(frames=1), [6]),
        (Span(), Span(), [4]),
        (Span(ns=2 * PERIOD), Span(frames=1), [4, 5, 6]),
        (None, Span(frames=1), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_frame_told_late_is_never_one_too_many_of_a_count(feed, before, after, expected):
    """Its stamp is older than the moment, but it was still being decoded then."""
    captured(feed, 5)
    feed.now = at_frame(5) + 5
    one = feed.accept(window(feed.now, before, after))
    feed.capture(at_frame(5))
    feed.capture(at_frame(6))
    feed.look()
    assert one.seqs == expected


def test_a_frame_captured_at_the_very_moment_is_no_second_one_of_a_single_frame(feed):
    captured(feed, 5)
    feed.now = at_frame(5)
    one = feed.accept(window(feed.now, Span(), Span()))
    feed.capture(at_frame(5))
    feed.look()
    assert one.seqs == [4]


def test_not_captured_are_the_frames_of_a_count_that_there_were_not(feed):
    captured(feed, 4)
    one = feed.accept(window(feed.now, Span(frames=10), Span(frames=6)))
    assert (one.seqs, one.window.missing(feed.buffer, feed.now)["not_captured"]) == (
        [0, 1, 2, 3],
        12,
    )
    captured(feed, 2, first=4)
    feed.look()
    assert (one.seqs, one.window.missing(feed.buffer, feed.now)["not_captured"]) == (
        [0, 1, 2, 3, 4, 5],
        10,
    )
    by_three = feed.accept(window(at_frame(3), Span(frames=10), Span(frames=6), stride=3))
    assert by_three.seqs == [0, 3]
    assert (
        by_three.window.missing(feed.buffer, feed.now)["not_captured"] == 2 + 2
    )  # −6 and −9; 3 and 6


def test_a_gap_within_a_timed_window_is_counted(feed):
    captured(feed, 5)
    feed.buffer.interrupted()
    feed.buffer.opened(25.0)
    captured(feed, 5, first=15)
    one = feed.accept(window(feed.now, Span(ns=19 * PERIOD)))
    assert (len(one.asked), one.window.missing(feed.buffer, feed.now)["camera_gap"]) == (10, 10)
    strided = feed.accept(window(feed.now, Span(ns=19 * PERIOD), stride=2))
    assert (len(strided.asked), strided.window.missing(feed.buffer, feed.now)["camera_gap"]) == (
        5,
        5,
    )


def test_a_timed_window_is_closed_once_its_end_is_settled_and_every_frame_considered(feed):
    captured(feed, 5)
    one = feed.accept(window(feed.now, Span(), Span(ns=3 * PERIOD)))
    end = at_frame(7)
    assert not one.window.closed(feed.buffer, end - 1)
    assert one.window.closed(feed.buffer, end)
    feed.capture(end)
    assert not one.window.closed(feed.buffer, end + 1), "its last frame was not considered yet"
    feed.look()
    assert one.seqs == [4, 5]
    assert one.window.closed(feed.buffer, end + 1)


def test_a_counted_window_is_closed_by_its_last_frame_however_long_that_takes(feed):
    captured(feed, 5)
    one = feed.accept(window(feed.now, Span(frames=0), Span(frames=2)))
    assert not one.window.closed(feed.buffer, feed.now + 10**12)
    captured(feed, 2, first=5)
    feed.look()
    assert one.window.closed(feed.buffer, feed.now)


def test_frames_newer_than_the_start_knows_are_left_to_those_accepted_before(feed):
    captured(feed, 5)
    first = feed.accept(window(feed.now - PERIOD, Span(), Span(ns=5 * PERIOD)), drain=True)
    captured(feed, 1, first=5)
    for moment in (feed.now, feed.now - 1):
        later = Window(window(moment, Span(frames=5), Span(frames=5)), feed.claims)
        asked = later.start(
            feed.buffer, 4, feed.now
        )  # frame 5 came after the others were looked at
        assert 5 not in [one.stamp.seq for one in asked]
    feed.look()
    assert 5 in first.seqs


@pytest.mark.parametrize(
    ("spec", "can"),
    [
        (window(at_frame(2), Span()), True),
        (window(at_frame(-1), Span()), False),
        (window(at_frame(-1), Span(), Span(ns=PERIOD)), True),
        (window(at_frame(-3), Span(), Span(ns=PERIOD)), False),
        (window(at_frame(-3), Span(), Span(frames=1)), True),
        (window(at_frame(50), Span(ns=PERIOD), Span(ns=PERIOD)), True),
        (window(at_frame(9), Span(ns=PERIOD), Span()), False),
    ],
)
def test_a_window_can_be_filled_if_it_has_a_frame_or_may_still_get_one(feed, spec, can):
    captured(feed, 5)
    assert Window(spec, None).can_fill(feed.buffer, at_frame(10)) == can


def test_claims_of_frames_that_no_history_knows_are_forgotten():
    claims = Claims()
    for seq in range(2000):
        assert claims.claim(seq)
    claims.forget_before(1500)
    assert len(claims) == 500
    assert not claims.claim(1500)
    assert not claims.claim(1999)


def long_ago(feed, *, away=()):
    """A camera of whose first frames not even the stamps are left; when the first known one was."""
    for number in range(30 * HISTORY):
        if number in away:
            feed.buffer.interrupted()
            feed.buffer.opened(25.0)
        else:
            feed.capture(at_frame(number))
    assert feed.buffer.after(-1)[0].seq > 20
    return feed.buffer.after(-1)[0].mono_ns


@pytest.mark.parametrize(
    ("moment", "before", "after", "missing"),
    [
        (10, Span(ns=4 * PERIOD), Span(), {"evicted": 5}),
        (10, Span(ns=4 * PERIOD), Span(ns=3 * PERIOD), {"evicted": 8}),
        (10, Span(frames=4), Span(), {"evicted": 4}),
        (10, Span(), Span(), {"evicted": 1}),
        (10, None, Span(), {"evicted": 11}),
        (2, Span(ns=4 * PERIOD), Span(), {"evicted": 3, "camera_gap": 2}),
        (2, Span(frames=4), Span(), {"evicted": 3, "not_captured": 1}),
        (-9, Span(ns=4 * PERIOD), Span(), {"camera_gap": 5}),
        (-9, Span(frames=4), Span(), {"not_captured": 4}),
    ],
)
def test_a_window_older_than_all_stamps_says_evicted_where_frames_were(
    feed, moment, before, after, missing
):
    feed.buffer.opened(25.0)
    assert at_frame(10) < long_ago(feed)
    one = feed.accept(window(at_frame(moment), before, after))
    feed.look()
    assert one.asked == []
    told = one.window.missing(feed.buffer, feed.now)
    assert {reason: count for reason, count in told.items() if count} == missing
    assert one.window.closed(feed.buffer, feed.now)


def test_a_gap_among_frames_long_gone_is_still_a_gap(feed):
    feed.buffer.opened(25.0)
    long_ago(feed, away={8, 9})
    one = feed.accept(window(at_frame(12), Span(ns=6 * PERIOD)))
    told = one.window.missing(feed.buffer, feed.now)
    assert told == {"evicted": 5, "not_captured": 0, "camera_gap": 2}


def test_a_camera_that_is_away_still_knows_of_frames_that_are_gone(feed):
    feed.buffer.opened(25.0)
    long_ago(feed)
    feed.buffer.interrupted()
    old = Window(window(at_frame(10), Span(ns=4 * PERIOD)), None)
    older = Window(window(at_frame(-9), Span(ns=4 * PERIOD)), None)
    now = feed.now + 60_000 * MS
    assert old.can_fill(feed.buffer, now)
    assert not older.can_fill(feed.buffer, now)
