"""The arithmetic of `framebuf check`, on a camera and a model that were measured by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from msgspec import structs

from framebuf import config
from framebuf.cli import check
from framebuf.errors import ModelError
from framebuf.models.plan import Cost
from framebuf.service import glance, surroundings, survey, trial
from framebuf.service.glance import Glance
from framebuf.service.report import Desk
from framebuf.service.trial import Seen
from tests.unit.packets import encoded_film

SEEN = Seen(640, 480, 10.0, 10.0, "stream", 12.0, 0)

CAMERA_AND_MODEL = (
    '[[camera]]\nname = "gate"\nsource = "rtsp://gate"\nmodels = ["m"]\n'
    '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "embed"\n'
)


def network(runtimes, labels=None):
    """A model of so many sessions."""
    return SimpleNamespace(
        platform="cpu", task="embed", sizes=(1,), input="in", outputs=("out",), cores=runtimes,
        labels=labels,
        contexts=tuple(SimpleNamespace(core=core) for core in range(runtimes)),
    )  # fmt: skip


@pytest.fixture
def surveyed(monkeypatch):
    """The report on a camera that was seen so, and a model whose batches took so long."""
    for part in ("try_ring_dir", "try_state_dir", "try_clock", "try_broker"):
        monkeypatch.setattr(survey, part, lambda _: None)

    def survey_of(seen, ms, camera='buffer = "10s"\n', runtimes=1, labels=None, sent=None):
        costs = tuple(Cost(size, round(each * 1e6)) for size, each in ms.items())
        monkeypatch.setattr(survey, "watch", lambda _: seen)
        monkeypatch.setattr(survey, "glance", lambda _: sent)
        monkeypatch.setattr(survey, "time_model", lambda _: (network(runtimes, labels), costs))
        text = (
            f'[[camera]]\nname = "gate"\nsource = "rtsp://gate"\nmodels = ["m"]\n{camera}'
            f'[[model]]\nname = "m"\npath = "m.onnx"\ntask = "embed"\n'
        )
        return survey.survey(config.parse(text, "f.toml", Path()))

    return survey_of


def notes(report):
    return {note.where.rpartition(" ")[2]: note.what for note in report.notes}


def test_history_headroom_and_how_long_a_full_drain_takes(surveyed, capsys):
    report = surveyed(SEEN, {1: 40.0, 8: 200.0})
    (camera,) = report.cameras
    assert (camera["history"], camera["headroom"]) == (100, 25)
    frame, header, stamps = 640 * 480 * 3, 4096, 250 * 64
    assert 125 * frame < camera["bytes"] < 125 * (frame + 4096) + header + stamps
    # twelve batches of 8, and 4 frames singly, each 40 ms: either way the quickest
    assert camera["drain"] == {"frames": 100, "seconds": 2.56, "meanwhile": 26, "dropped": 0}
    assert (report.ok, report.notes) == (True, [])
    check._show(report)
    shown = capsys.readouterr().out
    assert "history 100 frames, 10.0 s at 10 a second, headroom 25: 110 MiB" in shown
    assert "a drain of 100 frames takes 2.6 s; 26 frames come meanwhile: there is room" in shown


def test_a_drain_that_is_slower_than_the_camera_says_what_finds_no_room(surveyed, capsys):
    report = surveyed(SEEN, {1: 301.0})
    (camera,) = report.cameras
    # 301 frames come in 30.1 s; 125 slots are free by then
    assert camera["drain"] == {"frames": 100, "seconds": 30.1, "meanwhile": 301, "dropped": 176}
    assert report.ok
    assert notes(report) == {
        "camera[0].memory": "100 frames take m 30.1 s; of the 301 that come meanwhile, 176 find no "
        "room beside them",
        "camera[0].trigger.deadline": "100 frames take 30.1 s, the deadline is 30s",
    }
    check._show(report)
    assert "301 frames come meanwhile: 176 of them find no room" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ("person", "car"),
            {"homeassistant.labels": "no model has the label 'preson': it stays at 0"},
        ),
        (("preson",), {}),
        (None, {}),
    ],
)
def test_a_label_that_no_model_has_is_noted_with_the_nearest(surveyed, labels, said):
    wanted = '[homeassistant]\nlabels = ["preson"]\n'
    report = surveyed(SEEN, {1: 1.0}, camera=f'buffer = "10s"\n{wanted}', labels=labels)
    assert report.ok
    assert notes(report) == said
    assert [note.remedy for note in report.notes] == ["did you mean person?"] * len(said)


def test_runtimes_share_the_work(surveyed):
    report = surveyed(SEEN, {1: 301.0}, runtimes=2)
    assert report.cameras[0]["drain"]["seconds"] == 15.05


def test_memory_that_shortens_the_history_is_a_problem_with_the_figure_that_mends_it(surveyed):
    report = surveyed(SEEN, {1: 1.0}, camera='buffer = "10s"\nmemory = "50 MiB"\n')
    (camera,) = report.cameras
    assert camera["history"] < 100
    assert camera["bytes"] <= 50 * 2**20
    (problem,) = report.problems
    assert problem.what == f"50 MiB holds {camera['history']} frames of 640×480, not 10s"
    mended = surveyed(
        SEEN, {1: 1.0}, camera=f'buffer = "10s"\n{problem.remedy.split(", or")[0][5:]}\n'
    )
    assert (mended.ok, mended.cameras[0]["history"]) == (True, 100)


@pytest.mark.parametrize(
    ("told", "measured", "fps", "history"),
    [
        (10.0, 10.0, "", 100),
        (None, 8.0, "", 80),
        (None, 8.0, "fps = 5\n", 50),
        (10.0, 9.0, "fps = 20\n", 100),
        (None, None, "", 250),
    ],
)
def test_the_buffer_is_reckoned_as_the_daemon_makes_it(surveyed, told, measured, fps, history):
    seen = replace(SEEN, told_rate=told, measured_rate=measured)
    report = surveyed(seen, {1: 1.0}, camera=f'buffer = "10s"\n{fps}')
    assert report.cameras[0]["history"] == history


def test_a_model_that_cannot_be_loaded_is_told_with_its_key(surveyed, monkeypatch):
    surveyed(SEEN, {1: 1.0})

    def refuse(_):
        raise ModelError("cannot read the label file", "labels")

    monkeypatch.setattr(survey, "time_model", refuse)
    text = (
        '[[camera]]\nname = "g"\nsource = "x"\nmodels = ["m"]\n'
        '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "embed"\nlabels = "gone.txt"\n'
    )
    report = survey.survey(config.parse(text, "f.toml", Path()))
    assert [problem.where for problem in report.problems] == ["f.toml:9: model[0].labels"]


@pytest.fixture
def state_told(monkeypatch):
    """What is said of a state folder, on a file system of this kind: problems and notes."""

    def told(path, kind="ext4"):
        monkeypatch.setattr(surroundings, "file_system", lambda _: kind)
        text = f'[node]\nstate_dir = "{path}"\n'
        desk = Desk(config.parse(text + CAMERA_AND_MODEL, "f.toml", Path()))
        surroundings.try_state_dir(desk)
        found = [*desk.report.problems, *desk.report.notes]
        assert all(one.where == "f.toml:2: node.state_dir" and one.remedy for one in found)
        assert desk.report.ok is not bool(desk.report.problems)
        return [one.what for one in desk.report.problems], [one.what for one in desk.report.notes]

    return told


def test_a_state_folder_on_a_disk_needs_no_word_though_it_is_yet_to_be_made(state_told, tmp_path):
    assert state_told(tmp_path) == ([], [])
    assert state_told(tmp_path / "yet" / "to come") == ([], [])
    assert not (tmp_path / "yet").exists(), "a check makes nothing"


def test_a_state_folder_that_cannot_be_had_is_a_problem(state_told, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    assert state_told(file) == ([f"{file} is no folder that this user can write"], [])
    assert state_told(file / "below") == ([f"{file}/below cannot be made in {file}"], [])
    monkeypatch.setattr(surroundings.os, "access", lambda *_: False)  # root may all
    assert state_told(tmp_path) == ([f"{tmp_path} is no folder that this user can write"], [])


def test_a_state_folder_that_others_use_is_a_problem(state_told, tmp_path):
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o755)
    (problem,), _ = state_told(tmp_path)
    assert "is a folder that others use, mode 755" in problem


def test_a_ring_folder_that_the_daemon_would_refuse_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "file_system", lambda _: "tmpfs")
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o1777)
    for path, what in ((tmp_path, "others use, mode 1777"), (tmp_path / "theirs", "Not a direct")):
        text = f'[node]\nring_dir = "{path}"\n'
        desk = Desk(config.parse(text + CAMERA_AND_MODEL, "f.toml", Path()))
        surroundings.try_ring_dir(desk)
        (problem,) = desk.report.problems
        assert problem.where == "f.toml:2: node.ring_dir"
        assert what in problem.what


@pytest.mark.parametrize("suffix", ["ring", "packets"])
def test_what_the_daemon_has_in_the_ring_folder_counts_as_free(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(surroundings, "file_system", lambda _: "tmpfs")
    full = SimpleNamespace(f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(surroundings.os, "statvfs", lambda _: full)
    tmp_path.chmod(0o700)
    ring = tmp_path / f"gate.0.{suffix}"
    ring.write_bytes(bytes(range(256)) * 1024)
    text = f'[node]\nring_dir = "{tmp_path}"\n'
    desk = Desk(config.parse(text + CAMERA_AND_MODEL, "f.toml", Path()))
    surroundings.try_ring_dir(desk)
    assert desk.report.machine["ring_free_bytes"] == ring.stat().st_blocks * 512 > 0


@pytest.mark.timeout(60)
def test_a_time_lapse_camera_is_tried_within_seconds(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        assert cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    text = CAMERA_AND_MODEL.replace("rtsp://gate", str(tmp_path))
    text = text.replace("[[model]]", "fps = 0.0001\n[[model]]")
    (camera,) = config.parse(text, "f.toml", Path()).config.camera
    assert trial.watch(camera).rate == pytest.approx(0.0001)


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_a_state_folder_in_memory_is_noted(state_told, tmp_path, kind):
    note = f"{tmp_path} is on {kind}: a power cut takes the open requests with it"
    assert state_told(tmp_path, kind) == ([], [note])


FULL_HD = Seen(1920, 1080, 30.0, 30.0, "stream", 12.0, 0)
SENT = Glance("h264", 17_000.0, 30, 0.2, 4.0, 1.0)


def test_raw_or_encoded_is_advised_by_what_was_measured(surveyed, capsys):
    report = surveyed(FULL_HD, {1: 40.0}, 'buffer = "60s"\nmemory = "128 MiB"\n', sent=SENT)
    store = report.cameras[0]["store"]
    assert (store["configured"], store["advised"]) == ("raw", "encoded")
    assert store["raw"]["core_pct"] == 15.6
    assert store["encoded"]["core_pct"] == 0.6
    assert store["encoded"]["first_answer_later_ms"] == 121.0
    assert 30 * 2**20 < store["encoded"]["bytes"] < 48 * 2**20
    assert store["raw"]["bytes"] > 11 * 2**30
    assert not report.ok, "raw, its memory holds no 60 s"
    check._show(report)
    shown = capsys.readouterr().out
    assert "store raw: 1" in shown
    assert "idle 0.6 % of a core, first answer up to 121 ms later" in shown
    assert "advised: encoded, memory does not hold the history raw; configured: raw" in shown


def test_an_encoded_camera_is_judged_by_its_packets(surveyed, monkeypatch):
    keys = 'buffer = "60s"\nmemory = "128 MiB"\nstore = "encoded"\n'
    report = surveyed(FULL_HD, {1: 40.0}, keys, sent=SENT)
    assert report.ok
    assert report.cameras[0]["history"] == 1800
    assert report.cameras[0]["bytes"] < 48 * 2**20
    monkeypatch.setattr(survey, "DECODERS", 2)
    quick = surveyed(FULL_HD, {1: 0.1}, keys, sent=SENT)
    assert quick.cameras[0]["drain"]["seconds"] == 0.75  # 300 frames of 5 ms, on two threads
    short = surveyed(FULL_HD, {1: 40.0}, keys.replace("128", "16"), sent=SENT)
    assert "holds" in short.problems[0].what
    assert "MiB" in short.problems[0].remedy
    none = surveyed(FULL_HD, {1: 40.0}, keys, sent=None)
    assert none.problems[0].remedy == 'give store = "raw"'


@pytest.mark.parametrize(
    ("seen", "sent", "advised"),
    [
        (SEEN, replace(SENT, decode_ms=0.5, convert_ms=0.2), "raw"),
        (FULL_HD, SENT, "encoded"),
        (FULL_HD, None, "raw"),
        (FULL_HD, replace(SENT, group=300), "raw"),
    ],
)
def test_what_costs_little_raw_or_answers_late_encoded_stays_raw(surveyed, seen, sent, advised):
    report = surveyed(seen, {1: 40.0}, 'buffer = "2s"\nmemory = "1 GiB"\n', sent=sent)
    assert report.cameras[0]["store"]["advised"] == advised
    assert report.cameras[0]["store"]["why"]


def test_a_glance_measures_what_a_camera_sends(tmp_path, monkeypatch):
    film = encoded_film(tmp_path / "film.mp4", 30, gop=10, bf="0")
    monkeypatch.setattr(glance, "GLANCE_S", 0.7)
    (camera,) = config.parse(
        CAMERA_AND_MODEL.replace("rtsp://gate", str(film)), "f", Path()
    ).config.camera
    packets = []
    timed = glance._timed
    monkeypatch.setattr(glance, "_timed", lambda given: packets.extend(given) or timed(given))
    seen = glance.glance(camera)
    assert (seen.codec, seen.group) == ("h264", 10)
    assert 50 < seen.bytes_a_frame < 20_000
    assert min(seen.take_ms, seen.decode_ms, seen.convert_ms) > 0
    head = structs.replace(packets[0].head, width=2**24, height=2**24)
    damaged = structs.replace(packets[0], head=head)
    assert min(timed([damaged, *packets[1:]])) > 0, "no memory is taken for what a head says"
    elsewhere = config.parse(CAMERA_AND_MODEL.replace("rtsp://gate", str(tmp_path)), "f", Path())
    assert glance.glance(elsewhere.config.camera[0]) is None
