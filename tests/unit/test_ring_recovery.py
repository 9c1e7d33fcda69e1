"""What a daemon that starts finds of the one before: frames, stamps, and files of all kinds."""

from __future__ import annotations

import logging
import os
import struct

import pytest

from framebuf.buffer.directory import RingDirectory
from framebuf.buffer.layout import HEADER, MAGIC, PAGE, SLOT, Shape
from framebuf.buffer.ring import FrameRing
from framebuf.buffer.strangers import remove_strangers
from framebuf.buffer.succession import mark
from framebuf.frames import Origin
from framebuf.units import Size, Span
from tests.unit.rings import MS, PERIOD, Hand, at, colour, ring_folder

NOW = 10**6 * PERIOD


@pytest.fixture
def directory():
    with ring_folder() as folder:
        yield folder


def after_restart(directory, now_ns=NOW, **more):
    """A hand on the buffer of the next process; the one before simply stops writing."""
    hand = Hand(directory, **more)
    hand.buffer.interrupted()
    hand.buffer.recover(now_ns)
    return hand


def seqs(stamps):
    return [stamp.seq for stamp in stamps]


def files(directory):
    return [path.name for path in sorted(directory.path.iterdir()) if path.name != "lock"]


def held(buffer):
    """The seqs of all frames that can be leased; each is whole."""
    found = []
    for stamp in buffer.after(-1):
        if lease := buffer.lease(stamp.seq):
            assert (lease.frame.seq, lease.frame.captured) == (stamp.seq, stamp.captured)
            assert (lease.frame.pixels == colour(stamp.seq)).all()
            found.append(stamp.seq)
            lease.release()
    return found


# frames ---------------------------------------------------------------------------------------


def test_every_frame_can_be_leased_before_the_camera_has_started(directory):
    before = Hand(directory)
    before.frames(*(seq * PERIOD for seq in range(100)))
    there = held(before.buffer)
    after = after_restart(directory)
    assert held(after.buffer) == there == list(range(100 - before.buffer.extent.slots, 100))
    assert after.buffer.held() == len(there)
    assert after.buffer.size == (2, 2)
    assert after.buffer.extent.history == 8
    assert after.buffer.after(-1) == before.buffer.after(99 - 2 * before.buffer.extent.slots)


def test_seq_goes_on_and_the_ring_that_fits_is_written_on(directory):
    Hand(directory).frames(*(seq * PERIOD for seq in range(50)))
    after = after_restart(directory)
    after.buffer.opened(25.0)
    assert after.frames(*(seq * PERIOD for seq in range(60, 63))) == [50, 51, 52]
    assert files(directory) == ["gate.0.ring"]
    assert held(after.buffer)[-4:] == [49, 50, 51, 52]
    assert len(held(after.buffer)) == after.buffer.extent.slots


def test_the_blind_time_is_a_gap_of_so_many_frames_and_a_short_one_none(directory):
    Hand(directory).frames(*(seq * PERIOD for seq in range(50)))
    after = after_restart(directory)
    assert after.buffer.lost_in_gaps(0, 99 * PERIOD, 99 * PERIOD) == 50
    after.buffer.opened(25.0)
    after.frame(60 * PERIOD)
    assert after.buffer.after(49)[0].after_gap
    assert after.buffer.lost_in_gaps(45 * PERIOD, 60 * PERIOD, 60 * PERIOD) == 10
    again = after_restart(directory)
    again.buffer.opened(25.0)
    again.frame(61 * PERIOD)
    assert again.buffer.lost_in_gaps(45 * PERIOD, 61 * PERIOD, 61 * PERIOD) == 10


def test_gaps_and_frames_dropped_for_memory_are_still_known(directory):
    before = Hand(directory, span=Span(frames=2), rate=1.0)
    before.frames(0, 1, 2)
    leases = [before.buffer.lease(seq) for seq in range(3)]
    before.frame(3)
    leases[0].release()
    before.buffer.interrupted()
    before.frame(4)
    after = after_restart(directory, span=Span(frames=2), rate=1.0)
    stamps = after.buffer.after(-1)
    assert stamps == before.buffer.after(-1)
    assert [(s.dropped, s.after_gap) for s in stamps[3:]] == [(True, False), (False, True)]
    assert [after.buffer.why_gone(s) for s in (stamps[0], stamps[3])] == ["evicted", "memory"]
    assert held(after.buffer) == [1, 2, 4], "and the leases of the process before are none"
    assert after.buffer.leased() == 0


def test_a_frames_origin_and_its_error_are_still_known(directory):
    before = Hand(directory)
    origins = [Origin(3, "a\udce4.jpg"), Origin(0), Origin(None, "b.png"), Origin()]
    for seq, origin in enumerate(origins):
        slot = before.buffer.begin(at(seq), 2, 2, origin)
        before.buffer.commit(slot, "cut short" if seq == 1 else None)
    frames = [after_restart(directory).buffer.lease(seq).frame for seq in range(4)]
    assert [frame.origin for frame in frames] == origins
    assert [frame.error for frame in frames] == [None, "cut short", None, None]


def test_a_frame_that_had_no_pixels_yet_is_lost_and_its_number_is_not_given_again(directory):
    before = Hand(directory)
    before.frames(0, PERIOD)
    slot = before.buffer.begin(at(2 * PERIOD), 2, 2)
    mark(slot.ring, before.buffer._arriving)
    after = after_restart(directory)
    assert held(after.buffer) == [0, 1]
    assert after.buffer.why_gone(after.buffer.newest()) == "frames_lost"
    assert after.frame(9 * PERIOD) == 3


def test_a_frame_that_was_begun_but_not_stamped_never_was(directory):
    before = Hand(directory)
    before.frames(0, PERIOD)
    before.buffer.begin(at(2 * PERIOD), 2, 2)
    after = after_restart(directory)
    assert seqs(after.buffer.after(-1)) == [0, 1]
    assert after.frame(9 * PERIOD) == 2


def test_a_frame_leased_for_so_long_that_its_stamp_is_gone_can_still_be_leased(directory):
    """A request of the journal may want it, though no window reaches it any more."""
    before = Hand(directory, span=Span(frames=2), rate=1.0)
    before.frame(0)
    lease = before.buffer.lease(0)
    before.frames(*range(1, 20))
    assert (lease.frame.pixels == colour(0)).all()
    after = after_restart(directory, span=Span(frames=2), rate=1.0)
    assert 0 not in seqs(after.buffer.after(-1))
    assert (after.buffer.lease(0).frame.pixels == colour(0)).all()


def test_frames_that_arrive_stamped_before_what_is_there_are_let_go(directory):
    """A stream gives what it has buffered first; the history stays in order."""
    Hand(directory).frames(*(seq * PERIOD for seq in range(5)))
    after = after_restart(directory)
    after.buffer.opened(25.0, lateness_ns=20 * PERIOD)
    assert after.buffer.arrived(at(4 * PERIOD)) is None
    assert after.buffer.arrived(at(4 * PERIOD + 1)) == at(4 * PERIOD + 1)


def test_it_says_what_it_found(directory, caplog):
    caplog.set_level(logging.INFO)
    Hand(directory).frames(0, PERIOD)
    after_restart(directory, now_ns=PERIOD + 1500 * MS)
    assert caplog.messages == ["camera gate: 2 frames of before are there, the newest 1.5 s old"]
    assert caplog.records[0].CAMERA == "gate"


def test_a_folder_without_rings_is_a_first_start(directory, caplog):
    caplog.set_level(logging.INFO)
    after = after_restart(directory)
    assert (after.buffer.held(), after.buffer.extent, after.buffer.newest()) == (0, None, None)
    assert after.frame(0) == 0
    assert not after.buffer.newest().after_gap
    assert not caplog.messages


# shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{"span": Span(frames=12)}, {"memory": Size(30 * PAGE)}, {"rate": 12.5}]
)
def test_with_another_configuration_the_old_ring_stays_beside_until_the_new_one_is_full(
    directory, more
):
    span = more.pop("span", Span(ns=8 * PERIOD))
    Hand(directory, span=Span(ns=8 * PERIOD)).frames(*(seq * PERIOD for seq in range(40)))
    after = after_restart(directory, span=span, **more)
    there = held(after.buffer)
    assert there[-1] == 39
    lease = after.buffer.lease(39)
    for seq in range(40, 100):
        assert after.frame(seq * PERIOD) == seq
        assert (lease.frame.pixels == colour(39)).all()
        newest = held(after.buffer)[-after.buffer.extent.history :]
        assert newest == list(range(seq + 1 - len(newest), seq + 1))
        assert len(newest) == min(after.buffer.extent.history, len(there) + seq - 39)
    assert files(directory) == ["gate.0.ring", "gate.1.ring"]
    lease.release()
    after.frame(100 * PERIOD)
    assert files(directory) == ["gate.1.ring"]


def test_what_memory_allows_no_more_is_let_go_at_the_start_oldest_first(directory):
    Hand(directory).frames(*(seq * PERIOD for seq in range(40)))
    after = after_restart(directory, memory=Size(20 * PAGE))
    used = (directory.path / "gate.0.ring").stat().st_blocks * 512
    assert used == after.buffer.bytes() <= 20 * PAGE
    there = held(after.buffer)
    assert there == list(range(40 - len(there), 40))
    assert len(there) > 8
    assert {after.buffer.why_gone(s) for s in after.buffer.after(-1)[-20:-12]} == {"evicted"}


def test_both_rings_of_a_camera_are_found_the_one_that_was_written_is_written_on(directory):
    before = Hand(directory)
    before.frames(0, 1, 2)
    before.frame(3, 60, 40), before.frame(4, 60, 40)
    after = after_restart(directory)
    assert held(after.buffer) == [0, 1, 2, 3, 4]
    assert after.buffer.size == (40, 60)
    assert after.frame(NOW, 60, 40) == 5
    assert files(directory) == ["gate.0.ring", "gate.1.ring"]


def test_a_ring_that_was_still_growing_goes_on_growing(directory):
    more = {"span": Span(frames=3), "memory": Size(23 * PAGE), "rate": 1.0}
    before = Hand(directory, **more)
    for seq in range(4):
        before.frame(seq, 4 * PAGE // 12, 4)
    before.frame(4, 6 * PAGE // 12, 4)
    after = after_restart(directory, **more)
    assert held(after.buffer) == [2, 3, 4]
    assert after.buffer.bytes() == before.buffer.bytes()
    for seq in range(5, 9):
        after.frame(seq, 6 * PAGE // 12, 4)
        assert after.buffer.bytes() <= 23 * PAGE
    assert held(after.buffer) == [6, 7, 8]
    assert files(directory) == ["gate.1.ring"]


def test_frames_smaller_than_the_slots_of_a_ring_that_is_growing_are_found(directory):
    """What of a slot was never touched is a hole to the kernel, though it has its memory."""
    more = {"span": Span(frames=3), "memory": Size(23 * PAGE), "rate": 1.0}
    before = Hand(directory, **more)
    for seq in range(4):
        before.frame(seq, 4 * PAGE // 12, 4)
    before.frame(4, 6 * PAGE // 12, 4), before.frame(5)
    slot = before.buffer.begin(at(6), 2, 2)
    before.buffer.commit(slot, "undecodable, so its pixels were never written")
    after = after_restart(directory, **more)
    assert after.buffer.lease(6).frame.error
    assert (after.buffer.lease(5).frame.pixels == colour(5)).all()
    assert after.buffer.bytes() == before.buffer.bytes()


def test_frames_smaller_than_the_ring_was_made_for_go_on_in_it_unless_that_costs_history(directory):
    before = Hand(directory)
    before.frame(0, 60, 40)
    after = after_restart(directory)
    assert after.frame(1, 2, 2) == 1
    assert files(directory) == ["gate.0.ring"]
    with ring_folder() as other:
        Hand(other, memory=Size(100_000)).frame(0, 40, 40)
        again = after_restart(other, memory=Size(100_000))
        assert again.frame(1, 2, 2) == 1
        assert files(other) == ["gate.0.ring", "gate.1.ring"]
        assert again.buffer.extent.history == 8


# files of all kinds ---------------------------------------------------------------------------


def ring(directory, camera="gate", name="gate.0.ring", boot="b-1"):
    return FrameRing.create(directory, camera, Shape(2, 12, 4), file_name=name, boot=boot)


def test_rings_of_another_boot_or_camera_go_and_each_is_told(directory, caplog):
    caplog.set_level(logging.INFO)
    ring(directory, boot="b-0")
    ring(directory, "yard", "yard.0.ring")
    ring(directory, "gate", "yard.1.ring")
    ring(directory, "a.b", "a.b.0.ring")
    remove_strangers(directory, {"gate", "a.b"}, "b-1")
    assert files(directory) == ["a.b.0.ring"]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", f"{directory.path}/gate.0.ring: removing a ring of another boot"),
        ("INFO", f"{directory.path}/yard.0.ring: removing a ring of camera yard, "
                 "which is none of this node's"),
        ("INFO", f"{directory.path}/yard.1.ring: removing a ring of camera gate, "
                 "which is not named like one"),
    ]  # fmt: skip


def test_a_camera_takes_no_ring_of_another_boot_or_camera_even_under_its_name(directory, caplog):
    ring(directory, boot="b-0")
    ring(directory, "yard", "gate.1.ring")
    after_restart(directory)
    assert files(directory) == []
    assert "another boot" in caplog.messages[0]
    assert "camera yard" in caplog.messages[1]


def header(**fields):
    shape = Shape(2, PAGE, 4)
    row = {
        "magic": MAGIC, "version": 1, "slots": 2, "stride": PAGE, "stamps": 4, "page": PAGE,
        "boot_id": b"b-1", "camera": b"gate",
    } | fields  # fmt: skip
    values = [row[name] for name in HEADER.names]
    return struct.pack("<8sIIQII36s64s", *values).ljust(shape.file_bytes, b"\0")


BROKEN = {
    "empty": b"",
    "short": header()[:100],
    "zeros": bytes(PAGE),
    "no magic": header(magic=b""),
    "foreign": b"#!/bin/sh\n" * 100,
    "another version": header(version=2),
    "another page size": header(page=16384),
    "no slots": header(slots=0),
    "no stamps": header(stamps=0),
    "no stride": header(stride=0),
    "an odd stride": header(stride=PAGE + 1),
    "more slots than there are": header(slots=3),
    "as many slots as can be said": header(slots=2**32 - 1),
    "a stride beyond all memory": header(stride=2**63),
    "a stride that wraps": header(stride=2**64 - PAGE),
    "more stamps than there are": header(stamps=2**32 - 1),
    "cut": header()[:-1],
    "longer": header() + b"\0",
    "an illegible camera": header(camera=b"\xff\xfe"),
    "an illegible boot": header(boot_id=b"\xff\xfe"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_ring_is_removed_with_a_warning(directory, caplog, data):
    path = directory.path / "gate.7.ring"
    path.write_bytes(data)
    after = after_restart(directory)
    assert not path.exists()
    assert caplog.records[0].levelname == "WARNING"
    assert caplog.messages[0].startswith(f"{path} ")
    path.write_bytes(data)
    remove_strangers(directory, {"gate"}, "b-1")
    assert not path.exists()
    assert after.frame(0) == 0
    assert files(directory) == ["gate.8.ring"]


def test_a_whole_header_is_a_ring(directory):
    (directory.path / "gate.7.ring").write_bytes(header())
    after_restart(directory)
    remove_strangers(directory, {"gate"}, "b-1")
    assert files(directory) == ["gate.7.ring"]


def test_links_pipes_and_folders_are_not_followed_nor_waited_for(directory, caplog):
    victim = directory.path / "victim"
    victim.write_bytes(header())
    (directory.path / "gate.0.ring").symlink_to(victim)
    os.mkfifo(directory.path / "gate.1.ring")
    (directory.path / "gate.2.ring").mkdir()
    after = after_restart(directory)
    assert files(directory) == ["gate.2.ring", "victim"]
    assert any(f"{directory.path}/gate.2.ring stays" in message for message in caplog.messages)
    remove_strangers(directory, {"gate"}, "b-1")
    assert victim.read_bytes() == header()
    assert after.frame(0) == 0
    assert files(directory) == ["gate.2.ring", "gate.3.ring", "victim"]


def test_a_file_of_holes_that_says_it_is_huge_costs_nothing(directory):
    path = directory.path / "gate.0.ring"
    shape = Shape(2**31, PAGE, 4)
    path.write_bytes(header(slots=2**31))
    os.truncate(path, shape.file_bytes)
    after_restart(directory)
    assert not path.exists(), "its tables would have to be made"
    one = Shape(1, 2**40, 4)
    path.write_bytes(header(slots=1, stride=2**40)[: one.pixels_at])
    os.truncate(path, one.file_bytes)
    after = after_restart(directory)
    assert path.stat().st_blocks * 512 == one.pixels_at == after.buffer.bytes()
    assert after.frame(0) == 0
    assert files(directory) == ["gate.1.ring"]


def write_slot(directory, number, **fields):
    """Overwrite fields of a slot's row in the file."""
    path = directory.path / "gate.0.ring"
    shape = Shape(33, PAGE, 66)
    with path.open("r+b") as file:
        for name, value in fields.items():
            kind, offset = SLOT.fields[name][:2]
            file.seek(shape.slots_at + number * SLOT.itemsize + offset)
            file.write(value.to_bytes(kind.itemsize, "little", signed=value < 0))


@pytest.mark.parametrize(
    "fields",
    [
        {"height": 0}, {"width": 0}, {"height": 2**32 - 1, "width": 2**32 - 1}, {"height": 700},
        {"mono_ns": -1}, {"mono_ns": NOW + 1}, {"mono_ns": 5}, {"utc_ns": -1},
        {"utc_ns": 2**63 - 1}, {"position": -2}, {"failed": 2}, {"generation": 2},
        {"generation": 2**64 - 1}, {"generation": 60},
    ],
    ids=str,
)  # fmt: skip
def test_a_slot_that_contradicts_itself_or_its_stamp_holds_no_frame(directory, fields):
    before = Hand(directory)
    before.frames(*(seq * PERIOD for seq in range(4)))
    assert before.buffer.extent.slots == 33
    write_slot(directory, 2, **fields)
    after = after_restart(directory)
    assert held(after.buffer) == [0, 1, 3]
    assert after.frames(*(seq * PERIOD for seq in range(10, 60))) == list(range(4, 54))
    assert held(after_restart(directory).buffer)[-1] == 53


def test_a_folder_that_was_closed_and_is_opened_again_has_its_rings(directory):
    path = directory.path / "rings"
    with RingDirectory.open(path) as first:
        Hand(first).frames(0, 1)
    with RingDirectory.open(path) as second:
        assert held(after_restart(second).buffer) == [0, 1]
