"""The ring of packets: what it holds, what goes, what a lease keeps, what outlives the process."""

from __future__ import annotations

import threading

import pytest

from framebuf.buffer import packetlayout as layout
from framebuf.buffer.directory import PACKETS, RingDirectory
from framebuf.buffer.strangers import remove_strangers
from framebuf.buffer.succession import mark
from framebuf.errors import ConfigError, FrameLostError, RingError
from framebuf.units import Size, Span
from tests.unit.packets import JOINED, MEMORY, PacketHand, data_of
from tests.unit.rings import PERIOD, Hand, at, ring_folder

NOW = 10**6 * PERIOD


@pytest.fixture
def directory():
    with ring_folder() as found:
        yield found


@pytest.fixture
def hand(directory):
    return PacketHand(directory)


def recovered(hand, **more):
    """A second process on the same folder."""
    after = PacketHand(hand.directory, **more)
    after.buffer.recover(NOW)
    after.given = hand.given
    return after


def test_packets_come_back_byte_for_byte(hand):
    seqs = hand.frames(25)
    assert seqs == list(range(25))
    assert [hand.data(seq) for seq in seqs] == [data_of(seq) for seq in seqs]


def test_a_frame_says_when_it_was_captured_and_how_large_it_is_and_has_no_pixels(hand):
    hand.frames(3)
    frame = hand.buffer.lease(2).frame
    assert frame.captured == at(3 * PERIOD)
    assert (frame.height, frame.width) == (48, 64)
    assert not frame.is_decoded
    assert frame.pixels.shape == (0, 0, 3)


def test_frames_that_are_not_kept_have_no_number_but_their_packets_are_there(hand):
    seqs = hand.frames(12, keep=lambda number: number % 3 == 0)
    assert [seq for seq in seqs if seq is not None] == [0, 1, 2, 3]
    ring, shown = hand.buffer.coded(1)
    assert ring.read(shown.group, shown.nth - 1) == data_of(2)
    assert hand.data(1) == data_of(3)


def test_of_pictures_that_stand_alone_only_those_that_are_kept_cost_memory(directory):
    from framebuf.buffer.coded import Head

    jpegs = PacketHand(directory)
    for number in range(40):
        jpegs.frame(head=Head("mjpeg", b"", 48, 64), keep=number % 4 == 0)
    assert jpegs.held() == list(range(10))
    assert jpegs.data(3) == data_of(12)
    assert jpegs.ring._groups.count == 10


def test_the_oldest_group_goes_as_a_whole_once_it_is_beyond_the_history(hand):
    hand.frames(300)  # 12 s of 0.5 MB; the history is 4 s
    held = hand.held()
    assert held == list(range(held[0], 300))
    assert held[0] % 10 == 0
    assert 100 <= len(held) <= 170
    assert hand.buffer.extent.history == 100
    assert not hand.buffer.extent.shortened


def test_it_takes_only_as_much_memory_as_its_history_needs(directory):
    small = PacketHand(directory, span=Span(ns=25 * PERIOD), memory=Size(64 * 2**20))
    small.frames(500)
    assert small.buffer.bytes() < 3 * 2**20


def test_memory_is_a_hard_bound_and_the_shorter_history_is_told(directory, caplog):
    short = PacketHand(directory, span=Span(ns=1000 * PERIOD))
    short.frames(400)
    size = sum((directory.path / n).stat().st_blocks for n in directory.names(PACKETS)) * 512
    assert size <= MEMORY.bytes
    assert short.buffer.bytes() <= MEMORY.bytes
    extent = short.buffer.extent
    assert extent.shortened
    assert 100 < extent.history < 250
    assert short.held()[-1] == 399
    assert [r.getMessage() for r in caplog.records].count(caplog.records[0].getMessage()) == 1
    assert "raise memory" in caplog.text


def test_memory_that_holds_no_second_is_a_mistake_in_the_configuration(directory):
    with pytest.raises(ConfigError, match="give it at least"):
        PacketHand(directory, memory=Size(2**19)).frames(1)


def test_a_lease_holds_all_that_its_frame_is_decoded_from(hand):
    hand.frames(20)
    lease = hand.buffer.lease(7)
    hand.frames(400)
    ring, shown = hand.buffer.coded(7)
    packets = [ring.read(shown.group, nth) for nth in range(1, shown.nth + 1)]
    assert packets == [data_of(number) for number in range(8)]
    assert 11 not in hand.held()
    lease.release()
    hand.frames(20)
    assert 7 not in hand.held()


def test_with_everything_leased_new_frames_are_counted_as_memory_until_a_key_frame_finds_room(hand):
    hand.frames(100)
    leases = []
    while (seq := hand.frame()) is not None:
        leases.append(hand.buffer.lease(seq))
        leases += [hand.buffer.lease(s) for s in hand.held()]
    dropped = hand.buffer.newest()
    assert hand.buffer.why_gone(dropped) == "memory"
    for lease in leases:
        lease.release()
    left = 10 - hand.given % 10
    assert hand.frames(left) == [None] * left  # what they refer to was never kept
    assert None not in hand.frames(10)


def test_what_is_leased_while_a_group_is_chosen_to_go_stays(directory):
    hand = PacketHand(directory, span=Span(ns=5 * PERIOD), memory=Size(3 * 2**20))
    hand.frames(30)
    wrong, over = [], threading.Event()

    def lease():
        while not over.is_set():
            oldest = next((s.seq for s in hand.buffer.after(-1) if hand.ring.holds(s.seq)), None)
            lease = hand.buffer.lease(oldest) if oldest is not None else None
            if lease is None:
                continue
            for _ in range(3):
                found = hand.buffer.coded(lease.seq)
                if found is None or found[0].read(found[1].group, found[1].nth) is None:
                    wrong.append(lease.seq)
            lease.release()

    readers = [threading.Thread(target=lease) for _ in range(2)]
    for reader in readers:
        reader.start()
    hand.frames(1500)
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert hand.buffer.leased() == 0


def test_a_weak_lease_on_a_leading_picture_that_went_keeps_nothing(hand):
    hand.frames(10)
    hand.frame(head=JOINED)
    hand.frame(leading=True)
    hand.frames(8)
    lease = hand.buffer.lease(11)
    group = hand.buffer.coded(11)[1].group
    lease.weaken()
    with hand.ring._lock:
        hand.ring._groups.remove(group.before)
    lease.release()
    assert group.is_idle
    assert hand.buffer.leased() == 0


def test_weakly_leased_frames_go_before_the_camera_has_to_stop(hand):
    hand.frames(100)
    leases = [hand.buffer.lease(seq) for seq in hand.held()]
    for lease in leases:
        lease.weaken()
    strong = [hand.buffer.lease(hand.frame()) for _ in range(150)]
    assert hand.buffer.dropped == 0
    with pytest.raises(FrameLostError):
        assert leases[0].frame
    assert all(lease.frame for lease in strong)


def test_without_a_key_frame_what_is_there_stays_and_what_finds_no_room_is_told(directory):
    long = PacketHand(directory, group=10**6)
    seqs = long.frames(400)
    found = [seq for seq in seqs if seq is not None]
    assert found == list(range(len(found)))
    assert 150 < len(found) < 250
    assert {long.buffer.why_gone(s) for s in long.buffer.after(len(found) - 1)} == {"memory"}
    assert [seq for seq in range(400) if long.can_lease(seq)] == found
    assert long.frame(head=JOINED) == 400  # a key frame at last: on it goes
    assert None not in long.frames(20)


def test_a_leading_picture_goes_with_the_group_that_it_refers_to(hand):
    hand.frames(10)
    hand.frame(head=JOINED)
    hand.frame(leading=True)
    hand.frames(8)
    lease = hand.buffer.lease(11)
    hand.frames(400)
    assert hand.buffer.coded(3) is not None  # of the group before
    lease.release()
    while hand.buffer.coded(3) is not None:
        hand.frame()
    assert not hand.can_lease(11)
    assert hand.buffer.why_gone(hand.buffer.after(10)[0]) == "evicted"


def test_after_an_interruption_nothing_is_added_to_the_group_before(hand):
    hand.frames(5)
    hand.buffer.interrupted()
    hand.buffer.opened(25.0)
    assert hand.frames(5) == [None] * 5  # no key frame yet
    assert hand.frames(3) == [10, 11, 12]
    assert hand.buffer.coded(10)[1].group.before is None


@pytest.mark.parametrize("dies_in", ["take", "begin", "commit"])
def test_what_was_kept_outlives_the_process(hand, dies_in):
    hand.frames(33)
    if dies_in != "take":
        from framebuf.buffer.coded import Packet

        packet = Packet(data_of(33))
        hand.buffer.take(packet)
        place = hand.buffer.begin(hand.buffer.arrived(at(34 * PERIOD)), 48, 64, packet=packet)
        if dies_in == "commit":
            mark(place.ring, hand.buffer._arriving)
    after = recovered(hand)
    assert after.held() == list(range(33))
    assert [after.data(seq) for seq in after.held()] == [data_of(n) for n in range(33)]
    frame = after.buffer.lease(20).frame
    assert (frame.captured, frame.height, frame.width) == (at(21 * PERIOD), 48, 64)
    lost = dies_in == "commit"
    if lost:
        assert after.buffer.why_gone(after.buffer.newest()) == "frames_lost"
    after.given = 40
    assert after.frames(10) == list(range(33 + lost, 43 + lost))
    assert after.held() == [*range(33), *range(33 + lost, 43 + lost)]


def test_a_packet_that_was_not_whole_is_not_there(hand):
    hand.frames(12)
    ring, shown = hand.buffer.coded(11)
    start = ring.blocks.place(shown.group.blocks, shown.group.records[shown.nth].at - 64)
    layout.MARK.pack_into(ring._memory, start, 0)
    assert recovered(hand).held() == list(range(11))


def test_what_an_older_group_left_in_a_block_is_no_packet(hand):
    hand.frames(300)
    held = hand.held()
    after = recovered(hand)
    assert after.held() == held
    assert [after.data(seq) for seq in held] == [data_of(seq) for seq in held]
    after.given = 300
    after.frames(150)
    newest = after.held()
    assert [after.data(seq) for seq in newest] == [data_of(seq) for seq in newest]


@pytest.mark.parametrize("memory", [Size(9 * 2**18), Size(16 * 2**20)])
def test_with_another_memory_the_history_moves_as_far_as_it_fits(hand, memory):
    hand.frames(130)
    after = recovered(hand, memory=memory)
    held = after.held()
    assert held[-1] == 129
    assert held == list(range(held[0], 130))
    assert (held == hand.held()) == (memory.bytes > MEMORY.bytes)
    assert [after.data(seq) for seq in held] == [data_of(seq) for seq in held]
    assert len(hand.directory.names(PACKETS)) == 1
    assert after.buffer.bytes() <= memory.bytes


def test_a_tmpfs_that_others_have_filled_shortens_the_history(hand, monkeypatch, caplog):
    hand.frames(30)

    def full(*_):
        raise RingError("No space left on device")

    monkeypatch.setattr(RingDirectory, "allocate", full)
    seqs = hand.frames(300)
    assert None not in seqs
    assert hand.buffer.bytes() < MEMORY.bytes
    assert caplog.text.count("the history stays short") == 1


def test_files_of_another_boot_or_store_or_camera_are_removed(directory):
    PacketHand(directory, boot="b-0").frames(2)
    remove_strangers(directory, {"gate"}, "b-1", {"gate"})
    assert directory.names(PACKETS) == []
    PacketHand(directory).frames(2)
    remove_strangers(directory, {"gate"}, "b-1", {"gate"})
    assert len(directory.names(PACKETS)) == 1
    remove_strangers(directory, {"gate"}, "b-1")
    assert directory.names(PACKETS) == []
    Hand(directory).frames(PERIOD)
    remove_strangers(directory, {"gate"}, "b-1", {"gate"})
    assert directory.names() == []


def test_a_damaged_file_gives_what_is_consistent_in_it_and_never_an_error(hand):
    import numpy as np

    hand.frames(60)
    name = hand.directory.names(PACKETS)[0]
    whole = (hand.directory.path / name).read_bytes()
    tables = hand.ring.shape.block_at(8)
    rng = np.random.default_rng(5)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, tables, 60):
            damaged[place] = rng.integers(0, 256)
        (hand.directory.path / name).write_bytes(damaged)
        after = recovered(hand)
        for seq in after.held():
            assert after.data(seq) is not None
        for left in hand.directory.names(PACKETS):
            hand.directory.remove(left)


def test_readers_that_meet_an_eviction_see_whole_packets_or_none(directory):
    hand = PacketHand(directory, span=Span(ns=5 * PERIOD), memory=Size(3 * 2**20))
    hand.frames(20)
    wrong, over = [], threading.Event()

    def read():
        while not over.is_set():
            for stamp in hand.buffer.after(-1)[-30:]:
                found = hand.buffer.coded(stamp.seq)
                data = found[0].read(found[1].group, found[1].nth) if found else None
                if data is not None and data != data_of(stamp.seq):
                    wrong.append(stamp.seq)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    hand.frames(1000)
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_ring_says_what_it_holds(hand):
    hand.frames(15)
    hand.buffer.lease(3)
    assert repr(hand.ring) == (
        "<PacketRing gate 15 frames in 2 groups, <Blocks 20/64 of 255>, 1 leased>"
    )
