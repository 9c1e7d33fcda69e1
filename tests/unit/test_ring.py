"""FrameRing: what a lease promises, what the file says, and many threads at it."""

from __future__ import annotations

import random
import struct
import sys
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from framebuf.buffer.layout import ERROR_BYTES, STAMP_DROPPED, Shape, clipped
from framebuf.buffer.ring import FrameRing
from framebuf.errors import FrameLostError
from framebuf.frames import LIVE, Origin
from tests.unit.rings import at, colour, ring_folder


@pytest.fixture
def directory():
    with ring_folder() as folder:
        yield folder


def make(directory, slots, side=2, stamps=8):
    return FrameRing.create(
        directory, "gate", Shape(slots, side * side * 3, stamps), file_name="gate.0.ring", boot="b"
    )


def write(ring, seq, side=2):
    slot = ring.begin(seq, at(seq), side, side, LIVE)
    if slot is None:
        return False
    slot.pixels[:] = colour(seq)
    ring.commit(slot)
    return True


def intact(lease, seq):
    return lease.seq == seq and bool((lease.frame.pixels == colour(seq)).all())


def held(ring, *seqs):
    return [seq for seq in seqs if ring.holds(seq)]


# leases ---------------------------------------------------------------------------------------


def test_a_strongly_leased_frame_is_passed_over_until_it_is_released(directory):
    ring = make(directory, 3)
    write(ring, 0)
    lease = ring.lease(0)
    for seq in range(1, 20):
        assert write(ring, seq)
        assert intact(lease, 0)
    lease.release()
    assert write(ring, 20)
    assert held(ring, 0, 18, 19, 20) == [18, 19, 20]


def test_frames_leave_oldest_first_in_whatever_order_their_leases_ended(directory):
    for seed in range(20):
        ring = make(directory, 6)
        for seq in range(6):
            write(ring, seq)
        leases = [ring.lease(seq) for seq in range(6)]
        random.Random(seed).shuffle(leases)
        for lease in leases:
            lease.release()
        for seq in range(6, 12):
            write(ring, seq)
            assert held(ring, *range(seq + 1)) == list(range(seq - 5, seq + 1))


def test_weak_leases_are_taken_only_when_no_other_slot_is_free_and_oldest_first(directory):
    ring = make(directory, 4)
    for seq in range(4):
        write(ring, seq)
    strong = ring.lease(0)
    weak = [ring.lease(seq) for seq in (2, 1)]
    for lease in weak:
        lease.weaken()
    newer = ring.lease(3)
    newer.release()
    write(ring, 4)  # frame 3 is the newest, which may be about to be leased
    assert held(ring, *range(5)) == [0, 2, 3, 4]
    write(ring, 5)  # now it is nobody's
    assert held(ring, *range(6)) == [0, 2, 4, 5]
    assert intact(weak[0], 2)
    with pytest.raises(FrameLostError, match="frame 1 of gate was overwritten"):
        _ = weak[1].frame
    assert intact(strong, 0)


def test_the_newest_frame_is_taken_last_of_all_that_are_not_strongly_leased(directory):
    """A window that is open may not have leased it yet, and would be told that it was evicted."""
    ring = make(directory, 3)
    write(ring, 0), write(ring, 1), write(ring, 2)
    weak = [ring.lease(seq) for seq in (0, 1)]
    for lease in weak:
        lease.weaken()
    assert write(ring, 3)
    assert held(ring, *range(4)) == [1, 2, 3]
    strong = [ring.lease(seq) for seq in (1, 2)]
    assert write(ring, 4), "there is no other, and the camera goes on"
    assert held(ring, *range(5)) == [1, 2, 4]
    assert all(intact(lease, lease.seq) for lease in strong)


def test_of_many_slots_the_newest_sixteenth_is_taken_last(directory):
    ring = make(directory, 48, stamps=96)
    for seq in range(48):
        write(ring, seq)
    weak = [ring.lease(seq) for seq in range(44)]
    for lease in weak:
        lease.weaken()
    write(ring, 48)  # 44 is the only one that is nobody's and not among the newest three
    assert not held(ring, 44)
    write(ring, 49)  # 45 by now
    assert not held(ring, 45)
    again = [ring.lease(seq) for seq in (46, 47)]
    write(ring, 50)
    assert not held(ring, 0)
    assert len(held(ring, *range(51))) == 48
    assert all(intact(lease, lease.seq) for lease in again)


def test_a_weak_frame_that_another_needs_again_is_passed_over_and_weak_again_is_taken(directory):
    ring = make(directory, 2)
    write(ring, 0), write(ring, 1)
    old, newer = ring.lease(0), ring.lease(1)
    old.weaken()
    again = ring.lease(0)
    assert not write(ring, 2)
    assert intact(again, 0)
    again.weaken()
    assert write(ring, 2)
    assert held(ring, 0, 1, 2) == [1, 2]
    assert intact(newer, 1)


def test_with_every_slot_strongly_leased_there_is_none_and_nothing_is_lost(directory):
    ring = make(directory, 3)
    for seq in range(3):
        write(ring, seq)
    leases = [ring.lease(seq) for seq in range(3)]
    assert not write(ring, 3)
    assert all(intact(lease, seq) for seq, lease in enumerate(leases))
    leases[1].weaken()
    assert write(ring, 4)
    newest = ring.lease(4)
    assert not write(ring, 5)
    assert intact(newest, 4)


def test_a_discarded_slot_is_used_again_and_costs_no_other_frame(directory):
    ring = make(directory, 3)
    leases = []
    for seq in range(2):
        write(ring, seq)
        leases.append(ring.lease(seq))
    for _ in range(10):
        slot = ring.begin(2, at(2), 2, 2, LIVE)
        slot.pixels[:] = 99
        ring.discard(slot)
        assert ring.lease(2) is None
    assert write(ring, 2)
    assert held(ring, 0, 1, 2) == [0, 1, 2]
    assert all(intact(lease, seq) for seq, lease in enumerate(leases))


def test_a_frame_is_free_only_when_the_last_of_its_leases_has_ended(directory):
    ring = make(directory, 1)
    write(ring, 0)
    first, second, third = (ring.lease(0) for _ in range(3))
    first.release()
    second.weaken()
    assert not write(ring, 1)
    third.release()
    assert intact(second, 0)
    assert ring.leased() == 1
    assert write(ring, 1)


def test_releasing_twice_ends_one_lease_only(directory):
    ring = make(directory, 1)
    write(ring, 0)
    first, second = ring.lease(0), ring.lease(0)
    first.release()
    first.release()
    assert not write(ring, 1)
    second.release()
    assert ring.leased() == 0


def test_a_lease_released_while_another_thread_weakens_it_stays_released(directory):
    """A deadline releases on one thread what a context's thread weakens on another."""
    ring = make(directory, 2)
    write(ring, 0)
    lease = ring.lease(0)
    inside, go = threading.Event(), threading.Event()

    class Held:
        """Lets the release in before the weakening thread has the ring's lock."""

        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            if threading.current_thread().name == "weakens":
                inside.set()
                assert go.wait(60)
            return self.lock.__enter__()

        def __exit__(self, *args):
            return self.lock.__exit__(*args)

    ring._lock = Held(ring._lock)
    weakens = threading.Thread(target=lease.weaken, name="weakens")
    weakens.start()
    assert inside.wait(60)
    lease.release()
    go.set()
    weakens.join(60)
    assert ring.leased() == 0


def test_what_was_taken_is_not_there_to_be_leased(directory):
    ring = make(directory, 2)
    for seq in range(5):
        write(ring, seq)
    assert [ring.lease(seq) is None for seq in range(6)] == [True, True, True, False, False, True]
    assert held(ring, *range(6)) == [3, 4]


def test_a_hundred_thousand_frames_answered_leave_nothing_behind(directory):
    """Leased, weakened and released, as every frame is that gets an answer."""
    ring = make(directory, 4)
    for seq in range(100_000):
        slot = ring.begin(seq, at(seq), 2, 2, LIVE)
        ring.commit(slot)
        lease = ring.lease(seq)
        lease.weaken()
        lease.release()
    assert len(ring._use._idle) + len(ring._use._weak) <= 4 * ring.shape.slots
    assert (len(ring), ring.leased()) == (4, 0)


def test_its_repr_tells_what_it_holds(directory):
    ring = make(directory, 3)
    write(ring, 0), write(ring, 1)
    lease = ring.lease(1)
    assert repr(ring) == "<FrameRing gate 2/3, 1 leased>"
    lease.release()
    assert repr(ring) == "<FrameRing gate 2/3, 0 leased>"


# against a model ------------------------------------------------------------------------------


class Ring(RuleBasedStateMachine):
    """A ring of three slots beside a dict of the frames it should hold."""

    SLOTS = 3

    def __init__(self):
        super().__init__()
        self.folder = ring_folder()
        self.ring = make(self.folder.__enter__(), self.SLOTS)
        self.next = 0
        self.newest = -1  # committed
        self.frames: dict[int, list[int]] = {}  # seq: the numbers of its leases
        self.leases: list[tuple[int, object]] = []  # seq, lease
        self.state: list[str] = []

    def teardown(self):
        self.folder.__exit__(None, None, None)

    def room(self):
        """What the next frame should cost: nothing (−1), a frame's seq, or None: no slot."""
        if len(self.frames) < self.SLOTS:
            return -1
        states = {seq: {self.state[n] for n in numbers} for seq, numbers in self.frames.items()}
        free = [seq for seq, some in states.items() if some <= {"released"}]
        weak = [seq for seq, some in states.items() if "strong" not in some]
        passed = [seq for seq in free if seq < self.newest]
        weak = [seq for seq in weak if seq not in free]
        return min(passed, default=min(weak, default=min(free, default=None)))

    def begin(self):
        cost = self.room()
        slot = self.ring.begin(self.next, at(self.next), 2, 2, LIVE)
        assert (slot is None) == (cost is None)
        if cost is not None and cost >= 0:
            del self.frames[cost]
        return slot

    @rule()
    def capture(self):
        if slot := self.begin():
            slot.pixels[:] = colour(self.next)
            self.ring.commit(slot)
            self.frames[self.next] = []
            self.newest = self.next
        self.next += 1

    @rule()
    def discard(self):
        if slot := self.begin():
            slot.pixels[:] = 255
            self.ring.discard(slot)

    @precondition(lambda self: self.next)
    @rule(data=st.data())
    def lease(self, data):
        seq = data.draw(st.integers(max(0, self.next - 5), self.next))
        lease = self.ring.lease(seq)
        assert (lease is not None) == (seq in self.frames)
        if lease:
            self.frames[seq].append(len(self.leases))
            self.leases.append((seq, lease))
            self.state.append("strong")

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def weaken(self, data):
        number = data.draw(st.integers(0, len(self.leases) - 1))
        self.leases[number][1].weaken()
        if self.state[number] == "strong":
            self.state[number] = "weak"

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data):
        number = data.draw(st.integers(0, len(self.leases) - 1))
        self.leases[number][1].release()
        self.state[number] = "released"

    @invariant()
    def every_frame_held_is_intact(self):
        assert len(self.ring) == len(self.frames)
        for (seq, lease), state in zip(self.leases, self.state, strict=True):
            if seq in self.frames:
                assert intact(lease, seq)
            else:
                assert state != "strong"
                with pytest.raises(FrameLostError):
                    _ = lease.frame

    @invariant()
    def what_is_leased_is_counted(self):
        leased = [n for numbers in self.frames.values() for n in numbers]
        seqs = {self.leases[n][0] for n in leased if self.state[n] != "released"}
        assert self.ring.leased() == len(seqs)


TestRingAgainstAModel = Ring.TestCase
TestRingAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# the file -------------------------------------------------------------------------------------

# As layout.py says it, written down once more: another process reads this
HEADER = struct.Struct("<8sIIQII36s64s")
STAMP = struct.Struct("<QQqqQ")
SLOT = struct.Struct("<QqqIIqII256s184s24x")
PAGE = 4096
needs_pages_of_4096 = pytest.mark.skipif(Shape(1, 1, 1).stride != PAGE, reason="larger pages")


def entry(directory, kind, offset):
    with (directory.path / "gate.0.ring").open("rb") as file:
        file.seek(offset)
        return kind.unpack(file.read(kind.size))


@needs_pages_of_4096
def test_the_file_is_laid_out_as_version_1_says(directory):
    shape = Shape(3, 40 * 40 * 3, 200)
    ring = FrameRing.create(
        directory, "gate", shape, file_name="gate.0.ring",
        boot="5b0c0000-0000-0000-0000-000000000001",
    )  # fmt: skip
    assert SLOT.size == 512
    stamps_at, slots_at, pixels_at = PAGE, PAGE + 2 * PAGE, PAGE + 2 * PAGE + PAGE
    assert (directory.path / "gate.0.ring").stat().st_size == pixels_at + 3 * 2 * PAGE
    assert entry(directory, HEADER, 0) == (
        b"framebuf", 1, 3, 2 * PAGE, 200, PAGE,
        b"5b0c0000-0000-0000-0000-000000000001", b"gate".ljust(64, b"\0"),
    )  # fmt: skip

    slot = ring.begin(205, at(777), 40, 30, Origin(12, "a.jpg"))
    slot.pixels[:] = 7
    number = slot.number
    ring.stamp(205, at(777), STAMP_DROPPED)
    ring.commit(slot, "cut short")
    assert entry(directory, STAMP, stamps_at + 5 * 40) == (206, 205, 777, at(777).utc_ns, 1)
    assert entry(directory, SLOT, slots_at + number * 512) == (
        206, 777, at(777).utc_ns, 40, 30, 12, 1, 0,
        b"a.jpg".ljust(256, b"\0"), b"cut short".ljust(184, b"\0"),
    )  # fmt: skip
    with (directory.path / "gate.0.ring").open("rb") as file:
        file.seek(pixels_at + number * 2 * PAGE)
        assert file.read(2 * PAGE) == bytes([7]) * (40 * 30 * 3) + bytes(2 * PAGE - 40 * 30 * 3)


@needs_pages_of_4096
def test_while_a_slot_is_written_its_generation_in_the_file_is_0(directory):
    ring = make(directory, 2)
    slots_at = 2 * PAGE

    def generation(number):
        return entry(directory, SLOT, slots_at + number * 512)[0]

    for seq in range(7):
        slot = ring.begin(seq, at(seq), 2, 2, LIVE)
        assert generation(slot.number) == 0
        slot.pixels[:] = 1
        assert generation(slot.number) == 0
        ring.commit(slot)
        assert generation(slot.number) == seq + 1
    discarded = ring.begin(7, at(7), 2, 2, LIVE)
    ring.discard(discarded)
    assert generation(discarded.number) == 0


def test_a_frame_without_error_or_origin_says_so_although_its_slot_had_both(directory):
    ring = make(directory, 1)
    ring.commit(ring.begin(0, at(0), 2, 2, Origin(3, "a.png")), "broken")
    first = ring.lease(0)
    assert (first.frame.error, first.frame.origin) == ("broken", Origin(3, "a.png"))
    first.release()
    write(ring, 1)
    assert (ring.lease(1).frame.error, ring.lease(1).frame.origin) == (None, LIVE)


@pytest.mark.parametrize("letter", ["x", "ß", "…", "𝄞"])
def test_a_long_error_is_cut_between_two_characters(directory, letter):
    ring = make(directory, 1)
    ring.commit(ring.begin(0, at(0), 2, 2, LIVE), "-" + letter * 200)
    error = ring.lease(0).frame.error
    size = len(letter.encode())
    assert error == "-" + letter * ((ERROR_BYTES - 1) // size)


def test_what_fits_is_not_cut():
    assert clipped("ß" * 92, 184) == ("ß" * 92).encode()
    assert clipped(None, 184) == b""
    assert clipped("\udce4.jpg", 256) == b"\xe4.jpg"


# threads --------------------------------------------------------------------------------------


@pytest.fixture
def _eager_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_switching")
def test_leased_pixels_stay_what_they_were_while_a_writer_races_with_readers(directory):
    frames, side, slots = 3000, 24, 8
    ring = make(directory, slots, side)
    newest, torn, checked = [0], [], [0] * 3
    done = threading.Event()

    def writes():
        try:
            for seq in range(frames):
                if not write(ring, seq, side):
                    torn.append(f"no slot for {seq}, though readers hold six of eight at most")
                newest[0] = seq
        finally:
            done.set()

    def reads(reader):
        chance = random.Random(reader)
        kept = []
        while not done.is_set() or not checked[reader]:
            seq = newest[0] - chance.randrange(slots)
            lease = ring.lease(seq) if seq >= 0 else None
            if lease is None:
                continue
            kept.append(lease)
            for one in kept:
                pixels = np.array(one.frame.pixels)
                if not (pixels == colour(one.seq)).all():
                    torn.append(f"frame {one.seq} holds {np.unique(pixels)}")
            checked[reader] += 1
            if len(kept) == 2:
                ended = kept.pop(chance.randrange(2))
                if chance.random() < 0.5:
                    ended.weaken()
                ended.release()
        for lease in kept:
            lease.release()

    threads = [threading.Thread(target=reads, args=(reader,)) for reader in range(3)]
    threads.append(threading.Thread(target=writes))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not torn
    assert all(checked)
    assert ring.leased() == 0
    assert len(ring) == slots
