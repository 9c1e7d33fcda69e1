"""The broker away, the camera away, pictures broken, and the exit codes systemd reads."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import ASSETS, Mosquitto, Node, nanodet, tiny


def camera(source: object, more: str = "") -> str:
    return (
        f'[[camera]]\nname = "gate"\nsource = "{source}"\nbuffer = "3s"\nmodels = ["tiny"]\n{more}'
    )


def test_a_broker_that_comes_late_is_found_and_gets_the_retained_state(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    own_mosquitto.stop()
    node = Node(tmp_path, own_mosquitto.port, camera(ASSETS / "photos", "fps = 10\n") + tiny())
    with node.running():
        node.wait_log("no broker at")
        own_mosquitto.start()
        with Books.open(own_mosquitto.port, "t") as books:
            books.wait_text("status", "online")
            books.wait_text("gate/availability", "online")
            id = books.send_trigger("gate", {"mode": "window", "before": 5})
            books.wait_done(id)
            books.fence("gate")
            books.check_request(id)


def test_a_request_survives_a_broker_that_restarts_empty_in_the_middle_of_it(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    node = Node(tmp_path, own_mosquitto.port, camera(film, "fps = 10\n") + tiny())
    with node.running(), Books.open(own_mosquitto.port, "t") as books:
        books.wait_text("gate/availability", "online")
        trigger = {"id": "over", "mode": "window", "before": 0, "after": 20}
        books.send_trigger("gate", trigger)
        books.wait_results("over", 5)
        heard = books.newest
        own_mosquitto.stop()
        own_mosquitto.start()
        node.wait_log("20 of 20 frames")
        # What the new broker took while nobody was subscribed is gone; the done is remembered
        books.wait_subscribed(heard)
        books.send_trigger("gate", trigger)
        done = books.wait_done("over").document
        assert done["event_type"] == "complete"
        assert done["published"] == 20


def test_a_camera_that_is_away_is_told_and_comes_back_by_itself(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = tmp_path / "late.mp4"
    node = Node(tmp_path, mosquitto.port, camera(film) + tiny(), name="away")
    with node.running(), Books.open(mosquitto.port, "away") as books:
        books.wait_text("gate/availability", "offline")
        books.send_trigger("gate", {"id": "none", "before": "1s"})
        books.wait_ack("none")
        books.check_rejected("none", "camera_offline")
        make_video(tmp_path / "made.mp4", 50)
        (tmp_path / "made.mp4").rename(film)
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"before": 0, "after": 3})
        assert books.wait_done(id).document["event_type"] == "complete"


def test_a_corrupt_picture_is_a_result_with_an_error_and_never_a_wrong_answer(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        shutil.copy(ASSETS / "photos" / "cat.jpg", folder / name)
    whole = (ASSETS / "photos" / "cat.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "d.jpg").write_bytes(b"no picture at all")
    node = Node(
        tmp_path, mosquitto.port,
        '[[camera]]\nname = "gate"\n'
        f'source = "{folder}"\nfps = 10\nbuffer = 16\nmodels = ["obj"]\n{nanodet()}',
        name="broken",
    )  # fmt: skip
    with node.running(), Books.open(mosquitto.port, "broken") as books:
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 8})
        done = books.wait_done(id).document
        books.fence("gate")
        request = books.check_request(id)
    assert done["event_type"] == "partial"
    files = [result["frame"]["file"] for result in request.by_index.values()]
    broken = [file for file in files if file not in ("a.jpg", "c.jpg")]  # a busy machine skips some
    assert 0 < len(broken) == done["failed"] < done["published"] == 8
    for result in request.by_index.values():
        if result["frame"]["file"] in ("a.jpg", "c.jpg"):
            assert result["detections"][0]["label"] == "cat"
        else:
            assert result["error"]["code"] == "undecodable"
            assert "detections" not in result


def test_a_picture_larger_than_memory_is_a_result_with_an_error_and_ends_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(ASSETS / "photos" / "cat.jpg", folder / "a.jpg")
    cv2.imwrite(str(folder / "b.jpg"), np.zeros((3000, 4000, 3), np.uint8))
    small = f'source = "{folder}"\nfps = 10\nbuffer = 8\nmemory = "8 MiB"\nmodels = ["tiny"]\n'
    node = Node(
        tmp_path, mosquitto.port,
        f'[[camera]]\nname = "gate"\n{small}{tiny()}', name="large",
        env={"FRAMEBUF_STATS_S": "0.3"},
    )  # fmt: skip
    with node.running(), Books.open(mosquitto.port, "large") as books:
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 10})
        books.wait_done(id)
        books.fence("gate")
        request = books.check_request(id)
        stats = books.wait_message(lambda m: m.leaf == "stats", after=books.newest)
    large = [r for r in request.by_index.values() if r["frame"]["file"] == "b.jpg"]
    assert 0 < len(large) == request.done["failed"] < request.done["published"] == 10
    for result in request.by_index.values():
        if result["frame"]["file"] == "b.jpg":
            assert result["error"]["message"] == "4000×3000 is more than memory holds"
        else:
            assert result["embedding"]
    assert stats.document["cameras"]["gate"]["oversized"] >= len(large)
    assert node.log.count("8 MiB does not hold two frames of 4000×3000") == 1
    assert node.log.count("give it at least 69 MiB") == 1


def test_a_camera_whose_frames_never_fit_is_away_and_says_why_and_the_others_go_on(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    few = camera(film, 'memory = "64 KiB"\n').replace('"gate"', '"few"')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60.0)
        node = Node(
            tmp_path, mosquitto.port, few + camera(film) + tiny(), name="few",
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )  # fmt: skip
        with node.running(), Books.open(mosquitto.port, "few") as books:
            books.wait_text("gate/availability", "online")
            why = "away: few (memory: 64 KiB does not hold two frames of 640×480; give it at least"
            while why not in manager.recv(4096).decode():
                pass
            books.wait_text("few/availability", "offline")
            refused = books.send_trigger("few", {"before": 1})
            books.wait_ack(refused)
            books.check_rejected(refused, "camera_offline")
            id = books.send_trigger("gate", {"mode": "window", "before": 1})
            assert books.wait_done(id).document["event_type"] == "complete"
    assert node.log.count("camera few: memory: 64 KiB does not hold two frames") == 1


def test_sigterm_ends_the_node_cleanly(mosquitto: Mosquitto, tmp_path: Path) -> None:
    node = Node(
        tmp_path, mosquitto.port, camera(ASSETS / "photos", "fps = 10\n") + tiny(), name="term"
    )
    with Books.open(mosquitto.port, "term") as books:
        node.start()
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"mode": "window", "before": 0, "after": 5})
        books.wait_ack(id)
        assert node.stop() == 0
        books.wait_text("status", "offline")
        books.wait_text("gate/availability", "offline")
        assert books.wait_done(id).document["published"] == 5, "open work is finished first"


@pytest.mark.parametrize(
    ("tables", "key", "words"),
    [
        (
            '[[camera]]\nname = "a"\nsurce = "x"\nmodels = ["tiny"]\n' + tiny(),
            "camera[0].surce",
            "did you mean source",
        ),
        (camera("x") + tiny().replace("tiny-n.onnx", "gone.onnx"), "model[0].path", "gone.onnx"),
        (
            camera("x") + tiny().replace("tiny-n.onnx", "../service/parts.py"),
            "model[0].path",
            "parts.py",
        ),
        (
            camera(ASSETS / "photos", 'fps = 10\nmemory = "64 KiB"\n') + tiny(),
            "camera[0].memory",
            "does not hold two frames",
        ),
        (
            camera("x") + nanodet("tiny").replace("coco.txt", "gone.txt"),
            "model[0].labels",
            "gone.txt",
        ),
        (
            camera("x") + tiny().partition("mean")[0],
            "model[0].mean",
            "needs mean and std",
        ),
    ],
    ids=[
        "misspelt key",
        "missing model",
        "no model",
        "memory below one frame",
        "missing labels",
        "mean and std",
    ],
)
def test_what_no_restart_can_mend_exits_78_with_what_where_and_what_to_do(
    tmp_path: Path, tables: str, key: str, words: str
) -> None:
    node = Node(tmp_path, free_port(), tables)
    node.launch()
    assert node.wait_exit() == 78
    last = node.log.strip().splitlines()[-1]
    assert last.startswith(f"framebuf: {node.config}:")
    assert f": {key}: " in last
    assert words in last
    assert "Traceback" not in node.log


def test_a_second_daemon_on_one_ring_folder_exits_1_and_names_the_first(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    node = Node(
        tmp_path, mosquitto.port, camera(ASSETS / "photos", "fps = 10\n") + tiny(), name="first"
    )
    with node.running():
        second = Node(tmp_path / "..", mosquitto.port, "", name="second")
        second.config.write_text(node.config.read_text())
        second.launch()
        assert second.wait_exit() == 1
        assert f"pid {node.pid}" in second.log
        assert (node.ring_dir / "gate.0.ring").exists(), "the first goes on in it"


def test_a_second_daemon_on_one_state_folder_exits_1_and_names_the_first(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    tables = camera(ASSETS / "photos", "fps = 10\n") + tiny()
    nodes = []
    for name in ("owner", "intruder"):
        (tmp_path / name).mkdir()
        nodes.append(Node(tmp_path / name, mosquitto.port, tables, name=name))
    first, second = nodes
    state = tmp_path / "owner" / "state"
    text = second.config.read_text()
    second.config.write_text(text.replace(f'"{tmp_path}/intruder/state"', f'"{state}"'))
    with first.running(), Books.open(mosquitto.port, "owner") as books:
        books.wait_text("gate/availability", "online")
        second.launch()
        assert second.wait_exit() == 1
        last = second.log.strip().splitlines()[-1]
        assert last.endswith(f"{state} is in use by the framebuf with pid {first.pid}")
        assert "Traceback" not in second.log
        books.wait_done(books.send_trigger("gate", {"mode": "window", "before": 1}))


def test_memory_that_cannot_be_had_ends_the_process_with_one_line(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    node = Node(tmp_path, mosquitto.port, camera(folder, "fps = 10\n") + tiny(), name="full")
    node.start()
    node.wait_for(lambda: node.ring_dir.joinpath("gate.0.ring").exists(), "the first ring")
    shutil.rmtree(node.ring_dir)  # the next, larger frame cannot make its ring
    cv2.imwrite(str(folder / "b.png"), np.zeros((64, 64, 3), np.uint8))
    assert node.wait_exit() == 1
    assert node.log.strip().splitlines()[-1].startswith("framebuf: ")
    assert "Traceback" not in node.log


def test_an_unexpected_exception_in_any_thread_ends_the_process() -> None:
    """Crash-only: systemd restarts what died; nothing limps on with a thread missing."""
    code = (
        "import threading, time; from framebuf.service import crash\n"
        "crash.end_process_when_told()\n"
        "threading.Thread(target=lambda: 1 / 0, name='camera-gate').start()\n"
        "time.sleep(60)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 1
    assert "thread camera-gate died" in ended.stderr


def test_a_window_that_sigterm_cuts_off_goes_on_at_the_next_start(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 50)
    node = Node(tmp_path, mosquitto.port, camera(film, "fps = 10\n") + tiny(), name="cut")
    with Books.open(mosquitto.port, "cut") as books:
        node.start()
        books.wait_text("gate/availability", "online")
        id = books.send_trigger("gate", {"mode": "window", "before": "0s", "after": "10s"})
        books.wait_results(id, 2)
        assert node.stop(keep_rings=True) == 0
        assert not books.request(id).dones, "nothing of it was worth waiting for"
        with node.running():
            done = books.wait_done(id).document
            books.check_request(id)
    assert done["event_type"] == "partial"
    assert set(done["missing"]) == {"camera_gap"}
    # a busy machine keeps fewer frames a second, in the gap and outside of it
    assert 30 < done["requested"] <= 103
    assert done["attempts"] == 2


def test_kill_9_is_told_by_the_last_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    node = Node(
        tmp_path, mosquitto.port, camera(ASSETS / "photos", "fps = 10\n") + tiny(), name="killed"
    )
    with Books.open(mosquitto.port, "killed") as books:
        node.start()
        books.wait_text("status", "online")
        killed = time.monotonic()
        node.signal(signal.SIGKILL)
        assert node.wait_exit() == -signal.SIGKILL
        books.wait_text("status", "offline")
        assert time.monotonic() - killed > 5, "a quick restart must not look like an outage"
