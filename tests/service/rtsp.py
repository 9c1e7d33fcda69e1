"""A camera on RTSP that a test can kill, freeze and start again, and its numbered pictures."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path

import av

from tests.service.numbered import Picture, frames_of
from tests.service.parts import REPO, START_S

PYTHON = "/usr/bin/python3"
"""Debian's, which has python3-gi."""


class RtspCamera:
    """GStreamer's RTSP server over numbered pictures, which it plays by the monotonic clock."""

    PICTURES = 96
    RATE = 25
    LATE = 3
    """Frames: encoder, server and network delay each picture, and a test allows so many."""

    def __init__(self, film: Path, folder: Path, port: int) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/camera"
        self.pictures: list[Picture] = list(frames_of(film))
        self._port = port
        self._units = folder / "film.units"
        self._units.write_bytes(b"".join(_access_units(film)))
        self._process: subprocess.Popen[bytes] | None = None
        self.utc_s = time.time() - time.monotonic()

    @staticmethod
    def can_run() -> bool:
        code = (
            "import gi; gi.require_version('GstRtspServer', '1.0'); "
            "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
            "assert all(map(Gst.ElementFactory.find, ('appsrc', 'h264parse', 'rtph264pay')))"
        )
        try:
            return not subprocess.run(
                [PYTHON, "-c", code], capture_output=True, check=False
            ).returncode
        except FileNotFoundError:
            return False

    def start(self) -> None:
        """Start it, and wait until it listens."""
        script = REPO / "tests" / "service" / "rtsp_server.py"
        self._process = subprocess.Popen(
            [PYTHON, script, str(self._port), str(self.RATE), self._units],
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
            except OSError:
                assert self._process.poll() is None, "the RTSP server ended at once"
                time.sleep(0.01)
            else:
                return
        raise TimeoutError(f"the RTSP server does not listen on {self._port}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def seen_at(self, mono_s: float) -> list[int]:
        """The pictures that a frame of this stamp may show, the newest first."""
        newest = int(mono_s * self.RATE)
        return [(newest - late) % self.PICTURES for late in range(self.LATE + 1)]

    def seen_at_utc(self, text: str) -> list[int]:
        """The same for the time of a result, which is in whole milliseconds."""
        return self.seen_at(datetime.fromisoformat(text).timestamp() + 0.001 - self.utc_s)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _access_units(film: Path) -> list[bytes]:
    """Each picture's H.264, behind its length; the parameter sets stand before each key frame."""
    units = []
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        to_stream = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for filtered in to_stream.filter(packet if packet.size else None):
                unit = bytes(filtered)
                units.append(len(unit).to_bytes(4, "big") + unit)
    return units
