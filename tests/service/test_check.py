"""`framebuf check` on real parts: it measures, reckons, and says what to change."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.ports import free_port
from tests.service.numbered import make_video
from tests.service.parts import FRAMEBUF, Mosquitto, Node, tiny

if TYPE_CHECKING:
    from tests.service.rtsp import RtspCamera

BOUND_S = 120.0


def camera(source: object, more: str = "", name: str = "gate") -> str:
    return f'[[camera]]\nname = "{name}"\nsource = "{source}"\nmodels = ["tiny"]\n{more}'


def check(
    folder: Path, port: int, tables: str, *, state_dir: Path | None = None
) -> tuple[int, dict[str, Any], str]:
    """Exit code, the document, and what people read."""
    node = Node(folder, port, tables)
    if state_dir is not None:
        text = node.config.read_text()
        node.config.write_text(text.replace(f'"{folder}/state"', f'"{state_dir}"'))
    command = [FRAMEBUF, "check", "-c", node.config]
    run = [
        subprocess.run(
            [*command, *more], capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        for more in (["--json"], [])
    ]
    assert run[0].returncode == run[1].returncode, run
    return run[0].returncode, json.loads(run[0].stdout), run[1].stdout + run[1].stderr


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", 50)


def test_an_rtsp_camera_a_model_and_what_a_drain_takes(
    mosquitto: Mosquitto, rtsp: RtspCamera, tmp_path: Path
) -> None:
    rtsp.start()
    code, report, text = check(
        tmp_path, mosquitto.port, camera(rtsp.url, 'buffer = "2s"\n') + tiny()
    )
    assert code == 0, text
    assert report["problems"] == []
    (seen,) = report["cameras"]
    assert (seen["width"], seen["height"], seen["stamps"]) == (640, 480, "stream")
    assert seen["measured_rate"] == pytest.approx(25, rel=0.05)
    assert seen["history"] == 50
    assert seen["drain"]["frames"] == 50
    assert seen["drain"]["seconds"] > 0
    assert report["machine"]["ring_need_bytes"] == seen["bytes"]
    (model,) = report["models"]
    assert [cost["batch"] for cost in model["batches"]] == model["batch_sizes"]
    assert all(cost["ms_per_batch"] > 0 for cost in model["batches"])
    assert "a drain of 50 frames takes" in text
    assert "MiB that are free" in text


def test_what_a_camera_does_not_give_is_noted_with_a_remedy(
    mosquitto: Mosquitto, tmp_path: Path, film: Path
) -> None:
    wishes = 'fps = 60\nsize = [1920, 1080]\nbuffer = "2s"\n[camera.trigger]\ndeadline = "1ms"\n'
    memory = Path("/dev/shm/framebuf-test-no-such-folder")
    code, report, text = check(
        tmp_path, mosquitto.port, camera(film, wishes) + tiny(), state_dir=memory
    )
    assert code == 0, text
    notes = {note["where"].rpartition(" ")[2]: note for note in report["notes"]}
    assert re.search(
        r"asks for 60 frames a second, 2\d(\.\d+)? come", notes["camera[0].fps"]["what"]
    )
    assert "asks for 1920×1080, 640×480 come" in notes["camera[0].size"]["what"]
    assert "the deadline is 1ms" in notes["camera[0].trigger.deadline"]["what"]
    assert notes["node.state_dir"]["what"] == (
        f"{memory} is on tmpfs: a power cut takes the open requests with it"
    )
    assert not memory.exists(), "a check makes nothing"
    assert all(note["remedy"] for note in report["notes"])
    assert text.count("note: ") == len(report["notes"])


def test_rings_larger_than_their_tmpfs_are_told_before_the_daemon_fails(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((480, 640, 3), np.uint8))
    huge = 'buffer = 3000000\nmemory = "4000 GiB"\nfps = 20\n[camera.trigger]\nmax_frames = 10\n'
    code, report, text = check(tmp_path, mosquitto.port, camera(folder, huge) + tiny())
    assert code == 78
    (problem,) = report["problems"]
    assert "MiB free, the cameras need" in problem["what"]
    assert "remount,size" in problem["remedy"]
    assert "MiB free, the cameras need" in text


def test_all_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    away = camera("/dev/v4l/by-id/usb-none-index0") + camera("rtsp://127.0.0.1:1/x", name="b")
    (tmp_path / "state").write_text("no folder")
    code, report, text = check(tmp_path, free_port(), away + tiny())
    assert code == 78
    assert [problem["where"].rpartition(" ")[2] for problem in report["problems"]] == [
        "camera[0].source", "camera[1].source", "node.state_dir", "mqtt",
    ]  # fmt: skip
    assert "is it plugged in" in text
    assert "no answer" in text or "refused" in text
