"""The camera thread, over a source with the vices of cameras, and once over a real server."""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf import config
from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.capture import pace
from framebuf.capture import source as source_module
from framebuf.capture.camera import Camera
from framebuf.capture.clock import LATENESS_NS, StreamClock
from framebuf.capture.pace import BackOff, Decimator, Meter
from framebuf.capture.source import Grab
from framebuf.errors import ConfigError, RingError, SourceError
from framebuf.frames import LIVE, Origin
from framebuf.units import SECOND_NS, Duration, Moment

BOUND_S = 60
HEIGHT, WIDTH = 4, 6
FPS_30 = SECOND_NS // 30


def settings(fps: float | None = None, source: str = "rtsp://user:secret@gate/live"):
    return config.Camera(name="gate", source=source, fps=fps, models=("person",))


class FakeSource:
    """Gives what the script says: values to grab, errors to raise, events to wait for.

    A value is a frame filled with it; at the end it blocks until it is stopped.
    """

    def __init__(self, *script, rate=None, measured=None, period_ns=FPS_30, start_ns=10**12):
        self.rate = rate
        self.measured = measured
        self.measurings = 0
        self.clock = None
        self.largest = 0
        self.script = list(script)
        self.period_ns = period_ns
        self.at_ns = start_ns
        self.writes = 0
        self.closed = False
        self.stop = None
        self.waiting = threading.Event()

    def measure(self):
        self.measurings += 1
        return self.measured

    def grab(self):
        assert not self.closed, "grab after close"
        self.at_ns += self.period_ns
        item = self.script.pop(0) if self.script else self.stop
        if isinstance(item, threading.Event):
            self.waiting.set()
            assert item.wait(BOUND_S)
            if item is self.stop:
                raise SourceError("stopped")
            return self.grab()
        if isinstance(item, Exception):
            raise item
        return item if isinstance(item, Grab) else self.frame(item)

    def frame(self, value, height=HEIGHT, width=WIDTH, **more):
        def write(dst):
            self.writes += 1
            if isinstance(value, Exception):
                raise value
            dst[:] = value

        return Grab(Moment(self.at_ns, self.at_ns), height, width, write, **more)

    def close(self):
        self.closed = True


@dataclass
class FakeSlot:
    pixels: np.ndarray
    origin: Origin


class FakeBuffer:
    """Notes what the camera thread says to it."""

    def __init__(self):
        self.said = queue.Queue()
        self.full = False
        self.refuses = None
        self.largest = 2**31
        self.stamps = lambda captured: captured

    def opened(self, rate, lateness_ns=0, largest=0):
        self.said.put(("opened", rate, lateness_ns) if lateness_ns else ("opened", rate))

    def arrived(self, captured):
        return self.stamps(captured)

    def passed_over(self):
        pass

    def interrupted(self):
        self.said.put(("interrupted",))

    def begin(self, captured, height, width, origin=LIVE, packet=None):
        if height * width > self.largest:
            raise ConfigError("memory", f"{width}×{height} are too many", "give it more")
        if self.refuses:
            raise self.refuses
        if self.full:
            self.said.put(("full",))
            return None
        return FakeSlot(np.zeros((height, width, 3), np.uint8), origin)

    def commit(self, slot, error=None):
        shape, value = slot.pixels.shape[:2], int(slot.pixels[0, 0, 0])
        self.said.put(("frame", value, shape, error) if error else ("frame", value, shape))

    def discard(self, slot):
        self.said.put(("discarded",))

    def next(self):
        return self.said.get(timeout=BOUND_S)

    def values(self, count):
        return [self.next()[1] for _ in range(count)]


class Rig:
    """A camera over fakes. `sources` are opened in order; an exception fails the opening."""

    def __init__(self, *sources, fps=None, buffer=None):
        self.buffer = buffer or FakeBuffer()
        self.sources = list(sources)
        self.opened_with = []
        self.fatal = queue.Queue()
        self.camera = Camera(
            settings(fps), self.buffer, on_fatal=self.fatal.put, source_opener=self.open
        )

    def open(self, source, *, fps, size, patience_s, stop):
        self.opened_with.append((source, fps))
        self.patience_s = patience_s
        found = self.sources.pop(0) if self.sources else SourceError("away")
        if isinstance(found, Exception):
            raise found
        found.stop = stop
        return found

    def __enter__(self):
        self.camera.start()
        return self

    def __exit__(self, *_):
        assert self.camera.stop(BOUND_S)


@pytest.fixture
def at_once(monkeypatch):
    """Back-off that takes no time."""
    monkeypatch.setattr(BackOff, "FIRST_S", 0.0001)
    monkeypatch.setattr(BackOff, "LONGEST_S", 0.0001)


def test_frames_go_into_their_slots_in_order_whatever_their_size():
    source = FakeSource(1, rate=30.0)
    source.script += [source.frame(2, 8, 10), 3]
    with Rig(source) as rig:
        assert [rig.buffer.next() for _ in range(4)] == [
            ("opened", 30.0),
            ("frame", 1, (HEIGHT, WIDTH)),
            ("frame", 2, (8, 10)),
            ("frame", 3, (HEIGHT, WIDTH)),
        ]
        assert rig.opened_with == [("rtsp://user:secret@gate/live", None)]
    assert source.closed
    assert rig.buffer.next() == ("interrupted",), "what a next start captures comes after a gap"


def test_stamps_and_origins_reach_the_buffer():
    seen = queue.Queue()
    source = FakeSource()
    grab = source.frame(1, origin=Origin(7, "a.jpg"))
    source.script.append(grab)
    rig = Rig(source)
    begin = rig.buffer.begin
    rig.buffer.begin = lambda *what: seen.put(what) or begin(*what)
    with rig:
        assert seen.get(timeout=BOUND_S) == (grab.captured, HEIGHT, WIDTH, Origin(7, "a.jpg"), None)


@pytest.mark.parametrize(
    ("rate", "fps", "told"),
    [(30.0, 15.0, 15.0), (30.0, 60.0, 30.0), (30.0, None, 30.0), (None, 15.0, 15.0), (None,) * 3],
)
def test_the_buffer_is_told_the_lower_of_both_rates(rate, fps, told):
    with Rig(FakeSource(rate=rate), fps=fps) as rig:
        assert rig.buffer.next() == ("opened", told)


@pytest.mark.usefixtures("at_once")
def test_a_source_that_tells_no_rate_is_measured_once_however_often_it_is_opened():
    first, second = FakeSource(SourceError("gone"), measured=8.0), FakeSource(measured=3.0)
    with Rig(first, second) as rig:
        said = [rig.buffer.next() for _ in range(3)]
    assert said == [("opened", 8.0), ("interrupted",), ("opened", 8.0)]
    assert (first.measurings, second.measurings) == (1, 0)


@pytest.mark.parametrize("known", [{"rate": 30.0}, {"fps": 15.0}])
def test_a_source_whose_rate_is_known_is_not_measured(known):
    source = FakeSource(rate=known.get("rate"), measured=8.0)
    with Rig(source, fps=known.get("fps")) as rig:
        assert rig.buffer.next() == ("opened", *known.values())
    assert source.measurings == 0


@pytest.mark.parametrize(
    ("more", "patience_s"),
    [({}, 1.5), ({"stale_after": "1s"}, 1.5), ({"stale_after": "10s"}, 9.5), ({"fps": 0.1}, 29.5)],
)
def test_a_slow_camera_is_waited_for_as_long_as_it_may_be_away(more, patience_s):
    if "stale_after" in more:
        more = {"stale_after": Duration.parse(more["stale_after"])}
    camera = config.Camera(name="gate", source="rtsp://gate", models=("person",), **more)
    assert source_module.patience_s(camera.stale_ns) == patience_s


def test_frames_are_kept_under_the_stamps_that_the_buffer_gives_and_outdated_ones_let_go():
    seen = queue.Queue()
    source = FakeSource(1, 2)
    source.clock = StreamClock()
    rig = Rig(source)
    answers = [None, Moment(10**15, 7)]
    rig.buffer.stamps = lambda captured: answers.pop(0)
    begin = rig.buffer.begin
    rig.buffer.begin = lambda *what: seen.put(what) or begin(*what)
    with rig:
        assert rig.buffer.next() == ("opened", None, LATENESS_NS)
        assert rig.buffer.next() == ("frame", 2, (HEIGHT, WIDTH))
        assert seen.get(timeout=BOUND_S)[0] == Moment(10**15, 7)
        assert rig.camera.recorder.outdated == 1
        assert rig.camera.clock is source.clock


@pytest.mark.usefixtures("at_once")
def test_a_failing_source_is_closed_and_opened_again_and_told_once(caplog):
    caplog.set_level(logging.INFO, "framebuf")
    steady = [value % 200 for value in range(100)]
    first = FakeSource(1, SourceError("the stream ended"))
    second = FakeSource(2, SourceError("the stream ended again"))
    third = FakeSource(*steady)
    away = SourceError("no answer")
    with Rig(first, away, away, second, away, third) as rig:
        said = [rig.buffer.next() for _ in range(6)]
        assert said == [
            ("opened", None), ("frame", 1, (HEIGHT, WIDTH)), ("interrupted",),
            ("opened", None), ("frame", 2, (HEIGHT, WIDTH)), ("interrupted",),
        ]  # fmt: skip
        assert rig.buffer.next() == ("opened", None)
        assert rig.buffer.values(100) == steady
        assert third.waiting.wait(BOUND_S)
        assert rig.camera.last_error is None
    assert first.closed
    assert second.closed
    assert rig.camera.reopened == 2
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "camera gate: the stream ended; reopening rtsp://gate/live"),
        ("INFO", "camera gate: frames come again"),
    ]
    assert {record.CAMERA for record in caplog.records} == {"gate"}


@pytest.mark.usefixtures("at_once")
def test_an_outage_ends_after_three_seconds_of_frames():
    opened = threading.Event()
    source = FakeSource(1, opened, 2, 3, period_ns=SECOND_NS)
    with Rig(SourceError("no answer"), source) as rig:
        assert rig.buffer.next() == ("opened", None)
        assert rig.buffer.values(1) == [1]
        assert source.waiting.wait(BOUND_S)
        assert rig.camera.last_error == "no answer"
        source.waiting.clear()
        opened.set()
        assert rig.buffer.values(2) == [2, 3]
        assert source.waiting.wait(BOUND_S)
        assert rig.camera.last_error is None


def test_back_off_doubles_from_a_quarter_to_two_seconds(monkeypatch):
    monkeypatch.setattr(pace.random, "uniform", lambda low, high: (low + high) / 2)
    back_off = BackOff()
    assert [back_off.next_s() for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    back_off.reset()
    assert back_off.next_s() == 0.25


def test_back_off_is_spread_by_a_quarter_each_way():
    waits = [BackOff().next_s() for _ in range(1000)]
    assert 0.1875 <= min(waits) < 0.2
    assert 0.3 < max(waits) <= 0.3125


@pytest.mark.usefixtures("at_once")
def test_back_off_goes_on_growing_while_sources_fail_within_three_seconds(monkeypatch):
    brief = [FakeSource(1, SourceError("gone")) for _ in range(3)]
    lasting = FakeSource(*range(100), SourceError("gone"))
    last = FakeSource(1)
    rig = Rig(*brief, lasting, last)
    calls = []
    monkeypatch.setattr(rig.camera._back_off, "next_s", lambda: calls.append("wait") or 0.0)
    monkeypatch.setattr(rig.camera._back_off, "reset", lambda: calls.append("reset"))
    with rig:
        assert last.waiting.wait(BOUND_S)
    assert calls[:3] == ["wait"] * 3
    assert set(calls[3:-1]) == {"reset"}
    assert calls[-1] == "wait"


def test_frames_passed_over_cost_neither_a_slot_nor_a_conversion():
    source = FakeSource(*range(10), rate=30.0)
    with Rig(source, fps=15.0) as rig:
        assert rig.buffer.next() == ("opened", 15.0)
        assert rig.buffer.values(5) == [0, 2, 4, 6, 8]
        assert source.waiting.wait(BOUND_S)
        assert rig.camera.recorder.decimated == 5
    assert source.writes == 5


def test_a_frame_without_a_slot_is_not_converted_and_the_next_are_taken():
    go_on = threading.Event()
    source = FakeSource(1, go_on, 2)
    rig = Rig(source)
    rig.buffer.full = True
    with rig:
        assert [rig.buffer.next() for _ in range(2)] == [("opened", None), ("full",)]
        assert source.waiting.wait(BOUND_S)
        assert source.writes == 0
        rig.buffer.full = False
        go_on.set()
        assert rig.buffer.values(1) == [2]


def test_a_picture_that_cannot_be_decoded_is_committed_with_its_error():
    source = FakeSource()
    source.script += [source.frame(9, 16, 16, error="half a JPEG"), 1]
    with Rig(source) as rig:
        assert [rig.buffer.next() for _ in range(3)] == [
            ("opened", None),
            ("frame", 0, (16, 16), "half a JPEG"),
            ("frame", 1, (HEIGHT, WIDTH)),
        ]
        assert source.waiting.wait(BOUND_S)
        assert rig.camera.recorder.undecodable == 1
    assert source.writes == 1


def test_a_picture_that_turns_out_damaged_while_it_is_written_is_committed_with_its_error():
    source = FakeSource()
    grab = source.frame(9)
    source.script += [msgspec.structs.replace(grab, write=lambda dst: "half a JPEG"), 1]
    with Rig(source) as rig:
        assert [rig.buffer.next() for _ in range(3)] == [
            ("opened", None),
            ("frame", 0, (HEIGHT, WIDTH), "half a JPEG"),
            ("frame", 1, (HEIGHT, WIDTH)),
        ]
        assert source.waiting.wait(BOUND_S)
        assert rig.camera.recorder.undecodable == 1


@pytest.mark.usefixtures("at_once")
def test_a_source_that_fails_while_writing_gives_its_slot_back():
    first, second = FakeSource(SourceError("unplugged")), FakeSource(1)
    first.script = [first.frame(SourceError("unplugged"))]
    with Rig(first, second) as rig:
        assert [rig.buffer.next() for _ in range(5)] == [
            ("opened", None), ("discarded",), ("interrupted",),
            ("opened", None), ("frame", 1, (HEIGHT, WIDTH)),
        ]  # fmt: skip
    assert first.closed


def test_a_tmpfs_without_room_is_told_and_the_source_closed_and_tried_again():
    """Where it is the only camera the node ends; else others may make room."""
    first, second = FakeSource(1, 2), FakeSource(3)
    rig = Rig(first, second)
    full = rig.buffer.refuses = RingError("the tmpfs is full")
    fatal = rig.fatal.put
    rig.camera._on_fatal = lambda error: (setattr(rig.buffer, "refuses", None), fatal(error))
    with rig:
        assert rig.fatal.get(timeout=BOUND_S) is full
        said = [rig.buffer.next() for _ in range(4)]
        assert rig.camera.last_error == str(full)
    assert said == [
        ("opened", None), ("interrupted",), ("opened", None), ("frame", 3, (HEIGHT, WIDTH)),
    ]  # fmt: skip
    assert first.closed
    assert rig.fatal.empty()


@pytest.mark.usefixtures("at_once")
def test_memory_that_never_holds_a_frame_is_told_after_two_seconds_and_tried_again(caplog):
    """Where it is the only camera the node ends; else another size may come."""
    first = FakeSource(*range(200))
    second = FakeSource(1)
    rig = Rig(first, second)
    rig.buffer.refuses = ConfigError("memory", "1 MiB does not hold two frames", "give it more")
    fatal = rig.fatal.put
    rig.camera._on_fatal = lambda error: (setattr(rig.buffer, "refuses", None), fatal(error))
    with rig:
        assert str(rig.fatal.get(timeout=BOUND_S)) == (
            "memory: 1 MiB does not hold two frames; give it more"
        )
        said = [rig.buffer.next() for _ in range(4)]
    assert said == [
        ("opened", None), ("interrupted",), ("opened", None), ("frame", 1, (HEIGHT, WIDTH)),
    ]  # fmt: skip
    assert first.closed
    assert 200 - len(first.script) == 62, "two seconds at 30 a second"
    assert rig.camera.recorder.oversized == 62
    assert caplog.text.count("does not hold two frames") == 1


def test_one_frame_larger_than_memory_is_a_frame_with_an_error_and_no_outage(caplog):
    source = FakeSource(1)
    source.script += [source.frame(2, 4000, 3000), 3, source.frame(4, 4000, 3000), 5]
    rig = Rig(source)
    rig.buffer.largest = 1000
    with rig:
        assert [rig.buffer.next() for _ in range(6)] == [
            ("opened", None),
            ("frame", 1, (HEIGHT, WIDTH)),
            ("frame", 0, (16, 16), "3000×4000 is more than memory holds"),
            ("frame", 3, (HEIGHT, WIDTH)),
            ("frame", 0, (16, 16), "3000×4000 is more than memory holds"),
            ("frame", 5, (HEIGHT, WIDTH)),
        ]
        assert rig.camera.recorder.oversized == 2
    assert caplog.text.count("3000×4000 are too many; give it more") == 1


def test_frames_larger_than_memory_before_the_first_that_fits_are_counted_only():
    source = FakeSource()
    source.script += [source.frame(1, 4000, 3000), 2]
    rig = Rig(source)
    rig.buffer.largest = 1000
    with rig:
        assert [rig.buffer.next() for _ in range(2)] == [
            ("opened", None), ("frame", 2, (HEIGHT, WIDTH)),
        ]  # fmt: skip
        assert rig.camera.recorder.oversized == 1


def test_what_is_not_expected_ends_the_thread_by_its_hook_and_closes_the_source(monkeypatch):
    raised = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", raised.put)
    source = FakeSource(ZeroDivisionError("a bug"))
    with Rig(source) as rig:
        what = raised.get(timeout=BOUND_S)
        assert what.exc_type is ZeroDivisionError
        assert what.thread.name == "camera-gate"
        assert rig.fatal.empty()
    assert source.closed


def test_stop_ends_the_wait_before_reopening(monkeypatch):
    monkeypatch.setattr(BackOff, "FIRST_S", 3600.0)
    monkeypatch.setattr(BackOff, "LONGEST_S", 3600.0)
    failed = threading.Event()
    rig = Rig()
    monkeypatch.setattr(rig.camera, "_beat", lambda: rig.camera.last_error and failed.set())
    with rig:
        assert failed.wait(BOUND_S)
        assert "waiting" in repr(rig.camera)
    assert repr(rig.camera) == "<Camera gate stopped, 0 reopened, 0 decimated, 0 undecodable>"


def test_stop_says_when_the_source_hangs_and_its_beat_stands_still():
    hang = threading.Event()
    source = FakeSource(hang, 1)
    rig = Rig(source)
    rig.camera.start()
    assert source.waiting.wait(BOUND_S)
    beat_ns = rig.camera.beat_ns
    assert rig.camera.stop(0.01) is False
    assert not source.closed, "only the thread that reads may close"
    assert rig.camera.beat_ns == beat_ns
    hang.set()
    assert rig.camera.stop(BOUND_S) is True
    assert source.closed
    assert rig.camera.beat_ns > beat_ns


def test_a_camera_that_never_started_is_stopped():
    assert Rig().camera.stop(0.0)


# Measuring and decimation


def measured(arrivals_ms):
    """The rate, and how many frames it took; None: more would be wanted."""
    meter = Meter()
    for count, at_ms in enumerate(arrivals_ms, start=1):
        meter.count(round(at_ms * 10**6))
        if meter.enough:
            return meter.rate, count
    return meter.rate, None


@pytest.mark.parametrize("burst", [1, 3, 40])
@pytest.mark.parametrize(("fps", "frames"), [(100, 12), (25, 12), (10, 10), (2, 2), (0.5, 1)])
def test_a_rate_is_measured_behind_the_first_burst_for_a_second_or_twelve_frames(
    burst, fps, frames
):
    held = [at * 0.01 for at in range(burst)]
    arrivals = [*held, *(held[-1] + (1 + at) * 1000 / fps for at in range(100))]
    assert measured(arrivals) == (pytest.approx(fps, rel=0.01), burst + frames)


def test_of_one_burst_there_is_no_rate():
    assert measured([at * 0.01 for at in range(1000)]) == (None, None)


def kept(stamps, fps) -> list[int]:
    decimator = Decimator(fps)
    return [stamp for stamp in stamps if decimator.keeps(stamp)]


def stamps_at(fps, seconds, jitter=0.0, seed=0):
    """Stamps of a source of `fps`, each up to `jitter` periods early or late."""
    count = round(fps * seconds)
    late = np.random.default_rng(seed).uniform(-jitter, jitter, count)
    return [round((at + late[at]) * SECOND_NS / fps) for at in range(count)]


def test_without_fps_every_frame_is_kept():
    stamps = stamps_at(30, 2)
    assert kept(stamps, None) == stamps


def test_30_to_15_keeps_every_second_frame():
    stamps = stamps_at(30, 20)
    assert kept(stamps, 15) == stamps[::2]


@pytest.mark.parametrize("fps", [1, 7, 12, 14.99, 20, 24, 29])
@pytest.mark.parametrize("jitter", [0.0, 0.2, 0.45])
def test_the_average_is_kept_whatever_the_ratio_and_the_jitter(fps, jitter):
    count = len(kept(stamps_at(30, 100, jitter), fps))
    assert count == pytest.approx(100 * fps, rel=0.02, abs=1)


@pytest.mark.parametrize("fps", [30, 31, 60, 1000])
def test_a_source_no_faster_than_fps_loses_nothing_to_jitter(fps):
    stamps = stamps_at(30, 100, jitter=0.12)
    assert kept(stamps, fps) == stamps


@given(pause_ms=st.integers(0, 10_000), fps=st.floats(1, 29))
def test_a_pause_causes_no_burst(pause_ms, fps):
    """The first frame, one made up for, and what half a period adds."""
    before = stamps_at(30, 3)
    back = before[-1] + FPS_30 + pause_ms * 10**6
    after = [back + stamp for stamp in stamps_at(30, 2)]
    soon = [stamp for stamp in kept(before + after, fps) if back <= stamp < back + SECOND_NS]
    assert len(soon) <= fps + 2.5


@given(
    steps=st.lists(st.integers(1, 3 * SECOND_NS), min_size=1, max_size=200), fps=st.floats(0.5, 60)
)
def test_no_stretch_of_time_has_more_than_its_share(steps, fps):
    """At most half a period is made up for; after two periods of silence a frame is kept."""
    stamps = np.cumsum(steps).tolist()
    chosen = kept(stamps, fps)
    for at, first in enumerate(chosen):
        for more, last in enumerate(chosen[at:]):
            assert more <= (last - first) * fps / SECOND_NS + 1.51
    period_ns = SECOND_NS / fps
    for stamp, before in zip(stamps[1:], stamps, strict=False):
        if stamp - before > 2 * period_ns:
            assert stamp in chosen


# With a real server and a real buffer


class Broken(ThreadingHTTPServer):
    """MJPEG that breaks off after four frames; the second connection goes on until the end."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Connection)
        self.connections = 0
        self.end = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    class Connection(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.connections += 1
            picture = np.full((48, 64, 3), 50 * self.server.connections, np.uint8)
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
            self.end_headers()
            for _ in range(4):
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            if self.server.connections > 1:
                self.server.end.wait(BOUND_S)

        def log_message(self, *_):
            pass


@pytest.mark.usefixtures("at_once")
def test_a_server_that_breaks_off_leaves_a_gap_and_frames_come_again():
    committed = threading.Semaphore(0)
    server = Broken()
    settled = settings(source=f"http://127.0.0.1:{server.server_address[1]}/")
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        RingDirectory.open(Path(folder)) as directory,
    ):
        buffer = Buffer(
            "gate", directory, span=settled.buffer, memory=settled.memory,
            stale_ns=settled.stale_ns, boot_id="boot", on_commit=committed.release,
        )  # fmt: skip
        camera = Camera(settled, buffer, on_fatal=pytest.fail)
        camera.start()
        try:
            for _ in range(7):
                assert committed.acquire(timeout=BOUND_S)
        finally:
            server.end.set()
            assert camera.stop(BOUND_S)
        stamps = list(buffer.after(-1))
        assert [stamp.seq for stamp in stamps[:7]] == list(range(7))
        gaps = [stamp.seq for stamp in stamps if stamp.after_gap]
        assert len(gaps) == 1
        assert camera.reopened == 1
        first, last = (buffer.lease(stamps[at].seq) for at in (0, 6))
        assert [int(lease.frame.pixels[9, 9, 1]) for lease in (first, last)] == [50, 100]
    server.shutdown()
    server.server_close()
