"""Sources whose packets are kept as they are: their frames are those that decoding gives."""

from __future__ import annotations

import threading

import av
import cv2
import numpy as np
import pytest

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.decoder import Converter, GroupDecoder
from framebuf.capture import codedvideo, open_source, pace, v4l2
from framebuf.capture.recorder import Recorder
from framebuf.capture.source import now
from framebuf.errors import SourceError
from framebuf.units import Size, Span
from tests.unit.packets import decoded_film, encoded_film
from tests.unit.rings import ring_folder
from tests.unit.test_v4l2 import MJPG, FakeCapture

KINDS = {
    "h264": {"codec": "libx264", "bf": "0"},
    "b-frames": {"codec": "libx264", "bf": "3"},
    "open groups": {"codec": "libx264", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    "open pyramids": {
        "codec": "libx264",
        "bf": "3",
        "gop": 12,
        "x264-params": "open-gop=1:scenecut=0:b-adapt=0:b-pyramid=normal",
    },
    "hevc": {"codec": "libx265", "x265-params": "log-level=none"},
    "mjpeg": {"codec": "mjpeg", "qmin": "2", "qmax": "4"},
}


@pytest.fixture
def directory():
    with ring_folder() as found:
        yield found


@pytest.fixture
def at_once(monkeypatch):
    """Files are played as fast as they are read."""
    monkeypatch.setattr(pace.Pacer, "wait", lambda self, step_ns: now())


def film_of(tmp_path, kind, frames=30):
    options = dict(KINDS[kind])
    if options["codec"] not in av.codecs_available:
        pytest.skip(f"PyAV has no {options['codec']}")
    suffix = "avi" if kind == "mjpeg" else "mp4"
    return encoded_film(tmp_path / f"film.{suffix}", frames, **options)


def recorded(directory, source, frames, *, fps=None, boot="b-1"):
    buffer = Buffer(
        "gate", directory, span=Span(frames=1000), memory=Size(2**24), stale_ns=10**10,
        boot_id=boot, encoded=True,
    )  # fmt: skip
    buffer.opened(source.rate)
    recorder = Recorder("gate", fps, buffer)
    for _ in range(frames):
        recorder.take(source.grab())
    return buffer


def pictures(buffer, *, step=1):
    """Each frame's seq, place in its file, and pixels or why there are none."""
    converter, decoder = Converter(), None
    for stamp in buffer.after(-1)[::step]:
        lease = buffer.lease(stamp.seq)
        ring, shown = buffer.coded(stamp.seq)
        if decoder is None or decoder.group is not shown.group or not decoder.can_give(shown.nth):
            leading = shown.group.records[shown.nth].leading
            decoder = GroupDecoder(ring, shown.group, shown.group.before if leading else None)
        picture = decoder.picture(shown.nth)
        pixels = picture if isinstance(picture, str) else converter.bgr(picture)
        yield stamp.seq, lease.frame.origin.position, pixels
        lease.release()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 7])
def test_frames_are_those_of_decoding_in_the_order_they_are_shown(
    tmp_path, directory, at_once, kind, step, capfd
):
    film = film_of(tmp_path, kind)
    expected = decoded_film(film)
    source = open_source(str(film), stop=threading.Event(), encoded=True)
    buffer = recorded(directory, source, 45)
    source.close()
    assert buffer.size == (96, 64)
    found = list(pictures(buffer, step=step))
    assert [seq for seq, _, _ in found] == list(range(0, 45, step))
    for seq, position, pixels in found:
        assert position == seq % 30
        assert np.array_equal(pixels, expected[position])


def test_thinned_to_fps_the_frames_between_are_still_there_to_decode_from(
    tmp_path, directory, monkeypatch
):
    film = film_of(tmp_path, "b-frames")
    expected = decoded_film(film)
    source = open_source(str(film), stop=threading.Event(), encoded=True)
    clock = iter(range(10**9, 10**12, 40 * 10**6))
    from framebuf.units import Moment

    monkeypatch.setattr(pace.Pacer, "wait", lambda self, step_ns: Moment(t := next(clock), t))
    buffer = recorded(directory, source, 30, fps=5)
    source.close()
    found = list(pictures(buffer))
    assert [position for _, position, _ in found] == [0, 4, 9, 14, 19, 24, 29]
    for _, position, pixels in found:
        assert np.array_equal(pixels, expected[position])


def test_a_folder_and_a_codec_that_no_ring_of_packets_takes_name_the_other_store(tmp_path):
    stop = threading.Event()
    with pytest.raises(SourceError, match='store = "raw"'):
        open_source(str(tmp_path), stop=stop, encoded=True)
    film = encoded_film(tmp_path / "film.avi", 5, codec="mpeg4")
    with pytest.raises(SourceError, match=r'sends mpeg4.*store = "raw"'):
        open_source(str(film), stop=stop, encoded=True)


def test_pictures_whose_order_nothing_tells_name_the_other_store(tmp_path, directory, at_once):
    film = encoded_film(tmp_path / "film.h264", 30, codec="libx264", bf="3")
    with pytest.raises(SourceError, match=r'without times.*store = "raw"'):
        open_source(str(film), stop=threading.Event(), encoded=True)
    film = encoded_film(tmp_path / "plain.h264", 30, codec="libx264", bf="0")
    source = open_source(str(film), stop=threading.Event(), encoded=True)
    found = list(pictures(recorded(directory, source, 30)))
    source.close()
    expected = decoded_film(film)
    assert [position for _, position, _ in found] == list(range(30))
    assert all(np.array_equal(pixels, expected[position]) for _, position, pixels in found)


class JpegCapture(FakeCapture):
    """A device whose JPEGs stay as they are where it is asked for that."""

    has_jpegs = True

    def set(self, prop, value):
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self.converts = bool(value)
            return True
        if prop == cv2.CAP_PROP_FOURCC and not self.has_jpegs:
            return False
        return super().set(prop, value)

    def get(self, prop):
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            return float(self.converts)
        return float(self.fourcc) if prop == cv2.CAP_PROP_FOURCC else super().get(prop)

    def retrieve(self, image=None):
        assert image is None
        if self.damaged:
            return False, None
        picture = np.full((self.size[1], self.size[0], 3), self.grabbed, np.uint8)
        return True, cv2.imencode(".jpg", picture)[1].reshape(1, -1)


def device(monkeypatch, has_jpegs=True):
    monkeypatch.setattr(v4l2, "_check", lambda path: None)
    kind = type("Capture", (JpegCapture,), {"has_jpegs": has_jpegs, "converts": True})
    return v4l2.Device.open(
        "/dev/video0", threading.Event(), size=(1280, 720), encoded=True, opener=kind
    )


def test_a_device_gives_its_jpegs_as_they_are(directory, monkeypatch):
    source = device(monkeypatch)
    buffer = recorded(directory, source, 5)
    assert source._capture.fourcc == MJPG
    assert buffer.size == (1280, 720)
    shades = [pixels[300, 300, 0] for _, _, pixels in pictures(buffer)]
    assert shades == [1, 2, 3, 4, 5]
    source._capture.damaged = True
    Recorder("gate", None, buffer).take(source.grab())
    assert "cannot be decoded" in list(pictures(buffer))[-1][2]


def test_a_device_without_jpegs_names_the_other_store(monkeypatch):
    with pytest.raises(SourceError, match='store = "raw"'):
        device(monkeypatch, has_jpegs=False)


def test_a_size_that_changes_midway_is_told_with_its_key_frame(tmp_path, directory, at_once):
    if "libx264" not in av.codecs_available:
        pytest.skip("PyAV has no libx264")
    films = [
        encoded_film(tmp_path / f"{width}.ts", 12, size=(width, 64), gop=6, bf="0")
        for width in (96, 128)
    ]
    whole = tmp_path / "film.ts"
    whole.write_bytes(b"".join(film.read_bytes() for film in films))
    expected = [picture for film in films for picture in decoded_film(film)]
    source = open_source(str(whole), stop=threading.Event(), encoded=True)
    buffer = recorded(directory, source, 23)
    source.close()
    assert buffer.size == (128, 64)
    sizes = []
    for seq, _, pixels in pictures(buffer):
        frame = buffer.lease(seq).frame
        sizes.append((frame.width, frame.height))
        assert np.array_equal(pixels, expected[seq])
        assert pixels.shape[:2] == (frame.height, frame.width)
    assert sizes == 12 * [(96, 64)] + 11 * [(128, 64)]


def test_parameter_sets_that_stand_twice_now_and_then_are_decoded_once_for_their_size(
    tmp_path, directory, at_once, monkeypatch
):
    film = encoded_film(tmp_path / "film.h264", 60, bf="0")
    units = film.read_bytes().split(b"\0\0\0\1")
    sets = [unit for unit in units if unit[:1] == b"\x67"]
    assert len(sets) == 6, "one before each key frame"
    seen = 0
    for at, unit in reversed([*enumerate(units)]):
        if unit[:1] == b"\x67":
            units[at:at] = [unit] * (seen % 2)
            seen += 1
    film.write_bytes(b"\0\0\0\1".join(units))
    decoded = []
    size_of = codedvideo.size_of
    monkeypatch.setattr(codedvideo, "size_of", lambda *what: decoded.append(what) or size_of(*what))
    source = open_source(str(film), stop=threading.Event(), encoded=True)
    try:
        buffer = recorded(directory, source, 110)  # nearly twice through
    finally:
        source.close()
    assert buffer.size == (96, 64)
    assert len(decoded) == 1


def test_a_camera_that_comes_back_with_another_codec_is_decoded_with_that(
    tmp_path, directory, at_once
):
    films = [film_of(tmp_path, kind, 12) for kind in ("b-frames", "mjpeg", "h264")]
    buffer, expected = None, []
    for film in films:
        source = open_source(str(film), stop=threading.Event(), encoded=True)
        if buffer is None:
            buffer = recorded(directory, source, 12)
        else:
            buffer.interrupted()
            buffer.opened(source.rate)
            recorder = Recorder("gate", None, buffer)
            for _ in range(12):
                recorder.take(source.grab())
        expected += decoded_film(film)
        source.close()
    found = list(pictures(buffer))
    assert [seq for seq, _, _ in found] == list(range(36))
    assert all(np.array_equal(pixels, expected[seq]) for seq, _, pixels in found)
    after = Buffer(
        "gate", directory, span=Span(frames=1000), memory=Size(2**24), stale_ns=10**10,
        boot_id="b-1", encoded=True,
    )  # fmt: skip
    after.recover(now().mono_ns)
    again = list(pictures(after))
    assert [seq for seq, _, _ in again] == list(range(36))
    assert all(np.array_equal(pixels, expected[seq]) for seq, _, pixels in again)
