"""How many frames a memory holds."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from framebuf.buffer.extent import extent, smallest
from framebuf.buffer.layout import Shape
from framebuf.units import SECOND_NS, Size, Span

spans = st.one_of(
    st.integers(1, 3000).map(lambda frames: Span(frames=frames)),
    st.integers(1, 120_000).map(lambda ms: Span(ns=ms * 10**6)),
)
rates = st.one_of(st.floats(0.05, 240), st.sampled_from([1.0, 25.0, 29.97, 30.0]))
frames = st.one_of(st.integers(1, 20_000), st.sampled_from([640 * 480 * 3, 1920 * 1080 * 3]))
PLENTY = Size(2**62)


def asked(span, rate):
    return span.frames or max(1, -(-round(span.ns * rate) // SECOND_NS))


def file_bytes(slots, frame_bytes):
    return Shape(slots, frame_bytes, 2 * slots).file_bytes


@given(spans, rates, frames)
def test_with_room_for_it_there_is_the_whole_history_and_a_quarter_at_least_a_second(
    span, rate, frame_bytes
):
    size = extent(span, PLENTY, rate, frame_bytes)
    assert size.history == asked(span, rate)
    assert size.headroom == max(-(-size.history // 4), round(rate), 1)
    assert not size.shortened


@settings(max_examples=300)
@given(spans, rates, frames, st.integers(0, 2**30))
@example(Span(frames=10), 25.0, 12, 34 * 5000)
def test_the_file_with_all_that_stands_beside_the_pixels_is_within_memory(
    span, rate, frame_bytes, memory
):
    size = extent(span, Size(memory), rate, frame_bytes)
    if size is None:
        assert file_bytes(2, frame_bytes) > memory
        return
    full = extent(span, PLENTY, rate, frame_bytes)
    assert size.slots == size.history + size.headroom
    assert min(size.history, size.headroom) >= 1
    assert size.shape(frame_bytes).file_bytes == file_bytes(size.slots, frame_bytes) <= memory
    assert size.history <= full.history
    assert size.headroom <= full.headroom
    assert size.shortened == (size.history < full.history)
    if size.slots < full.slots:
        assert file_bytes(size.slots + 1, frame_bytes) > memory, "room was left"


@given(spans, rates, frames)
def test_the_smallest_memory_holds_two_frames_and_one_byte_less_does_not(span, rate, frame_bytes):
    least = smallest(frame_bytes)
    assert least == file_bytes(2, frame_bytes)
    assert extent(span, Size(least), rate, frame_bytes).slots == 2
    assert extent(span, Size(least - 1), rate, frame_bytes) is None


def test_a_short_history_is_kept_whole_and_only_its_headroom_cut():
    """Ten frames want a second beside them; where that does not fit, they still are ten."""
    size = extent(Span(frames=10), Size(file_bytes(34, 12)), 25.0, 12)
    assert (size.history, size.headroom, size.shortened) == (10, 24, False)


def test_a_shortened_history_leaves_a_second_or_a_quarter_beside_it():
    size = extent(Span(ns=60 * SECOND_NS), Size(file_bytes(500, 12)), 30.0, 12)
    assert (size.history, size.headroom, size.shortened) == (400, 100, True)
    size = extent(Span(ns=60 * SECOND_NS), Size(file_bytes(100, 12)), 30.0, 12)
    assert (size.history, size.headroom, size.shortened) == (70, 30, True)
