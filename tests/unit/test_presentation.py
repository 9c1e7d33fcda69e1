"""Pictures into the order in which they are shown, and parameter sets found."""

from __future__ import annotations

import random

import av
import pytest

from framebuf.buffer.coded import Packet
from framebuf.buffer.framenumbers import FrameNumbers
from framebuf.buffer.nal import first_slice, parameter_sets
from framebuf.capture.presentation import CodedPicture, Presentation
from framebuf.units import SECOND_NS
from tests.unit.packets import encoded_film


def picture(number, pts, *, skipped=False):
    time_ns = None if pts is None else pts * SECOND_NS // 25
    return CodedPicture(Packet(b""), number, pts, time_ns, 2, 2, skipped=skipped)


def shown(presentation, packets, *, times=True):
    """The numbers as they come out after each (pts, dts), and what comes at the end."""
    out = []
    for number, (pts, dts) in enumerate(packets):
        given = presentation.add(picture(number, pts), dts if times else None)
        out.append([one.number for one in given])
    return [*out, [one.number for one in presentation.flush()]]


IBBP = [(0, -2), (3, -1), (1, 0), (2, 1), (6, 2), (4, 3), (5, 4), (7, 5), (8, 6), (9, 7)]
"""pts and dts of a stream with two pictures between those that they refer to."""


def test_without_reordering_each_picture_goes_at_once():
    assert shown(Presentation(0), [(n, n) for n in range(4)]) == [[0], [1], [2], [3], []]


def test_a_picture_goes_when_no_earlier_one_can_come_and_all_packets_before_its_own_go_too():
    assert shown(Presentation(2), IBBP) == [
        [], [], [0], [], [], [2, 3, 1], [], [], [5, 6, 4], [7], [8, 9],
    ]  # fmt: skip


def test_without_times_of_decoding_a_decoders_delay_says_it():
    out = shown(Presentation(2), IBBP, times=False)
    assert [n for part in out for n in part] == [0, 2, 3, 1, 5, 6, 4, 7, 8, 9]
    assert out[2] == [0]


def test_pictures_without_times_go_as_they_come():
    assert shown(Presentation(0), [(None, None)] * 3) == [[0], [1], [2], []]


def test_what_no_decoder_shows_is_not_shown_whether_it_was_held_back_or_not():
    at_once = Presentation(0)
    assert at_once.add(picture(0, 0, skipped=True), 0) == []
    assert [p.number for p in at_once.add(picture(1, 1), 1)] == [1]
    held = Presentation(2)
    assert held.add(picture(0, 3), -1) == []
    assert held.add(picture(1, 1, skipped=True), 0) == []
    assert [p.number for p in held.add(picture(2, 2), 3)] == [2, 0]
    assert held.add(picture(3, 9, skipped=True), 4) == held.flush() == []


def test_a_clock_that_goes_back_lets_everything_go():
    presentation = Presentation(2)
    shown_before = [presentation.add(picture(n, 1000 + n), 998 + n) for n in range(4)]
    assert sum(map(len, shown_before)) == 2
    assert [p.number for p in presentation.add(picture(4, 0), -2)] == [2, 3]


def test_a_broken_clock_holds_back_a_few_pictures_at_most():
    presentation = Presentation(2)
    held = 0
    for number in range(500):
        held += 1 - len(presentation.add(picture(number, 10**9 + number), -(10**9) + number))
        assert held <= 22


def test_whatever_the_times_each_picture_goes_once():
    for seed in range(50):
        rng = random.Random(seed)
        packets = [
            (rng.choice([None, rng.randrange(40)]), rng.choice([None, rng.randrange(40)]))
            for _ in range(60)
        ]
        out = [n for part in shown(Presentation(rng.randrange(4)), packets) for n in part]
        assert sorted(out) == list(range(60))


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
@pytest.mark.parametrize("suffix", ["mp4", "h26x"])
def test_parameter_sets_are_found_behind_start_codes_and_behind_lengths(
    tmp_path, codec, name, suffix, capfd
):
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec}")
    film = encoded_film(tmp_path / "film.mp4", 3, codec=codec)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata)
        key, *_ = [packet for packet in container.demux(stream) if packet.size]
        data = bytes(key)
        assert parameter_sets(name, data, extradata) == ()  # they stand outside
        to_stream = av.BitStreamFilterContext(f"{name}_mp4toannexb", stream)
        in_band = bytes(to_stream.filter(key)[0])
    sets = parameter_sets(name, in_band, b"" if suffix == "h26x" else in_band[:64])
    assert len(sets) == (1 if name == "h264" else 2)
    assert all(one in extradata for one in sets)
    by_length = b"".join(len(s).to_bytes(4, "big") + s for s in sets) + data
    assert parameter_sets(name, by_length, extradata) == sets
    assert parameter_sets("mjpeg", data, b"") == ()


def test_parameter_sets_of_noise_are_no_error():
    for seed in range(200):
        noise = random.Random(seed).randbytes(200)
        for extradata in (b"", b"\x01" + noise[:30]):
            numbers = FrameNumbers("h264", extradata)
            numbers.misses(noise)
            numbers.misses(b"\x00\x00\x01\x67" + noise)
            numbers.misses(b"\x00\x00\x01\x65" + noise)
            for codec in ("h264", "hevc"):
                parameter_sets(codec, noise, extradata)
                parameter_sets(codec, b"\x00\x00\x01" * 20 + noise, extradata)


@pytest.mark.parametrize("bf", ["0", "2"])
@pytest.mark.parametrize("in_band", [False, True])
def test_a_picture_that_never_came_is_missed_by_the_next_one_that_refers(tmp_path, bf, in_band):
    if "libx264" not in av.codecs_available:
        pytest.skip("PyAV has no libx264")
    film = encoded_film(tmp_path / "film.mp4", 40, bf=bf, gop=20)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        extradata = b"" if in_band else bytes(stream.codec_context.extradata)
        to_stream = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = []
        for packet in container.demux(stream):
            if packet.size:
                data = bytes(to_stream.filter(packet)[0] if in_band else packet)
                referred = first_slice("h264", data, extradata)[0] & 0x60
                packets.append((data, bool(referred)))
    numbers = FrameNumbers("h264", extradata)
    assert not any(numbers.misses(data) for data, _ in packets)
    for lost in range(1, 19):
        _, referred = packets[lost]
        numbers = FrameNumbers("h264", extradata)
        told = [numbers.misses(data) for n, (data, _) in enumerate(packets[:20]) if n != lost]
        last_referred = max(n for n in range(20) if packets[n][1])
        assert any(told) == (referred and lost < last_referred)
    assert not FrameNumbers("hevc", b"").misses(packets[3][0])
