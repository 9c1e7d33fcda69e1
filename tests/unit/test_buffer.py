"""Buffer: what is known when, what new rings keep, and what memory costs."""

from __future__ import annotations

import logging
import struct

import pytest

from framebuf.buffer.layout import PAGE
from framebuf.buffer.ring import FrameRing
from framebuf.errors import ConfigError, RingError
from framebuf.units import Size, Span
from tests.unit.rings import MS, PERIOD, Hand, at, colour, ring_folder


@pytest.fixture
def directory():
    with ring_folder() as folder:
        yield folder


def seqs(stamps):
    return [stamp.seq for stamp in stamps]


def files(directory):
    return sorted(path.name for path in directory.path.iterdir() if path.suffix == ".ring")


def whole(buffer):
    """The seqs of all frames that can be leased, their pixels checked."""
    found = []
    for stamp in buffer.after(-1):
        if lease := buffer.lease(stamp.seq):
            assert intact(lease)
            found.append(stamp.seq)
            lease.release()
    return found


def intact(lease):
    return bool((lease.frame.pixels == colour(lease.seq)).all())


# what is known when ---------------------------------------------------------------------------


def test_a_frame_that_has_arrived_holds_the_moment_back_until_it_is_there(directory):
    hand = Hand(directory)
    assert hand.buffer.captured_until(500) == 500
    slot = hand.buffer.begin(at(1000), 2, 2)
    assert hand.buffer.captured_until(900) == 900
    assert hand.buffer.captured_until(5000) == 999
    assert hand.buffer.settled_until(5000) == 999
    assert not hand.buffer.after(-1)
    hand.buffer.commit(slot)
    assert hand.buffer.captured_until(5000) == 5000
    assert seqs(hand.buffer.after(-1)) == [0]


def test_a_frame_that_came_to_nothing_holds_the_moment_back_no_longer(directory):
    hand = Hand(directory)
    slot = hand.buffer.begin(at(1000), 2, 2)
    hand.buffer.discard(slot)
    assert hand.commits == 1, "who waits for it must be told"
    assert hand.buffer.captured_until(5000) == 5000


def test_a_live_camera_that_is_late_may_be_in_a_gap_so_only_so_much_is_settled(directory):
    hand = Hand(directory)
    hand.frames(0, PERIOD)
    settled = hand.buffer.settled_until
    assert settled(PERIOD + 5) == PERIOD + 5
    assert settled(4 * PERIOD) == 4 * PERIOD
    assert settled(6 * PERIOD) == 4 * PERIOD
    assert settled(PERIOD + 2000 * MS) == 4 * PERIOD
    # stale: it is away, and what it would have given is lost
    assert settled(PERIOD + 2000 * MS + 1) == PERIOD + 2000 * MS + 1
    assert not hand.buffer.online(PERIOD + 2000 * MS + 1)


def test_of_a_camera_that_failed_everything_is_settled_and_again_not_once_it_is_open(directory):
    hand = Hand(directory)
    hand.frames(0, PERIOD)
    hand.buffer.interrupted()
    assert hand.buffer.settled_until(20 * PERIOD) == 20 * PERIOD
    assert hand.buffer.lost_in_gaps(0, 20 * PERIOD, 20 * PERIOD) == 19
    hand.buffer.opened(25.0)
    assert hand.buffer.settled_until(20 * PERIOD) == 4 * PERIOD
    hand.frame(20 * PERIOD)
    assert hand.buffer.settled_until(20 * PERIOD) == 20 * PERIOD
    assert hand.buffer.lost_in_gaps(0, 20 * PERIOD, 20 * PERIOD) == 18


def test_before_the_first_frame_everything_is_settled(directory):
    hand = Hand(directory, rate=None)
    assert hand.buffer.settled_until(77) == 77
    hand.frame(100)  # one frame tells no rate
    assert hand.buffer.settled_until(777) == 777


def test_it_is_online_while_its_newest_frame_is_fresh(directory):
    hand = Hand(directory)
    assert not hand.buffer.online(0)
    assert hand.buffer.fresh_until() == -1
    hand.frame(1000)
    assert hand.buffer.online(1000 + 2000 * MS)
    assert not hand.buffer.online(1001 + 2000 * MS)
    assert hand.buffer.fresh_until() == 1000 + 2000 * MS


def test_what_follows_an_interruption_or_silence_comes_after_a_gap(directory):
    hand = Hand(directory)
    hand.buffer.interrupted()
    hand.buffer.opened(25.0)
    hand.frames(0, PERIOD)
    hand.buffer.interrupted()
    hand.buffer.opened(25.0)
    hand.frames(2 * PERIOD, 3 * PERIOD, 3 * PERIOD + 2001 * MS)
    assert [stamp.after_gap for stamp in hand.buffer.after(-1)] == [0, 0, 1, 0, 1]


# frames without a slot ------------------------------------------------------------------------


def test_a_frame_without_a_slot_has_a_number_and_is_missing_for_memory(directory):
    hand = Hand(directory, span=Span(frames=2), rate=1.0)
    hand.frames(*range(3))
    leases = [hand.buffer.lease(seq) for seq in range(3)]
    assert hand.frames(3, 4) == [None, None]
    leases[0].release()
    assert hand.frame(5) == 5
    stamps = hand.buffer.after(-1)
    assert seqs(stamps) == [0, 1, 2, 3, 4, 5]
    assert [hand.buffer.why_gone(stamp) for stamp in stamps[3:5]] == ["memory", "memory"]
    assert hand.buffer.why_gone(stamps[0]) == "evicted"
    assert hand.buffer.lease(3) is None
    assert (hand.buffer.kept, hand.buffer.dropped, hand.commits) == (4, 2, 6)
    assert hand.buffer.captured_until(9) == 9
    assert repr(hand.buffer) == "<Buffer gate 3/3, 2 leased, 2 dropped>"


def test_a_frame_dropped_after_a_gap_passes_the_gap_on_to_nobody(directory):
    hand = Hand(directory, span=Span(frames=1), rate=1.0)
    hand.frames(0, 1)
    leases = [hand.buffer.lease(seq) for seq in (0, 1)]
    hand.buffer.interrupted()
    hand.buffer.opened(1.0)
    hand.frame(2)
    leases[0].release()
    hand.frame(3)
    assert [(s.dropped, s.after_gap) for s in hand.buffer.after(1)] == [
        (True, True),
        (False, False),
    ]


def test_a_discarded_frames_number_and_gap_go_to_the_next(directory):
    hand = Hand(directory)
    hand.frame(0)
    hand.buffer.interrupted()
    hand.buffer.opened(25.0)
    for _ in range(3):
        slot = hand.buffer.begin(at(PERIOD), 2, 2)
        assert slot.seq == 1
        hand.buffer.discard(slot)
    assert hand.frames(2 * PERIOD, 3 * PERIOD) == [1, 2]
    assert [stamp.after_gap for stamp in hand.buffer.after(0)] == [True, False]
    assert (hand.buffer.kept, hand.buffer.dropped) == (3, 0)


def test_committing_what_was_never_begun_is_a_mistake_of_ours(directory):
    hand = Hand(directory)
    slot = hand.buffer.begin(at(0), 2, 2)
    hand.buffer.commit(slot)
    with pytest.raises(RuntimeError, match="commit without begin"):
        hand.buffer.commit(slot)


def test_a_frame_that_is_in_a_slot_is_remembered_however_short_the_history(directory):
    """A history of one frame has a second of headroom, which requests may still lease from."""
    hand = Hand(directory, span=Span(frames=1))
    hand.frames(*range(200))
    assert hand.buffer.held() == hand.buffer.extent.slots == 26
    stamps = hand.buffer.newest_until(199, 26)
    assert seqs(stamps) == list(range(174, 200))
    assert all(hand.buffer.lease(stamp.seq) for stamp in stamps)
    assert len(hand.buffer.after(-1)) >= 2 * 26


def test_its_whole_history_is_what_it_is_meant_to_hold(directory):
    hand = Hand(directory, span=Span(frames=5))
    assert seqs(hand.buffer.whole_history(100)) == []
    hand.frames(*range(20))
    assert seqs(hand.buffer.whole_history(100)) == [15, 16, 17, 18, 19]
    assert seqs(hand.buffer.whole_history(16)) == [12, 13, 14, 15, 16]
    timed = Hand(directory, span=Span(ns=4 * PERIOD), rate=25.0)
    timed.frames(*(seq * PERIOD for seq in range(20)))
    assert seqs(timed.buffer.whole_history(19 * PERIOD)) == [16, 17, 18, 19]
    assert seqs(timed.buffer.whole_history(19 * PERIOD + 1)) == [16, 17, 18, 19]
    assert seqs(timed.buffer.whole_history(21 * PERIOD)) == [17, 18, 19]


# rings ----------------------------------------------------------------------------------------


def test_a_larger_frame_makes_a_new_ring_and_old_leases_keep_their_pixels(directory):
    hand = Hand(directory)
    hand.frames(0, 1, 2)
    lease = hand.buffer.lease(1)
    assert files(directory) == ["gate.0.ring"]
    assert hand.frame(3, 60, 40) == 3
    assert files(directory) == ["gate.0.ring", "gate.1.ring"]
    for mono_ns in range(4, 60):
        hand.frame(mono_ns, 60, 40)
        assert intact(lease)
    assert hand.buffer.size == (40, 60)
    assert hand.buffer.leased() == 1
    lease.release()
    hand.frame(60, 60, 40)
    assert files(directory) == ["gate.1.ring"]
    assert hand.buffer.leased() == 0


def test_frames_of_an_old_ring_can_be_had_until_the_new_one_is_full(directory):
    hand = Hand(directory, span=Span(frames=2), rate=1.0)
    hand.frames(0, 1)
    for mono_ns in range(2, 5):
        hand.frame(mono_ns, 60, 40)
        assert whole(hand.buffer) == list(range(mono_ns + 1))
    assert files(directory) == ["gate.0.ring", "gate.1.ring"]


def test_what_leaves_an_old_ring_once_the_new_one_is_full_is_evicted(directory):
    hand = Hand(directory, span=Span(frames=2), rate=1.0)
    hand.frames(0, 1)
    for mono_ns in range(2, 6):
        hand.frame(mono_ns, 60, 40)
    assert files(directory) == ["gate.1.ring"]
    stamps = hand.buffer.after(-1)
    assert [hand.buffer.lease(stamp.seq) is None for stamp in stamps] == [1, 1, 1, 0, 0, 0]
    assert {hand.buffer.why_gone(stamp) for stamp in stamps[:3]} == {"evicted"}


def changing(directory):
    """A hand that has written 0 to 3 into four slots of 4 pages, and begins with larger frames.

    Three pages are tables. 23 pages of memory hold three frames of 6 pages: with the new ring's
    first slot, 14 pages remain to the old one, with the second 8, with the third 2.
    """
    hand = Hand(directory, span=Span(frames=3), memory=Size(23 * PAGE), rate=1.0)
    for seq in range(4):
        hand.frame(seq, 4 * PAGE // 12, 4)
    return hand


def larger(hand, mono_ns):
    seq = hand.frame(mono_ns, 6 * PAGE // 12, 4)
    assert used(hand.directory) == hand.buffer.bytes() <= 23 * PAGE
    return seq


def test_a_new_ring_grows_out_of_the_old_ones_memory_and_the_history_goes_over(directory):
    hand = changing(directory)
    there = []
    for seq in range(4, 10):
        larger(hand, seq)
        there.append(whole(hand.buffer))
    assert there == [[2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6, 7], [6, 7, 8], [7, 8, 9]]
    assert files(directory) == ["gate.1.ring"]


def test_what_a_new_ring_took_from_the_history_is_lost_and_what_was_beyond_it_evicted(directory):
    """The history of three frames is one of two with the larger ones."""
    hand = changing(directory)
    for seq in range(4, 8):
        larger(hand, seq)
    stamps = hand.buffer.after(-1)
    assert [hand.buffer.why_gone(stamp) for stamp in stamps[:5]] == [
        "evicted", "frames_lost", "evicted", "evicted", "evicted",
    ]  # fmt: skip


def test_while_leases_hold_all_of_memory_frames_are_missing_for_memory_until_they_end(directory):
    hand = changing(directory)
    leases = [hand.buffer.lease(seq) for seq in range(4)]
    assert [larger(hand, seq) for seq in (4, 5)] == [None, None]
    assert [hand.buffer.why_gone(stamp) for stamp in hand.buffer.after(3)] == 2 * ["memory"]
    assert files(directory) == ["gate.0.ring"]
    leases[3].release()
    assert larger(hand, 6) is None, "one frame's room is not enough for the new ring"
    leases[2].weaken()
    assert larger(hand, 7) == 7
    assert whole(hand.buffer) == [0, 1, 7]
    assert larger(hand, 8) == 8, "its only slot"
    assert whole(hand.buffer) == [0, 1, 8]
    assert all(intact(lease) for lease in leases[:2])
    leases[0].release(), leases[1].release()
    assert [larger(hand, seq) for seq in (9, 10, 11)] == [9, 10, 11]
    assert whole(hand.buffer) == [9, 10, 11]
    assert hand.buffer.dropped == 3


def test_a_new_ring_knows_the_stamps_of_the_old_one(directory):
    hand = changing(directory)
    for seq in range(4, 8):
        larger(hand, seq)
    again = Hand(directory, span=Span(frames=3), memory=Size(23 * PAGE), rate=1.0)
    again.buffer.recover(10)
    assert seqs(again.buffer.after(-1)) == list(range(2, 8)), "twice its slots"


def test_where_the_tmpfs_has_less_than_memory_old_frames_make_way(directory, monkeypatch):
    hand = Hand(directory)
    hand.frames(0, 1, 2)
    there = []
    create = FrameRing.create

    def full(*args, **more):
        there.append(files(directory))
        if len(there) < 2:
            raise RingError("No space left on device")
        return create(*args, **more)

    monkeypatch.setattr(FrameRing, "create", full)
    assert hand.frame(3, 60, 40) == 3
    assert there == [["gate.0.ring"], []]
    assert [hand.buffer.why_gone(stamp) for stamp in hand.buffer.after(-1)[:3]] == 3 * [
        "frames_lost"
    ]


def test_where_others_fill_the_tmpfs_the_history_stays_short_and_that_is_told_once(
    directory, monkeypatch, caplog
):
    hand = changing(directory)

    def full(name, start, length):
        raise RingError(f"{name}: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "allocate", full)
        assert [larger(hand, seq) for seq in range(4, 10)] == list(range(4, 10))
        assert whole(hand.buffer) == [9]
        assert [m for m in caplog.messages if "No space" in m] == [
            "camera gate: the history stays short: gate.1.ring: No space left on device"
        ]
    assert [larger(hand, seq) for seq in range(10, 14)] == list(range(10, 14))
    assert whole(hand.buffer) == [11, 12, 13]


def test_smaller_frames_stay_in_the_ring_each_with_its_own_size(directory):
    hand = Hand(directory)
    sizes = [(60, 40), (2, 2), (40, 60), (1, 2400), (3, 5)]
    for mono_ns, (height, width) in enumerate(sizes):
        hand.frame(mono_ns, height, width)
    leases = [hand.buffer.lease(seq) for seq in range(len(sizes))]
    assert [lease.frame.pixels.shape for lease in leases] == [(*size, 3) for size in sizes]
    assert all(intact(lease) for lease in leases)
    assert files(directory) == ["gate.0.ring"]


def test_weak_leases_keep_an_old_ring_too_until_they_end(directory):
    hand = Hand(directory)
    hand.frame(0)
    lease = hand.buffer.lease(0)
    lease.weaken()
    hand.frame(1, 60, 40), hand.frame(2, 60, 40)
    assert intact(lease)
    for mono_ns in range(3, 60):
        hand.frame(mono_ns, 60, 40)
    assert files(directory) == ["gate.0.ring", "gate.1.ring"]
    assert intact(lease)
    lease.release()
    hand.frame(60, 60, 40)
    assert files(directory) == ["gate.1.ring"]


def used(directory):
    """Bytes of memory that the files have, as the kernel counts them."""
    return sum(path.stat().st_blocks * 512 for path in directory.path.glob("*.ring"))


def test_all_rings_together_keep_within_memory_where_nothing_is_leased(directory):
    hand = Hand(directory, memory=Size(100_000))
    for side in (2, 20, 40, 60, 70):
        for mono_ns in range(5):
            hand.frame(side + mono_ns, side, side)
            assert used(directory) == hand.buffer.bytes() <= 100_000


def test_memory_that_does_not_hold_two_frames_is_an_error_that_says_how_much_would(directory):
    hand = Hand(directory, memory=Size(2**20))
    with pytest.raises(ConfigError) as error:
        hand.buffer.begin(at(0), 600, 400)
    assert "1 MiB does not hold two frames of 400×600" in str(error.value)
    assert error.value.remedy == "give it at least 2 MiB"
    enough = Hand(directory, memory=Size(2 * 2**20))
    assert enough.frame(0, 600, 400) == 0


def test_a_history_that_memory_shortens_is_told_once_a_ring(directory, caplog):
    caplog.set_level(logging.WARNING)
    hand = Hand(directory, memory=Size(100_000), span=Span(frames=50))
    hand.frames(*range(5))
    assert len(caplog.messages) == 1
    assert f"holds {hand.buffer.extent.history} frames of 2×2, not 50 frames" in caplog.messages[0]
    assert caplog.records[0].CAMERA == "gate"


def test_a_stamp_stands_in_the_file_before_its_slot_is_whole(directory, monkeypatch):
    """As layout.py says; a process that dies between the two must not leave a slot unstamped."""
    marks = []
    commit = FrameRing.commit

    def noting(ring, slot, error=None):
        data = (directory.path / ring.file_name).read_bytes()
        at_byte = ring.shape.stamps_at + slot.seq % ring.shape.stamps * 40
        marks.append(struct.unpack_from("<QQqqQ", data, at_byte))
        commit(ring, slot, error)

    monkeypatch.setattr(FrameRing, "commit", noting)
    hand = Hand(directory)
    hand.frames(0, PERIOD, PERIOD + 2001 * MS)
    assert [mark[:3] for mark in marks] == [
        (1, 0, 0), (2, 1, PERIOD), (3, 2, PERIOD + 2001 * MS),
    ]  # fmt: skip
    assert [mark[4] for mark in marks] == [0, 0, 2]


def test_with_the_largest_size_told_ahead_no_frame_is_lost_to_a_larger_one():
    with ring_folder() as directory:
        hand = Hand(directory)
        hand.buffer.opened(25.0, largest=40 * 40 * 3)
        seqs = [hand.frame(at * PERIOD, side, side) for at, side in enumerate((2, 20, 40))]
        assert all(hand.buffer.lease(seq) for seq in seqs)


def test_a_size_told_ahead_that_would_cost_history_is_not_believed():
    with ring_folder() as directory:
        hand = Hand(directory)
        hand.buffer.opened(25.0, largest=60_000 * 60_000 * 3)
        assert hand.frame(PERIOD) == 0
        assert hand.buffer.extent.history == 8


# what is counted and shown ----------------------------------------------------------------------


def test_frames_that_give_way_are_counted_whichever_ring_held_them(directory):
    hand = Hand(directory)
    hand.frames(*(n * PERIOD for n in range(1, 6)))
    assert hand.buffer.evicted() == 0
    hand.frames(*(n * PERIOD for n in range(6, 40)))
    before = hand.buffer.evicted()
    assert before == 39 - hand.buffer.held()
    hand.frame(40 * PERIOD, height=40, width=40)  # a new ring
    hand.frames(*(n * PERIOD for n in range(41, 90)))
    assert hand.buffer.evicted() == 89 - hand.buffer.held()


def test_the_strip_is_what_is_held_and_says_what_is_leased(directory):
    hand = Hand(directory)
    assert hand.buffer.strip() == []
    assert hand.buffer.held_ns() == 0
    hand.frames(*(n * PERIOD for n in range(1, 40)))
    strip = hand.buffer.strip()
    assert seqs(stamp for stamp, _ in strip) == list(range(39 - hand.buffer.held(), 39))
    assert hand.buffer.held_ns() == (hand.buffer.held() - 1) * PERIOD
    lease = hand.buffer.lease(38)
    lease.weaken()
    assert [stamp.seq for stamp, leased in hand.buffer.strip() if leased] == [38]
    lease.release()
    assert not any(leased for _, leased in hand.buffer.strip())
