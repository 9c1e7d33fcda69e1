"""framebuf demo, as a user runs it: the real command, a real broker, the shipped pictures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.demo.scene import ASSETS

BOUND_S = 200.0
"""For a whole demo on a busy machine; it takes three seconds on an idle one."""
MEMORY = Path("/dev/shm")
PHOTOS = ["astronaut.jpg", "cameraman.jpg", "cat.jpg", "coffee.jpg", "rocket.jpg"]


class Demo:
    """Runs the command in a folder of its own, and knows what belongs to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.mark = uuid.uuid4().hex
        self.pids: list[int] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "framebuf", "demo", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "TMPDIR": str(self.temporary),
                "HOME": str(self.home),
                "DEMO_MARK": self.mark,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pids.append(process.pid)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=BOUND_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def processes(self) -> dict[int, str]:
        """Command lines of all that runs with our mark in its environment, by pid."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode()
            except OSError:  # it ended, or is not ours to look into
                continue
        return found

    def memory(self) -> list[Path]:
        return [path for pid in self.pids for path in MEMORY.glob(f"framebuf-demo-{pid}-*")]

    def left_behind(self) -> list[object]:
        files = [*self.temporary.iterdir(), *self.home.iterdir()]
        return [*self.processes().values(), *self.memory(), *files]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    left = demo.left_behind()
    for pid in demo.processes():
        os.kill(pid, signal.SIGKILL)
    for folder in demo.memory():
        shutil.rmtree(folder)
    assert left == []


@pytest.fixture(params=["mosquitto", "iotcore"])
def broker(request: pytest.FixtureRequest, tool: Callable[[str], str]) -> str:
    if request.param == "mosquitto":
        tool("mosquitto")
    elif os.environ.get("CI") != "true":
        pytest.importorskip("iotcore", reason="iotcore is missing: pip install 'framebuf[demo]'")
    return str(request.param)


def best_labels(results: list[dict]) -> dict[str, str | None]:
    return {
        r["frame"]["file"]: r["detections"][0]["label"] if r["detections"] else None
        for r in results
    }


def test_one_trigger_finds_the_cat_and_the_people_whichever_the_broker(demo, broker):
    run = demo.run("--once", "--json", "--broker", broker)
    assert (run.returncode, run.stderr) == (0, "")
    document = json.loads(run.stdout)  # which refuses anything besides one document
    assert set(document) == {"trigger", "results", "done", "files"}

    results, done = document["results"], document["done"]
    assert sorted(r["frame"]["file"] for r in results) == PHOTOS
    assert [r["index"] for r in results] == list(range(5))
    labels = best_labels(results)
    assert labels["cat.jpg"] == "cat"
    assert labels["astronaut.jpg"] == labels["cameraman.jpg"] == "person"
    assert {r["id"] for r in results} == {done["id"]} == {document["trigger"]["id"]}
    assert (done["event_type"], done["requested"], done["published"]) == ("complete", 5, 5)


def test_every_result_has_a_picture_and_all_are_on_one_sheet(demo):
    document = json.loads(demo.run("--json", "--out", "pictures/of it").stdout)
    stems = [f"{r['index']}-{Path(r['frame']['file']).stem}" for r in document["results"]]
    names = [f"pictures/of it/{stem}.jpg" for stem in (*stems, "contact-sheet")]
    assert document["files"] == names
    for name in names:
        picture = cv2.imread(str(demo.folder / name), cv2.IMREAD_COLOR)
        assert picture is not None
        assert max(picture.shape) >= 640


def test_people_read_a_line_for_each_frame_without_colours_in_a_pipe(demo, broker):
    run = demo.run("--once", "--broker", broker)
    assert (run.returncode, run.stderr) == (0, "")
    assert "\x1b" not in run.stdout
    assert f"{broker} on 127.0.0.1" in run.stdout
    lines = {name: line for line in run.stdout.splitlines() for name in PHOTOS if name in line}
    assert lines["cat.jpg"].split()[1:4] == ["cat.jpg", "cat", "0.57"]
    assert "person" in lines["astronaut.jpg"]
    assert "person" in lines["cameraman.jpg"]
    assert "nothing" in lines["rocket.jpg"]
    assert "complete: 5 of 5 frames" in run.stdout
    assert (demo.folder / "out" / "contact-sheet.jpg").is_file()


def until(process: subprocess.Popen[str], text: str) -> str:
    """What it printed until a line held `text`."""
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"ended without {text!r}: {seen}{process.stderr.read()}")


def test_with_a_second_model_every_person_has_the_embedding_of_its_crop_run_alone(demo):
    run = demo.run("--json", "--models", "person,looks")
    assert (run.returncode, run.stderr) == (0, "")
    results = json.loads(run.stdout)["results"]
    found = [(r["frame"]["file"], one) for r in results for one in r["detections"]]
    assert all(("embedding" in one) == (one["label"] == "person") for _, one in found)
    people = [(file, one) for file, one in found if one["label"] == "person"]
    assert {file for file, _ in people} == {"astronaut.jpg", "cameraman.jpg"}
    crops = [{"picture": str(ASSETS / "photos" / file), "box": one["box"]} for file, one in people]
    alone = subprocess.run(
        [sys.executable, "-I", Path(__file__).parents[1] / "unit" / "crop_alone.py"],
        input=json.dumps({"model": str(ASSETS / "mobilenetv2-224.onnx"), "crops": crops}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for (_, one), expected in zip(people, json.loads(alone.stdout), strict=True):
        ours = np.frombuffer(base64.b64decode(one["embedding"]["f32"]), "<f4")
        assert ours @ np.array(expected) >= 0.999


def test_models_that_are_not_shipped_are_refused(demo):
    run = demo.run("--once", "--models", "looks")
    assert run.returncode == 2
    assert "use one of nanodet, person, person,looks" in run.stderr.replace("\n", " ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_goes_on_until_ctrl_c_and_leaves_nothing(demo, number):
    process = demo.start()
    said = until(process, "complete") + until(process, "complete")
    assert "mosquitto_pub" in said
    assert "framebuf trigger" in said
    assert len(demo.processes()) == 2, "the demo and its broker"
    assert len(demo.memory()) == 1, "the rings"
    process.send_signal(number)
    until(process, "stopping")
    process.send_signal(number)  # impatience must not leave a broker behind
    _, err = process.communicate(timeout=BOUND_S)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("late_s", [0.0, 0.004, 0.01, 0.3, 1.0])
def test_ctrl_c_while_it_starts_leaves_nothing_either(demo, late_s):
    process = demo.start("--once", "--json")
    end = time.monotonic() + BOUND_S
    while not demo.memory() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(late_s)  # not to wait for anything: to hit it at various moments
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=BOUND_S)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nowhere", "there is no such file or folder"),
        ("empty", "no pictures in"),
        ("notes.txt", "cannot open"),
        ("rtsp://user:secret@127.0.0.1:9/live", "Connection refused"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_an_exit_code(demo, source, why):
    (demo.folder / "empty").mkdir()
    (demo.folder / "notes.txt").write_text("not a video")
    run = demo.run("--once", "--json", "--source", source)
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    assert why in run.stderr
    assert "secret" not in run.stderr


def test_a_picture_that_cannot_be_decoded_makes_it_partial(demo):
    folder = demo.folder / "mixed"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), cv2.imread(str(next(demo_photos()))))
    (folder / "b.png").write_bytes(b"\x89PNG and no more")
    run = demo.run("--once", "--json", "--source", "mixed")
    document = json.loads(run.stdout)
    assert run.returncode == 3
    assert document["done"]["event_type"] == "partial"
    errors = {r["frame"]["file"] for r in document["results"] if "error" in r}
    assert errors == {"b.png"}
    assert not [name for name in document["files"] if name.endswith("-b.jpg")]


def demo_photos() -> Iterator[Path]:
    from framebuf.demo.scene import PHOTOS as FOLDER

    return FOLDER.glob("*.jpg")


def test_a_broker_that_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch):
    from framebuf.demo import broker
    from framebuf.errors import FramebufError

    monkeypatch.setattr(broker.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(broker.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        FramebufError,
        match=r"mosquitto or iotcore is not installed: pip install 'framebuf\[demo\]'",
    ):
        broker.find()
    with pytest.raises(FramebufError, match="iotcore is not installed: pip install"):
        broker.find("iotcore")


def test_a_broker_that_ends_at_once_is_told_in_its_own_words(tmp_path):
    from framebuf.demo import broker
    from framebuf.demo.interrupts import Interrupts
    from framebuf.errors import FramebufError

    program = broker.Program("toy", ("sh", "-c", "echo one; echo bad luck >&2; exit 1"), "")
    with (
        pytest.raises(FramebufError, match="toy did not start: bad luck"),
        broker.running(program, tmp_path, Interrupts()),
    ):
        pytest.fail("it never ran")


def test_ctrl_c_while_the_broker_is_being_started_ends_that_broker(tmp_path, monkeypatch):
    from framebuf.demo import broker
    from framebuf.demo.interrupts import Interrupts

    started, start = [], subprocess.Popen

    def interrupted(*arguments, **options):
        started.append(start(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    interrupts = Interrupts()
    monkeypatch.setattr(broker.subprocess, "Popen", interrupted)
    program = broker.Program("toy", ("sh", "-c", "exec sleep 60"), "")
    with (
        pytest.raises(KeyboardInterrupt),
        interrupts.caught(),
        broker.running(program, tmp_path, interrupts),
    ):
        pytest.fail("it never ran")
    assert [process.poll() for process in started] == [-signal.SIGTERM]


class Scripted:
    """Answers each trigger with the next of some lists of (leaf, document)."""

    def __init__(self, *scripts: list[tuple[str, dict]]) -> None:
        self.scripts = list(scripts)
        self.sent: list[dict] = []

    def send(self, trigger: dict) -> None:
        self.sent.append(trigger)
        self.answers = iter(self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0])

    def hear(self, timeout_s: float):
        from framebuf.service.caller import Answer

        leaf, document = next(self.answers, (None, {}))
        return Answer(leaf, document | {"id": self.sent[-1]["id"]}) if leaf else None


def answered(first_seq: int, **missing: int) -> list[tuple[str, dict]]:
    results = [("result", {"frame": {"seq": first_seq + i}}) for i in range(5)]
    done = {"event_type": "partial" if missing else "complete", "missing": missing}
    return [("ack", {"status": "accepted"}), *results, ("done", done)]


def test_the_buffer_is_full_once_a_whole_window_lies_in_the_second_round():
    from framebuf.demo import play

    first_round, lost, second_round = answered(0), answered(6, frames_lost=1), answered(5)
    client = Scripted(first_round, lost, second_round, answered(9))
    play._fill(client)
    assert len(client.sent) == 3


def test_a_camera_that_has_given_some_frames_has_longer_for_the_second_round(monkeypatch):
    from framebuf.demo import play

    monkeypatch.setattr(play, "FILL_S", 0.0)
    client = Scripted(answered(0), answered(1), answered(5))
    play._fill(client)
    assert len(client.sent) == 3


def test_a_camera_that_gives_no_frames_is_told_with_the_reason(monkeypatch):
    from framebuf.demo import play
    from framebuf.errors import SourceError

    monkeypatch.setattr(play, "FILL_S", 0.2)
    error = {"code": "camera_offline", "message": "none can come"}
    with pytest.raises(SourceError, match=r"gave no frames within 0\.2 s: none can come"):
        play._fill(Scripted([("ack", {"status": "rejected", "error": error})]))


@pytest.mark.parametrize(
    ("answers", "code", "why"),
    [
        ([], 5, "the daemon did not answer in time"),
        ([("ack", {"status": "rejected", "error": {"code": "c", "message": "no"}})], 4, "no"),
        (answered(5, evicted=1), 3, ""),
        ([("done", {"event_type": "failed"})], 4, ""),
        (answered(5), 0, ""),
    ],
)
def test_the_exit_code_tells_the_outcome(answers, code, why, capsys):
    from framebuf.cli import demo as command
    from framebuf.demo import play

    exchange = play.Exchange({"id": "x"})
    for _ in play._answers(Scripted(answers), exchange):
        pass
    assert command._code(exchange) == code
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("mishap", ["expected", "unexpected"])
def test_a_daemon_that_fails_ends_the_demo_in_order(monkeypatch, mishap, broker):
    from framebuf.demo import stage
    from framebuf.errors import FramebufError, ModelError

    class Failing:
        def __init__(self, loaded: object) -> None:
            pass

        def run(self) -> None:
            raise ModelError("no good") if mishap == "expected" else RuntimeError("no good")

        def stop(self) -> None:
            pass

    monkeypatch.setattr(stage, "Daemon", Failing)
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(FramebufError, match="no good"),
        stage.set_up(None, broker, lambda _: None),
    ):
        pytest.fail("it never ran")
    assert signal.getsignal(signal.SIGTERM) is before
    assert not list(MEMORY.glob(f"framebuf-demo-{os.getpid()}-*"))
