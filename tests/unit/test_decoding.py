"""The decoders: what they hand on, in what order, how much at once, and what they refuse."""

from __future__ import annotations

import threading
from collections import Counter
from queue import Empty, SimpleQueue

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from framebuf.buffer.coded import Head, Packet
from framebuf.buffer.decoder import GroupDecoder
from framebuf.buffer.packets import PacketRing
from framebuf.capture import open_source
from framebuf.frames import Part
from framebuf.models.backlog import Job
from framebuf.service import decoding
from framebuf.service.codedchain import CodedChain
from framebuf.service.decoding import Decoding
from framebuf.service.pixels import Allowance
from tests.unit.packets import decoded_film, encoded_film
from tests.unit.rings import ring_folder
from tests.unit.test_coded_sources import at_once, recorded  # noqa: F401 - a fixture

WAIT_S = 60


class FakeChain:
    """Takes what is decoded; the test prepares it when it likes."""

    model = "m"

    def __init__(self):
        self.taken: SimpleQueue[Job] = SimpleQueue()
        self.withdrawn = []

    def submit(self, jobs):
        for job in jobs:
            self.taken.put(job)

    def withdraw(self, turn):
        self.withdrawn.append(turn)
        return []


class Rig:
    """A buffer of packets behind decoders."""

    def __init__(
        self, buffer, *, threads=2, most=100, resize="stretch", size=(24, 16), whole=False
    ):
        self.buffer = buffer
        self.chain = FakeChain()
        self.decoding = Decoding(threads)
        self.decoding._given = self.allowance = Allowance(self.decoding._wake, most=most)
        self.coded = CodedChain(self.chain, buffer, self.decoding, resize, size, whole=whole)
        self.counts: Counter[str] = Counter()
        self.answers = SimpleQueue()
        self.leases = {}

    def job(self, seq, turn="a", **more):
        lease = self.leases[turn, seq] = self.buffer.lease(seq)

        def count(what):
            return lambda *_: self.counts.update([what])

        def answered(result):
            self.counts["answered"] += 1
            self.answers.put((seq, result))

        return Job(
            lease.frame, turn, 0, lease.weaken, answered, begun=count("begun"),
            paused=count("paused"), **more,
        )  # fmt: skip

    def ask(self, *seqs, turn="a", **more):
        self.coded.submit([self.job(seq, turn, **more) for seq in seqs])

    def take(self):
        return self.chain.taken.get(timeout=WAIT_S)

    def frames(self, count):
        """So many decoded frames, by seq, each let go at once."""
        found = {}
        for _ in range(count):
            job = self.take()
            found[job.frame.seq] = job.frame
            job.prepared()
        return found


@pytest.fixture
def film(tmp_path):
    return encoded_film(tmp_path / "film.mp4", 30, bf="0")


@pytest.fixture
def rig(film, at_once):  # noqa: F811
    with ring_folder() as directory:
        rigs = []

        def make(path=film, frames=30, *, started=True, **more):
            source = open_source(str(path), stop=threading.Event(), encoded=True)
            rigs.append(Rig(recorded(directory, source, frames), **more))
            source.close()
            if started:
                rigs[-1].decoding.start()
            return rigs[-1]

        yield make
        for one in rigs:
            one.decoding.stop(WAIT_S)


def test_what_is_asked_for_is_decoded_and_nothing_else_is_converted(rig, film):
    expected = decoded_film(film)
    one = rig()
    asked = [1, 5, 9, 10, 22, 29]
    one.ask(*asked)
    found = one.frames(len(asked))
    assert sorted(found) == asked
    for seq, frame in found.items():
        assert np.array_equal(frame.pixels, expected[seq])
        assert (frame.height, frame.width, frame.origin.position) == (64, 96, seq)
    with pytest.raises(Empty):
        one.chain.taken.get_nowait()
    assert one.counts == {"begun": 6, "paused": 6}


def test_frames_of_a_group_go_on_in_the_order_in_which_they_are_shown(rig):
    one = rig(threads=1)
    one.ask(*range(10))
    assert [one.take().frame.seq for _ in range(10)] == list(range(10))


def test_no_more_frames_are_held_decoded_than_there_is_room_for(rig):
    one = rig(most=3)
    one.ask(*range(30))
    held = [one.take() for _ in range(3)]
    seen = {job.frame.seq for job in held}
    for left in range(30, 3, -1):
        assert one.allowance.frames <= 3
        held.pop(0).prepared()
        held.append(one.take())
        seen.add(held[-1].frame.seq)
        assert len(seen) == 30 - left + 4
    assert seen == set(range(30))
    for job in held:
        job.prepared()
    assert one.allowance.frames == 0


def test_what_is_withdrawn_goes_no_further_and_its_room_is_free(rig):
    one = rig(most=2)
    one.ask(*range(20))
    begun = [one.take() for _ in range(2)]
    taken_back = one.coded.withdraw("a")
    assert len(taken_back) == 18
    assert one.chain.withdrawn == ["a"]
    assert one.allowance.frames == 0
    one.ask(25, 26, turn="b")
    assert sorted(one.frames(2)) == [25, 26]
    for job in begun:
        job.prepared()  # they were in a tensor: once more is no harm
    assert one.allowance.frames == 0


def test_frames_that_come_one_by_one_are_decoded_once_each(rig, monkeypatch):
    read = Counter()
    bare = PacketRing.read

    def counted(ring, group, nth):
        read[group, nth] += 1
        return bare(ring, group, nth)

    monkeypatch.setattr(PacketRing, "read", counted)
    one = rig()
    for seq in range(30):
        one.ask(seq)
        assert list(one.frames(1)) == [seq]
    assert sum(read.values()) == 30


def test_a_single_frame_does_not_wait_for_a_large_drain(rig):
    one = rig(threads=1, most=1)
    one.ask(*range(30), turn="drain")
    first = one.take()
    one.ask(15, turn="single", priority=3)
    first.prepared()
    second = one.take()
    second.prepared()
    third = one.take()
    third.prepared()
    assert "single" in (second.turn, third.turn)


def test_requests_take_turns(rig, monkeypatch):
    monkeypatch.setattr(decoding, "QUANTUM_NS", 0)
    one = rig(threads=1, most=1, started=False)
    one.ask(*range(10), turn="a")
    one.ask(*range(10), turn="b")
    one.decoding.start()
    turns = []
    for _ in range(4):
        job = one.take()
        turns.append(job.turn)
        job.prepared()
    assert set(turns) == {"a", "b"}


def test_one_that_is_to_be_alone_shares_the_decoders_with_no_other(rig):
    one = rig(threads=3, most=1, started=False)
    one.ask(*range(5), turn="bad", alone=True, priority=9)
    one.ask(*range(20, 25), turn="good")
    one.decoding.start()
    for _ in range(10):
        job = one.take()
        busy = list(one.decoding._reels._busy)
        assert not ({"bad", "good"} <= {reel.turn for reel in busy})
        job.prepared()


def test_pixels_that_a_picture_is_made_of_are_held_until_it_is(rig, film):
    expected = decoded_film(film)
    one = rig(most=1)
    picture = one.buffer.lease(7)
    one.coded.submit([one.job(7, developed=lambda frame, user: picture.develop(frame, user()))])
    job = one.take()
    one.ask(8)
    job.prepared()
    assert one.allowance.frames == 1
    with pytest.raises(Empty):
        one.chain.taken.get_nowait()
    assert np.array_equal(picture.frame.pixels, expected[7])
    picture.release()
    assert not picture.frame.is_decoded
    assert list(one.frames(1)) == [8]


def test_pixels_for_a_picture_that_nobody_wants_any_more_are_let_go_at_once(rig):
    one = rig(most=1)
    picture = one.buffer.lease(7)
    picture.release()
    one.coded.submit([one.job(7, developed=lambda frame, user: picture.develop(frame, user()))])
    one.frames(1)
    assert one.allowance.frames == 0


@pytest.fixture
def jpegs(tmp_path):
    rng = np.random.default_rng(4)
    pictures = [
        cv2.resize(rng.integers(40, 200, (4, 6, 3), np.uint8), (384, 256)) for _ in range(6)
    ]
    return encoded_film(
        tmp_path / "film.avi", codec="mjpeg", size=(384, 256), pictures=pictures, qmin="2", qmax="3"
    )


@pytest.mark.parametrize(
    ("size", "part", "parts"),
    [
        ((48, 32), None, 8),
        ((49, 32), None, 4),
        ((96, 64), None, 4),
        ((190, 120), None, 2),
        ((200, 120), None, 1),
        ((640, 640), None, 1),
        ((48, 32), Part(16, 8, 192, 128), 4),
        ((48, 32), Part(2, 6, 192, 128), 2),
        ((48, 32), Part(1, 0, 192, 128), 1),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_the_model_sees_it(rig, jpegs, size, part, parts):
    one = rig(jpegs, 6, size=size)
    one.ask(3, part=part)
    frame = one.frames(1)[3]
    assert frame.pixels.shape == (256 // parts, 384 // parts, 3)
    assert (frame.height, frame.width) == (256, 384)
    whole = decoded_film(jpegs)[3]
    of = whole if part is None else part.of(whole)
    seen = frame.seen(part)
    assert seen.shape == (-(-of.shape[0] // parts), -(-of.shape[1] // parts), 3)
    means = of[: seen.shape[0] * parts, : seen.shape[1] * parts]
    means = means.reshape(seen.shape[0], parts, seen.shape[1], parts, 3).mean((1, 3))
    assert np.abs(means - seen).mean() < 6


def test_for_crops_and_pictures_a_jpeg_is_decoded_as_it_is(rig, jpegs):
    one = rig(jpegs, 6, whole=True)
    one.ask(3)
    assert one.frames(1)[3].pixels.shape == (256, 384, 3)
    other = rig(jpegs, 6)
    other.coded.submit([other.job(2, developed=lambda frame, user: user()())])
    assert other.frames(1)[2].pixels.shape == (256, 384, 3)


def noise(buffer, seq):
    """Change a frame's packet where it lies."""
    ring, shown = buffer.coded(seq)
    record = shown.group.records[shown.nth]
    data = bytearray(ring.read(shown.group, shown.nth))
    rng = np.random.default_rng(1)
    for place in rng.integers(min(12, len(data) - 1), len(data), max(4, len(data) // 8)):
        data[place] = rng.integers(0, 256)
    ring.blocks.write(shown.group.blocks, record.at, bytes(data))


def cut(buffer, seq):
    """Leave half of a frame's packet."""
    _, shown = buffer.coded(seq)
    record = shown.group.records[shown.nth]
    shown.group.records[shown.nth] = replace(record, size=record.size // 2)


@pytest.mark.parametrize(
    ("codec", "damage"), [("libx264", noise), ("libx264", cut), ("libx265", cut)]
)
@pytest.mark.parametrize("bf", ["0", "2"])
@pytest.mark.parametrize("at", [10, 13])
def test_no_picture_that_may_refer_to_a_damaged_one_is_answered(
    rig, tmp_path, codec, damage, bf, at, capfd
):
    film = encoded_film(tmp_path / "film.mkv", 30, codec=codec, bf=bf, crf="18")
    expected = decoded_film(film)
    one = rig(film)
    damage(one.buffer, at)
    one.ask(*range(30))
    good, bad = {}, {}
    for _ in range(30):
        while True:
            try:
                job = one.chain.taken.get(timeout=0.02)
            except Empty:
                try:
                    seq, result = one.answers.get_nowait()
                except Empty:
                    continue
                bad[seq] = result.error
                break
            good[job.frame.seq] = job.frame.pixels
            job.prepared()
            break
    assert {seq for seq in good if not np.array_equal(good[seq], expected[seq])} == set()
    assert at in bad
    assert {error.code for error in bad.values()} == {"undecodable"}
    assert set(range(9)) <= set(good)
    assert set(range(21, 30)) <= set(good)
    assert one.counts["begun"] == 30
    assert one.counts["paused"] == len(good)
    assert one.allowance.frames == 0


def test_a_jpeg_that_is_cut_short_is_an_error_at_any_size(rig, jpegs):
    for size in ((48, 32), (640, 640)):
        one = rig(jpegs, 6, size=size)
        cut(one.buffer, 2)
        one.ask(1, 2, 3)
        seq, result = one.answers.get(timeout=WAIT_S)
        assert (seq, result.error.code) == (2, "undecodable")
        assert sorted(one.frames(2)) == [1, 3]


def test_a_picture_of_another_size_than_was_told_is_an_error(rig, monkeypatch):
    one = rig()
    _, shown = one.buffer.coded(4)
    shown.group.head = replace(shown.group.head, height=48)
    one.ask(4)
    _, result = one.answers.get(timeout=WAIT_S)
    assert "expected 96×48, got 96×64" in result.error.message


def test_a_frame_whose_packets_are_gone_is_an_error_and_not_another_frame(rig):
    one = rig()
    job = one.job(4)
    one.buffer._store._ring._groups.remove(one.buffer.coded(4)[1].group)
    one.coded.submit([job])
    _, result = one.answers.get(timeout=WAIT_S)
    assert (result.error.code, "gone" in result.error.message) == ("undecodable", True)


def test_what_is_no_picture_at_all_is_an_error_each_and_takes_no_thread_along(rig):
    one = rig()
    ring = one.buffer._store._ring
    rng = np.random.default_rng(0)
    from tests.unit.rings import at

    seqs = []
    for n in range(6):
        head = Head("h264", rng.bytes(40), 64, 96) if n % 3 == 0 else None
        packet = Packet(rng.bytes(500), head)
        one.buffer.take(packet)
        captured = one.buffer.arrived(at(10**17 + n))
        place = one.buffer.begin(captured, 64, 96, packet=packet)
        one.buffer.commit(place)
        seqs.append(place.seq)
    assert ring.holds(seqs[0])
    one.ask(*seqs)
    assert sorted(one.answers.get(timeout=WAIT_S)[0] for _ in seqs) == seqs
    one.ask(3, turn="b")
    assert list(one.frames(1)) == [3]


def test_a_model_whose_frames_take_all_the_room_holds_up_no_other(rig):
    one = rig(most=2)
    one.ask(1, 2, 3, 4, turn="a")
    held = [one.take(), one.take()]
    one.decoding._allowances[one.chain.model], one.decoding._given = one.allowance, None
    other = FakeChain()
    other.model = "another"
    coded = CodedChain(other, one.buffer, one.decoding, "stretch", (24, 16), whole=False)
    coded.submit([one.job(9, turn="b")])
    assert other.taken.get(timeout=WAIT_S).frame.seq == 9
    for job in held:
        job.prepared()
    assert sorted(one.frames(2)) == [3, 4]


def test_a_late_frame_of_a_group_costs_no_memory_for_those_before_it(rig, monkeypatch):
    one = rig(started=False)
    places = {seq: one.buffer.coded(seq) for seq in range(30)}
    ring, shown = max(places.values(), key=lambda place: place[1].nth)
    assert shown.nth > 5
    held = []
    decode = GroupDecoder._decode

    def counted(self, packet, at):
        decode(self, packet, at)
        held.append(len(self._pictures))

    monkeypatch.setattr(GroupDecoder, "_decode", counted)
    assert not isinstance(GroupDecoder(ring, shown.group).picture(shown.nth), str)
    assert len(held) > 5
    assert max(held) <= 2
