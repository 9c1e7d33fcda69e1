"""A folder as a camera, and how a source is told apart from its name."""

from __future__ import annotations

import struct
import threading
import types
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.capture import open_source, pace, pictures
from framebuf.capture import source as source_module
from framebuf.capture.pictures import Pictures
from framebuf.capture.source import without_credentials
from framebuf.errors import SourceError
from framebuf.frames import Origin
from framebuf.units import SECOND_NS

FAST = 1000.0


def noise(height=48, width=64, seed=0):
    """Compressible, and different all over, so that half of its file is half of the picture."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(pixels, (5, 5), 2)


def encoded(suffix, pixels, *parameters) -> bytes:
    ok, data = cv2.imencode(suffix, pixels, list(parameters))
    assert ok
    return data.tobytes()


def flat(value, height=8, width=12):
    return np.full((height, width, 3), value, np.uint8)


def save(folder: Path, name: str, pixels) -> None:
    (folder / name).write_bytes(encoded(Path(name).suffix.lower(), pixels))


def pixels_of(grab):
    canvas = np.full((grab.height + 2, grab.width + 2, 3), 7, np.uint8)
    view = canvas[1:-1, 1:-1]
    grab.write(view)
    canvas[1:-1, 1:-1], picture = 7, view.copy()
    assert (canvas == 7).all(), "wrote beyond its destination"
    return picture


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def opened(tmp_path, stop):
    return lambda: Pictures.open(tmp_path, FAST, stop)


class FakeTime:
    """A clock, and a stop event, whose waits take no time."""

    def __init__(self, monkeypatch):
        self.ns = 10**12
        fake = types.SimpleNamespace(monotonic_ns=lambda: self.ns, time_ns=lambda: self.ns + 5)
        monkeypatch.setattr(pace, "time", fake)
        monkeypatch.setattr(source_module, "time", fake)

    def wait(self, timeout):
        self.ns += round(timeout * SECOND_NS)
        return False


@pytest.fixture
def clock(monkeypatch):
    return FakeTime(monkeypatch)


def test_pictures_come_by_name_and_begin_again_with_the_same_positions(tmp_path, opened):
    for name, value in (("b.png", 20), ("a.PNG", 10), ("c.bmp", 30)):
        save(tmp_path, name, flat(value))
    source = opened()
    grabs = [source.grab() for _ in range(6)]
    assert [grab.origin for grab in grabs] == 2 * [
        Origin(0, "a.PNG"), Origin(1, "b.png"), Origin(2, "c.bmp"),
    ]  # fmt: skip
    assert [pixels_of(grab)[0, 0, 0] for grab in grabs] == [10, 20, 30, 10, 20, 30]
    assert source.rate == FAST


def test_hidden_files_folders_and_other_files_are_no_pictures(tmp_path, opened):
    save(tmp_path, "a.webp", flat(10))
    save(tmp_path, ".b.png", flat(20))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    source = opened()
    assert [source.grab().origin.file for _ in range(3)] == ["a.webp"] * 3


def test_the_folder_is_listed_again_at_each_repeat_and_not_before(tmp_path, opened):
    save(tmp_path, "a.png", flat(10))
    save(tmp_path, "c.png", flat(30))
    source = opened()
    first = source.grab().origin.file
    save(tmp_path, "b.png", flat(20))
    names = [first, *(source.grab().origin.file for _ in range(4))]
    assert names == ["a.png", "c.png", "a.png", "b.png", "c.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_the_largest_picture_is_known_ahead(tmp_path, opened, suffix):
    save(tmp_path, f"a{suffix}", flat(10))
    save(tmp_path, f"b{suffix}", flat(20, 80, 120))
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.jpg").write_bytes(encoded(".jpg", flat(10))[:9])
    (tmp_path / "e.webp").write_bytes(b"no picture")
    assert opened().largest == 80 * 120 * 3


def test_where_no_header_says_a_size_nothing_is_known_ahead(tmp_path, opened):
    save(tmp_path, "a.webp", flat(10))
    assert opened().largest == 0


def test_a_folder_that_is_emptied_ends_the_source(tmp_path, opened):
    save(tmp_path, "a.png", flat(10))
    source = opened()
    source.grab()
    (tmp_path / "a.png").unlink()
    with pytest.raises(SourceError, match="no pictures"):
        source.grab()


def test_an_empty_or_missing_folder_cannot_be_opened(tmp_path, stop):
    with pytest.raises(SourceError, match=r"no pictures in .*expected \.jpg"):
        Pictures.open(tmp_path, FAST, stop)
    with pytest.raises(SourceError, match="No such file"):
        Pictures.open(tmp_path / "away", FAST, stop)


@pytest.mark.parametrize("keep", [0.999, 0.9, 0.5, 0.2])
@pytest.mark.parametrize("progressive", [0, 1])
def test_part_of_a_jpeg_is_an_error_and_the_next_picture_comes(tmp_path, opened, keep, progressive):
    whole = encoded(".jpg", noise(), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    (tmp_path / "a.jpg").write_bytes(whole[: int(len(whole) * keep)])
    (tmp_path / "b.jpg").write_bytes(whole)
    source = opened()
    half, good = source.grab(), source.grab()
    assert half.error is not None
    assert "a.jpg: cannot be decoded" in half.error
    assert good.error is None
    assert np.array_equal(pixels_of(good), cv2.imdecode(np.frombuffer(whole, np.uint8), 1))


@pytest.mark.parametrize("tail", [b"", bytes(4000)])
def test_half_a_jpeg_is_an_error_though_opencv_would_take_it(tmp_path, opened, monkeypatch, tail):
    """OpenCV 4 gives a picture that is half grey, and a tail of zeros is a copy cut short."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: flat(128))
    whole = encoded(".jpg", noise())
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2] + tail)
    (tmp_path / "b.jpg").write_bytes(whole + tail)
    source = opened()
    assert "cut short" in source.grab().error
    assert source.grab().error is None


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content
    return jpeg[:2] + segment + jpeg[2:]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(monkeypatch, tmp_path, opened):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: flat(128))
    thumbnail = encoded(".jpg", flat(50))
    whole = with_segment(encoded(".jpg", noise()), 0xE1, b"Exif\0\0" + thumbnail)
    (tmp_path / "a.jpg").write_bytes(whole[:-2])
    (tmp_path / "b.jpg").write_bytes(whole)
    source = opened()
    assert "cut short" in source.grab().error
    assert source.grab().error is None


def test_pictures_are_turned_as_their_exif_says(tmp_path, opened):
    orientation_6 = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    upright = encoded(".jpg", noise(32, 48))
    (tmp_path / "a.jpg").write_bytes(with_segment(upright, 0xE1, orientation_6))
    grab = opened().grab()
    assert (grab.height, grab.width) == (48, 32)
    turned = cv2.rotate(cv2.imdecode(np.frombuffer(upright, np.uint8), 1), cv2.ROTATE_90_CLOCKWISE)
    assert np.array_equal(pixels_of(grab), turned)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_grey_pictures_come_as_bgr(tmp_path, opened, suffix):
    (tmp_path / f"a{suffix}").write_bytes(encoded(suffix, np.full((5, 7), 90, np.uint8)))
    grab = opened().grab()
    assert (pixels_of(grab) == 90).all()


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = (b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*piece) for piece in pieces)


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", huge_png(40_000, 40_000), encoded(".png", noise())[:300]],
    ids=["empty", "text", "huge", "half a png"],
)
def test_what_is_no_picture_is_an_error_of_the_last_good_size(tmp_path, opened, content):
    (tmp_path / "a.png").write_bytes(content)
    save(tmp_path, "b.png", flat(10))
    source = opened()
    bad, good, bad_again = source.grab(), source.grab(), source.grab()
    assert bad.error.startswith("a.png: ")
    assert "\n" not in bad.error
    assert (bad.height, bad.width) == (16, 16)
    assert good.error is None
    assert (bad_again.height, bad_again.width) == (8, 12)
    assert bad_again.origin == bad.origin == Origin(0, "a.png")


def test_a_file_that_is_larger_than_any_picture_is_not_read(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(pictures, "_LARGEST_FILE", 2**20)
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**20 + 1)
    assert "larger than 1 MiB" in opened().grab().error


def test_a_picture_that_vanished_is_an_error(tmp_path, opened):
    save(tmp_path, "a.png", flat(10))
    save(tmp_path, "b.png", flat(20))
    source = opened()
    source.grab()
    (tmp_path / "b.png").unlink()
    grab = source.grab()
    assert grab.error == "b.png: is no longer there"
    assert grab.origin == Origin(1, "b.png")


def test_a_name_that_is_no_utf8_can_be_published(tmp_path, opened):
    path = tmp_path / "\udcff.png"
    path.write_bytes(encoded(".png", flat(10)))
    assert opened().grab().origin.file == "\ufffd.png"


def test_pictures_are_stamped_at_their_own_pace(tmp_path, clock):
    save(tmp_path, "a.png", flat(10))
    source = Pictures.open(tmp_path, 4.0, clock)
    stamps = [source.grab().captured for _ in range(4)]
    assert [stamp.mono_ns - stamps[0].mono_ns for stamp in stamps] == [
        0, SECOND_NS // 4, SECOND_NS // 2, 3 * SECOND_NS // 4,
    ]  # fmt: skip
    assert stamps[3].utc_ns == stamps[3].mono_ns + 5


def test_a_pace_makes_up_for_less_than_a_second_and_starts_anew_after_more(clock):
    pacer = pace.Pacer(clock)
    step = SECOND_NS // 10
    start = pacer.wait(step).mono_ns
    clock.ns += 5 * step
    assert [pacer.wait(step).mono_ns - start for _ in range(6)] == [5 * step] * 5 + [6 * step]
    clock.ns += 20 * step
    late = clock.ns
    assert [pacer.wait(step).mono_ns - late for _ in range(3)] == [0, step, 2 * step]


def test_stop_ends_the_wait_for_the_next_picture(tmp_path, stop):
    save(tmp_path, "a.png", flat(10))
    source = Pictures.open(tmp_path, 0.001, stop)
    source.grab()
    failures = []

    def grab():
        with pytest.raises(SourceError, match="stopped") as failure:
            source.grab()
        failures.append(failure)

    thread = threading.Thread(target=grab)
    thread.start()
    stop.set()
    thread.join(60)
    assert failures


def test_open_source_takes_a_folder_at_one_picture_a_second(tmp_path, stop):
    save(tmp_path, "a.png", flat(10))
    source = open_source(str(tmp_path), fps=None, stop=stop)
    assert source.rate == 1.0
    assert repr(source) == f"<Pictures {tmp_path} 0/1>"
    source.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/file.mp4", "no such file or folder; expected a folder of pictures"),
        ("rtmp://user:secret@host/x", r"^rtmp://host/x: not a kind of source; expected"),
    ],
)
def test_what_is_no_source_says_what_was_expected(stop, source, message):
    with pytest.raises(SourceError, match=message):
        open_source(source, fps=None, stop=stop)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("rtsp://user:secret@host:554/live", "rtsp://host:554/live"),
        ("rtsp://user@host/live", "rtsp://host/live"),
        ("rtsp://user:se@cr/et@host/live", "rtsp://host/live"),
        ("rtsp://user:se/cr#et?@host/live", "rtsp://host/live"),
        ("http://host/live@2?x=1", "http://host/live@2?x=1"),
        ("http://[::1]:80/live@2", "http://[::1]:80/live@2"),
        ("HTTP://host/?user=a&pwd=b&ch=1", "HTTP://host/?user=…&pwd=…&ch=1"),
        ("rtsp://host/user=a&password=b&ch=1", "rtsp://host/user=…&password=…&ch=1"),
        ("/srv/a@b", "/srv/a@b"),
    ],
)
def test_a_source_is_shown_without_its_credentials(url, shown):
    assert without_credentials(url) == shown


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_with_a_hole_in_its_middle_is_an_error_though_its_end_is_there(
    tmp_path, opened, progressive
):
    whole = encoded(".jpg", noise(240, 320), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    middle = len(whole) // 2
    (tmp_path / "a.jpg").write_bytes(whole)
    (tmp_path / "b.jpg").write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    source = opened()
    assert source.grab().error is None
    assert "damaged" in source.grab().error
