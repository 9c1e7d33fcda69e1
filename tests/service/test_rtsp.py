"""A camera on RTSP as it is in the field, by GStreamer's server: late, killed, frozen, back again.

`make outages` breaks it fifty times; here it is a few, so that the tests stay quick.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from framebuf import config
from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.capture.camera import Camera
from framebuf.units import Size, Span
from tests.service import reference
from tests.service.books import Books
from tests.service.numbered import read_number
from tests.service.outage import Outages
from tests.service.parts import Mosquitto, Node, nanodet
from tests.service.rtsp import RtspCamera

pytestmark = pytest.mark.alone

BOUND_S = 60.0
FAULTS = int(os.environ.get("OUTAGES", "4"))
SEED = int(os.environ.get("SEED", "7"))


@contextmanager
def filled(url: str, frames: int) -> Iterator[tuple[Buffer, Camera]]:
    """A buffer into which a camera has written so many frames."""
    enough = threading.Event()
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        RingDirectory.open(Path(folder)) as directory,
    ):
        buffer = Buffer(
            "gate", directory, span=Span(frames=frames), memory=Size(2**28), stale_ns=2 * 10**9,
            boot_id="b", on_commit=lambda: buffer.kept < frames or enough.set(),
        )  # fmt: skip
        settings = config.Camera(name="gate", source=url, models=("m",))
        camera = Camera(settings, buffer, on_fatal=pytest.fail)
        camera.start()
        try:
            assert enough.wait(BOUND_S), f"{buffer.kept} frames, {camera.last_error}"
        finally:
            assert camera.stop(BOUND_S)
        yield buffer, camera


def test_every_frame_is_the_one_that_was_to_be_seen_at_its_stamp(rtsp: RtspCamera) -> None:
    """Those too that libav held back while it opened the stream, half a second of them."""
    rtsp.start()
    with filled(rtsp.url, 60) as (buffer, camera):
        stamps = buffer.after(-1)
        leases = [buffer.lease(stamp.seq) for stamp in stamps]
        numbers = [read_number(lease.frame.pixels) for lease in leases if lease]
        assert camera.clock is not None
        assert camera.clock.kind == "stream"
        assert buffer.rate == RtspCamera.RATE
    assert len(numbers) >= 60
    for stamp, number in zip(stamps, numbers, strict=True):
        assert number in rtsp.seen_at(stamp.mono_ns / 1e9)
    assert numbers == [(numbers[0] + n) % RtspCamera.PICTURES for n in range(len(numbers))]


@pytest.mark.timeout(240 + 60 * FAULTS)
def test_a_camera_that_breaks_is_told_comes_back_and_no_answer_is_another_frames(
    mosquitto: Mosquitto, rtsp: RtspCamera, tmp_path: Path
) -> None:
    node = Node(
        tmp_path, mosquitto.port,
        f'[[camera]]\nname = "gate"\nsource = "{rtsp.url}"\nfps = 10\nbuffer = "4s"\n'
        f'stale_after = "1s"\nmodels = ["obj"]\n{nanodet()}runtimes = 2\n',
        name="rtsp",
    )  # fmt: skip

    @cache
    def expected(number: int) -> list[reference.Finding]:
        return reference.detect(rtsp.pictures[number])

    def fault_of(result: dict[str, Any]) -> str:
        """Why the result cannot be that of its frame; empty where it can."""
        seen = rtsp.seen_at_utc(result["frame"]["at"])
        why = [reference.difference(expected(n), result["detections"]) for n in seen]
        return "" if "" in why else f"at {result['frame']['at']}, of {seen}: {why}"

    rtsp.start()
    with node.running(), Books.open(mosquitto.port, "rtsp") as books:
        books.wait_text("gate/availability", "online")
        info = books.wait_message(
            lambda m: (
                m.topic == "framebuf/rtsp/info" and m.document["cameras"]["gate"]["width"] == 640
            ),
            what="info on the open camera",
        ).document["cameras"]["gate"]
        assert (info["stamps"], info["rate"], info["lateness_ms"]) == ("stream", 10.0, 500.0)
        # this machine's clock less the stream's: the stream began after this machine did
        assert 0 < info["offset_ms"] <= time.monotonic() * 1000
        assert 0 <= info["lag_ms"] < 2000
        outages = Outages(rtsp, node, books, random.Random(SEED))
        for _ in range(FAULTS):
            outages.one()
        outages.check_nothing_left()
        books.fence("gate")
        requests = books.check_everything()
    results = [r for request in requests for r in request.by_index.values()]
    print(f"\n{outages}; {len(results)} answers, seed {SEED}")
    assert len(results) >= 10 * FAULTS
    assert [fault for fault in map(fault_of, results) if fault] == []
