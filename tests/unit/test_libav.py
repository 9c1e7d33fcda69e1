"""Video files and HTTP streams, made and served by the test."""

from __future__ import annotations

import socket
import struct
import threading
import time
import types
from collections.abc import Iterable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from framebuf.capture import open_source, pace
from framebuf.capture import source as source_module
from framebuf.capture.libav import Video
from framebuf.capture.source import PATIENCE_S, now
from framebuf.errors import SourceError
from framebuf.frames import LIVE
from framebuf.units import SECOND_NS

RATE = 500
"""Frames a second of the test's files: fast, and a whole number of milliseconds."""


def grey(value: int, height: int, width: int):
    return np.full((height, width, 3), value, np.uint8)


def film(path, values, *, codec="ffv1", pixels="bgr0", size=(18, 34), rate=RATE, pts=None, **more):
    """Write one grey frame for each value; `pts` in milliseconds instead of `rate`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.options = more
        if pts:
            stream.codec_context.time_base = Fraction(1, 1000)
        for at, value in enumerate(values):
            picture = av.VideoFrame.from_ndarray(grey(value, *size), format="bgr24")
            frame = picture.reformat(format=pixels)
            if pts:
                frame.pts, frame.time_base = pts[at], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def jpeg(value: int, height: int = 48, width: int = 64) -> bytes:
    pixels = np.random.default_rng(value).integers(0, 40, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels + np.uint8(value))[1].tobytes()


def film_of_jpegs(path, jpegs: list[bytes]) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        container.start_encoding()
        for at, content in enumerate(jpegs):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = at
            container.mux(packet)
    return str(path)


def pixels_of(grab):
    canvas = np.full((grab.height + 2, grab.width + 2, 3), 7, np.uint8)
    grab.write(canvas[1:-1, 1:-1])
    picture = canvas[1:-1, 1:-1].copy()
    canvas[1:-1, 1:-1] = 7
    assert (canvas == 7).all(), "wrote beyond its destination"
    return picture


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def opened(stop):
    """Open a source, patient for a busy machine's sake; it is closed at the end of the test."""
    sources = []

    def opener(source, stop=stop, patience_s=20.0, **more):
        opened = open_source(source, fps=None, stop=stop, patience_s=patience_s, **more)
        sources.append(opened)
        return opened

    yield opener
    for source in sources:
        source.close()


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_a_packets_time_is_that_of_its_time_base_to_the_nanosecond(tmp_path, suffix):
    video = Video.open(film(tmp_path / f"a.{suffix}", [10, 20, 30], rate=30))
    try:
        packets = [packet for packet in video.packets() if packet.size]
        assert len(packets) == 3
        for packet in packets:
            assert packet.time_base is not None
            exact = packet.pts * packet.time_base * SECOND_NS
            assert abs(video.time_ns(packet.pts) - exact) <= Fraction(1, 2)
        assert video.time_ns(None) is None
    finally:
        video.close()


def test_a_file_is_played_over_and_over_with_the_same_positions(tmp_path, opened):
    source = opened(film(tmp_path / "a.mkv", [10, 20, 30]))
    grabs = [source.grab() for _ in range(7)]
    assert [grab.origin.position for grab in grabs] == [0, 1, 2, 0, 1, 2, 0]
    assert {grab.origin.file for grab in grabs} == {None}
    assert [pixels_of(grab)[5, 5].tolist() for grab in grabs] == [
        [value] * 3 for value in (10, 20, 30, 10, 20, 30, 10)
    ]
    assert source.rate == RATE


def test_frames_that_the_decoder_holds_back_are_not_lost_at_the_end(tmp_path, opened):
    values = list(range(20, 220, 20))
    path = film(
        tmp_path / "a.mp4", values, codec="libx264", pixels="yuv420p", size=(18, 34), bf="2"
    )
    source = opened(path)
    grabs = [source.grab() for _ in range(2 * len(values))]
    assert [grab.origin.position for grab in grabs] == 2 * list(range(len(values)))
    seen = [int(pixels_of(grab)[5, 5, 1]) for grab in grabs]
    assert np.abs(np.array(seen) - 2 * values).max() <= 6


@pytest.mark.parametrize(
    ("codec", "pixels", "size"),
    [
        ("rawvideo", "bgr24", (17, 33)),
        ("ffv1", "yuv444p", (17, 33)),
        ("ffv1", "gray", (17, 33)),
        ("ffv1", "yuv420p", (18, 30)),
    ],
)
def test_any_size_and_layout_comes_as_bgr(tmp_path, opened, codec, pixels, size):
    path = film(tmp_path / "a.avi", [10, 200], codec=codec, pixels=pixels, size=size)
    grab = opened(path).grab()
    assert (grab.height, grab.width) == size
    assert np.abs(pixels_of(grab).astype(int) - 10).max() <= 5


def test_raw_video_that_stands_bottom_up_is_turned(tmp_path, opened):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = 17, 33, "bgr24"
        picture = grey(0, 17, 33)
        picture[:5] = (10, 100, 200)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    data = path.read_bytes()
    top_down, bottom_up = struct.pack("<ii", 33, -17), struct.pack("<ii", 33, 17)
    assert top_down in data
    path.write_bytes(data.replace(top_down, bottom_up, 1))
    assert np.array_equal(pixels_of(opened(str(path)).grab()), picture[::-1])


def test_a_file_keeps_its_own_pace_over_jumps_and_repeats(tmp_path, opened, monkeypatch):
    """Frames at 0, 40, 140 ms; then a clock that jumps by two hours."""
    time_ns = 10**12

    class Stop:
        def is_set(self):
            return False

        def wait(self, timeout):
            nonlocal time_ns
            time_ns += round(timeout * SECOND_NS)
            return False

    fake = types.SimpleNamespace(monotonic_ns=lambda: time_ns, time_ns=lambda: time_ns)
    monkeypatch.setattr(pace, "time", fake)
    monkeypatch.setattr(source_module, "time", fake)
    path = film(tmp_path / "a.mkv", [10, 20, 30, 40], pts=[0, 40, 140, 7_200_000], rate=25)
    source = opened(path, stop=Stop())
    monkeypatch.setattr(source, "_period_s", 0.2)
    stamps = [source.grab().captured.mono_ns for _ in range(6)]
    assert np.diff(stamps).tolist() == [ms * 10**6 for ms in (40, 100, 200, 200, 40)]


def test_stop_ends_a_file(tmp_path, opened, stop):
    source = opened(film(tmp_path / "a.mkv", [10, 20]))
    source.grab()
    stop.set()
    with pytest.raises(SourceError, match="stopped"):
        source.grab()


def test_what_is_no_video_says_so_in_one_line(tmp_path, opened, capfd):
    text = tmp_path / "a.mp4"
    text.write_text("no video\n" * 100)
    with pytest.raises(SourceError, match=r"cannot open .*a\.mp4: Invalid data") as failure:
        opened(str(text))
    assert "\n" not in str(failure.value)
    sound = tmp_path / "a.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(SourceError, match="no video stream"):
        opened(str(sound))
    unknown = tmp_path / "a.mkv"
    film(unknown, [10], codec="libx264", pixels="yuv420p")
    unknown.write_bytes(unknown.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XXX"))
    with pytest.raises(SourceError, match="no video stream that libav decodes"):
        opened(str(unknown))
    assert capfd.readouterr() == ("", "")


def test_a_file_without_a_frame_fails_and_does_not_spin(tmp_path, opened):
    path = film_of_jpegs(tmp_path / "a.avi", [])
    with pytest.raises(SourceError, match="has no frames"):
        opened(path).grab()


def test_a_file_that_vanished_ends_at_its_repeat(tmp_path, opened):
    path = tmp_path / "a.mkv"
    source = opened(film(path, [10, 20]))
    path.unlink()
    assert [source.grab().origin.position for _ in range(2)] == [0, 1]
    with pytest.raises(SourceError, match="No such file"):
        source.grab()


def test_a_damaged_frame_is_an_error_at_its_position_and_the_next_comes(tmp_path, opened, capfd):
    half = jpeg(60)[: len(jpeg(60)) // 2]
    source = opened(film_of_jpegs(tmp_path / "a.avi", [jpeg(20), half, jpeg(100), b"no jpeg"]))
    grabs = [source.grab() for _ in range(8)]
    assert [grab.origin.position for grab in grabs] == 2 * [0, 1, 2, 3]
    assert [grab.error is None for grab in grabs] == 2 * [True, False, True, False]
    assert grabs[1].error.startswith("cannot be decoded: ")
    assert (grabs[1].height, grabs[1].width) == (48, 64)
    assert pixels_of(grabs[2]).mean() == pytest.approx(120, abs=3)
    assert capfd.readouterr() == ("", "")


MJPEG = "multipart/x-mixed-replace; boundary=part"


class Served(ThreadingHTTPServer):
    """Bytes over HTTP, as parts of MJPEG by default; the end closes.

    Between them events to wait for, and seconds to let pass.
    """

    daemon_threads = True

    def __init__(self, script: Iterable[bytes | threading.Event | float], kind: str) -> None:
        super().__init__(("127.0.0.1", 0), self.Connection)
        self.script = script
        self.kind = kind
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    class Connection(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", self.server.kind)
            if self.server.kind != MJPEG:  # without a length, libav calls the end an I/O error
                self.send_header("Content-Length", str(sum(map(len, self.server.script))))
            self.end_headers()
            for item in self.server.script:
                if isinstance(item, threading.Event):
                    item.wait(60)
                    continue
                if isinstance(item, float):
                    time.sleep(item)
                    continue
                if self.server.kind != MJPEG:
                    self.wfile.write(item)
                    continue
                head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(item)}\r\n\r\n"
                self.wfile.write(head.encode() + item + b"\r\n")

        def log_message(self, *_):
            pass


@pytest.fixture
def serve():
    servers = []

    def server(*script, kind=MJPEG) -> str:
        servers.append(Served(script, kind))
        return servers[-1].url

    yield server
    for served in servers:
        for item in served.script:
            if isinstance(item, threading.Event):
                item.set()
        served.shutdown()
        served.server_close()


def test_a_stream_gives_live_frames_and_its_end_is_an_error(serve, opened):
    source = opened(serve(jpeg(20), jpeg(60), jpeg(100)))
    grabs = [source.grab() for _ in range(3)]
    assert [grab.origin for grab in grabs] == [LIVE] * 3
    assert [pixels_of(grab).mean() for grab in grabs] == pytest.approx([40, 80, 120], abs=3)
    assert source.rate is None, "MJPEG tells no rate, and libav's 25 is made up"
    assert source.clock.offset_ns is None, "nor times, and libav's are those of that rate"
    with pytest.raises(SourceError, match=r"ended|failed: Input/output error"):
        source.grab()


def test_a_stream_that_ends_cleanly_is_an_error_too(tmp_path, serve, opened):
    path = film(tmp_path / "a.ts", [60] * 9, codec="mpeg2video", pixels="yuv420p", rate=25)
    served = now()
    source = opened(serve(Path(path).read_bytes(), kind="video/mp2t"))
    grabs = []
    with pytest.raises(SourceError, match="the stream ended"):
        grabs.extend(iter(source.grab, None))
    assert [grab.origin for grab in grabs] == [LIVE] * len(grabs)
    assert len(grabs) >= 5
    assert source.rate == 25
    stamps = [grab.captured.mono_ns for grab in grabs]
    assert np.diff(stamps) == pytest.approx(40e6, abs=1e3), "by the stream's clock, not in one go"
    assert served.mono_ns - 400e6 < stamps[0] < stamps[-1] <= now().mono_ns


def test_a_frame_is_stamped_when_it_arrives_not_when_it_is_waited_for(serve, opened):
    sent = threading.Event()
    source = opened(serve(jpeg(20), jpeg(60), jpeg(100), sent, jpeg(140)))
    before = [source.grab().captured for _ in range(3)]
    grabs = []
    waiting = threading.Thread(target=lambda: grabs.append(source.grab()))
    waiting.start()
    sent_at = now()
    sent.set()
    waiting.join(60)
    stamps = [*before, sent_at, grabs[0].captured, now()]
    assert stamps == sorted(stamps, key=lambda moment: moment.mono_ns)
    assert sent_at.utc_ns <= grabs[0].captured.utc_ns


def test_a_stream_may_change_its_size_and_break_a_picture(serve, opened):
    half = jpeg(60)[: len(jpeg(60)) // 2]
    source = opened(serve(jpeg(20), jpeg(60), half, jpeg(100, 96, 128), jpeg(140)))
    grabs = [source.grab() for _ in range(5)]
    assert [(grab.height, grab.width) for grab in grabs] == [
        (48, 64), (48, 64), (48, 64), (96, 128), (48, 64),
    ]  # fmt: skip
    assert [grab.error is None for grab in grabs] == [True, True, False, True, True]
    assert pixels_of(grabs[3]).mean() == pytest.approx(120, abs=3)
    assert pixels_of(grabs[4]).mean() == pytest.approx(160, abs=3)


def test_encoded_video_may_change_its_size_midway(tmp_path, serve, opened):
    more = {"codec": "mpeg2video", "pixels": "yuv420p", "rate": 25}
    paths = [film(tmp_path / f"{h}.ts", [60] * 9, size=(h, 64), **more) for h in (48, 96)]
    whole = b"".join(Path(path).read_bytes() for path in paths)
    source = opened(serve(whole, kind="video/mp2t"))
    sizes, stamps = [], []

    def take():
        grab = source.grab()
        assert pixels_of(grab).mean() == pytest.approx(60, abs=6)
        sizes.append(grab.height)
        stamps.append(grab.captured.mono_ns)
        return grab

    with pytest.raises(SourceError, match="ended"):
        list(iter(take, None))
    assert list(dict.fromkeys(sizes)) == [48, 96]
    assert stamps == sorted(stamps), "though the second one's clock began anew"


def test_a_stream_that_no_longer_decodes_is_opened_again(serve, opened, monkeypatch):
    """A change of codec shows only so: libav goes on with the decoder that it began with."""
    half = jpeg(60)[: len(jpeg(60)) // 2]
    source = opened(serve(jpeg(20), jpeg(60), half, half, threading.Event()))
    monkeypatch.setattr(source, "_broken_ns", 0)
    assert [source.grab().error is None for _ in range(2)] == [True, True]
    with pytest.raises(SourceError, match="nothing could be decoded for"):
        source.grab()


def test_a_stream_whose_pictures_stay_as_they_are_says_no_less_of_them(serve, opened):
    half = jpeg(60)[: len(jpeg(60)) // 2]
    script = [jpeg(20), jpeg(60), half, jpeg(100, 96, 128), jpeg(140)]
    source = opened(serve(*script), encoded=True)
    grabs = [source.grab() for _ in range(5)]
    assert [(grab.height, grab.width) for grab in grabs] == [
        (48, 64), (48, 64), (48, 64), (96, 128), (48, 64),
    ]  # fmt: skip
    assert [[packet.data for packet in grab.packets] for grab in grabs] == [[one] for one in script]
    assert [grab.packet.head.codec for grab in grabs] == 5 * ["mjpeg"]
    assert source.clock.offset_ns is None
    with pytest.raises(SourceError, match=r"ended|failed: Input/output error"):
        source.grab()


def test_a_stream_whose_pictures_stay_as_they_are_is_opened_again_when_they_are_none(
    serve, opened, monkeypatch
):
    source = opened(
        serve(jpeg(20), jpeg(60), b"no picture", b"none", threading.Event()), encoded=True
    )
    monkeypatch.setattr(source, "_broken_ns", 0)
    assert [source.grab().height for _ in range(2)] == [48, 48]
    with pytest.raises(SourceError, match="nothing could be decoded for"):
        [source.grab() for _ in range(2)]


def test_a_stream_that_falls_silent_times_out(serve, opened):
    source = opened(serve(jpeg(20), jpeg(60), jpeg(100), threading.Event()), patience_s=3.0)
    for _ in range(3):
        source.grab()
    with pytest.raises(SourceError, match=r"reading http://127.*: it timed out"):
        source.grab()


def test_a_stream_that_tells_no_rate_is_measured_and_no_frame_is_lost_by_that(serve, opened):
    values = [20 + 5 * at for at in range(30)]
    paced = [item for value in values for item in (jpeg(value), 0.05)]
    source = opened(serve(*paced))
    assert source.rate is None
    rate = source.measure()
    grabs = [source.grab() for _ in values]
    means = [pixels_of(grab).mean() for grab in grabs]
    assert means == pytest.approx([value + 20 for value in values], abs=4)
    arrivals = [grab.captured.mono_ns for grab in grabs]
    # as fast as frames came in this run, whatever else the machine had to do
    assert rate == pytest.approx(12e9 / (arrivals[15] - arrivals[3]), rel=0.5)


def test_a_stream_slower_than_the_usual_patience_is_waited_for_where_it_is_asked(serve, opened):
    source = opened(serve(jpeg(20), jpeg(60), jpeg(100), 2.0, jpeg(120)), patience_s=6.0)
    assert [pixels_of(source.grab()).mean() for _ in range(4)] == pytest.approx(
        [40, 80, 120, 140], abs=4
    )


def test_a_stream_that_does_not_open_in_time_says_what_a_slower_one_needs(serve, opened):
    with pytest.raises(SourceError, match=r"it timed out; a camera that is slower needs"):
        opened(serve(threading.Event()), patience_s=PATIENCE_S)


def test_stop_ends_a_stream(serve, opened, stop):
    source = opened(serve(jpeg(20), jpeg(60), threading.Event()))
    stop.set()
    with pytest.raises(SourceError, match="stopped"):
        source.grab()


def test_a_server_that_is_not_there_is_told_without_its_password(opened):
    with pytest.raises(SourceError, match=r"cannot open http://127\.0\.0\.1:1/x: ") as failure:
        opened("http://user:secret@127.0.0.1:1/x")
    assert "secret" not in str(failure.value)
    assert "\n" not in str(failure.value)


def test_packets_before_the_first_key_frame_are_no_broken_pictures(tmp_path, serve, stop):
    """Joined midway, H.264 gives nothing until it can be decoded, and then every frame."""
    path = tmp_path / "a.ts"
    film(path, [60] * 30, codec="libx264", pixels="yuv420p", g="20", tune="zerolatency")
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    (tmp_path / "mid.ts").write_bytes(path.read_bytes()[starts[5] :])
    source = open_source(str(tmp_path / "mid.ts"), fps=None, stop=stop)
    grabs = [source.grab() for _ in range(11)]
    assert [grab.error for grab in grabs] == [None] * 11
    assert [grab.origin.position for grab in grabs] == [*range(10), 0]
    source.close()


def h264(count: int) -> list[bytes]:
    """NAL units, each smaller than an RTP packet, of grey pictures 10, 20, 30 …"""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast"}
    units = []
    for at in range(count):
        picture = av.VideoFrame.from_ndarray(grey(10 + 10 * at, 48, 64), format="bgr24")
        frame = picture.reformat(format="yuv420p")
        frame.pts = at
        units += b"".join(map(bytes, encoder.encode(frame))).split(b"\0\0\1")[1:]
    return [unit.rstrip(b"\0") for unit in units]


def serve_rtsp(listener: socket.socket, asked: list[str]) -> None:
    """One client, RTP within the connection (RFC 2326 and 6184), twenty frames, then nothing."""
    media = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n"
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + media
    answers = {
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
        "PLAY": "Session: 1\r\n\r\n",
    }
    connection, _ = listener.accept()
    with connection, connection.makefile("r", newline="\r\n") as requests:
        for line in requests:
            if "RTSP/1.0" in line:
                method = line.split()[0]
            asked.append(line.strip())
            if line.startswith("CSeq:"):
                sequence = line.strip()
            if line == "\r\n":
                answer = (
                    f"RTSP/1.0 200 OK\r\n{sequence}\r\n{answers.get(method, chr(13) + chr(10))}"
                )
                connection.sendall(answer.encode())
                if method == "PLAY":
                    break
        at = -1
        for number, unit in enumerate(h264(20)):
            picture = unit[0] & 31 in (1, 5)
            at += picture
            header = struct.pack(">BBHII", 0x80, 96 | picture << 7, number, max(0, at) * 3600, 1)
            packet = header + unit
            connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)


def test_rtsp_comes_over_tcp_at_its_own_rate_until_the_server_goes(opened):
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve_rtsp, args=(listener, asked), daemon=True)
        serving.start()
        source = opened(f"rtsp://user:secret@127.0.0.1:{listener.getsockname()[1]}/live")
        seen, stamps = [], []

        def take():
            grab = source.grab()
            seen.append(int(pixels_of(grab)[20, 20, 1]))
            stamps.append(grab.captured.mono_ns)
            return grab

        with pytest.raises(SourceError, match=r"^the stream ended$"):
            list(iter(take, None))
        serving.join(60)
    assert np.diff(stamps) == pytest.approx(40e6, abs=1e3), "the first has no time, and is guessed"
    assert seen == pytest.approx([10 + 10 * at for at in range(len(seen))], abs=6)
    assert len(seen) >= 19
    assert source.rate == 25
    assert source.clock.offset_ns is not None
    assert any("RTP/AVP/TCP" in line for line in asked)
    assert "secret" not in repr(source)


def test_a_text_is_no_video(tmp_path):
    """libav draws it, character by character."""
    path = tmp_path / "labels.txt"
    path.write_text("person\ncar\n" * 40)
    with pytest.raises(SourceError, match="is a text, not a video"):
        open_source(str(path), stop=threading.Event())
