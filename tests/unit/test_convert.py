"""framebuf convert, with a stand-in for the environment of rknn-toolkit2.

The stand-in is a Python that plays its environment: it tells versions, installs what pip is asked
for by noting it down, and does jobs with onnxruntime, going wrong on order. The real toolkit is
tried by tests/convert.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from framebuf.cli import app
from framebuf.errors import ModelError
from framebuf.models.custom_string import CustomString
from framebuf.models.toolkit import environment, failures
from framebuf.models.toolkit.environment import Environment
from framebuf.models.toolkit.order import batches_of
from framebuf.models.toolkit.reference import alike

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/assets/tiny-1.onnx"
TINY_FREE = ROOT / "tests/assets/tiny-n.onnx"
ASSETS = ROOT / "framebuf/demo/assets"
PHOTOS = ASSETS / "photos"
MEAN, STD = "123.675,116.28,103.53", "58.395,57.12,57.375"
MAIN = "from framebuf.cli import main; main()"
NORM = ("--mean", MEAN, "--std", STD)

STAND_IN = '''#!@PYTHON@
"""Plays the Python of an environment with rknn-toolkit2. Its folder has what it shall do."""
import json, os, shutil, signal, sys
from pathlib import Path

here = Path(sys.argv[0]).absolute().parent.parent
given = sys.argv[1:]
orders = here / "orders.json"
order = json.loads(orders.read_text()) if orders.exists() else {}
if given[:2] == ["-m", "venv"]:
    made = Path(given[2]) / "bin/python"
    made.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(sys.argv[0], made)
    if orders.exists():
        shutil.copy(orders, made.parent.parent)
elif given[:3] == ["-m", "pip", "install"]:
    with (here / "pip.txt").open("a") as file:
        file.write(json.dumps([each for each in given[3:] if not each.startswith("--d")]) + "\\n")
    if order.get("pip"):
        print(order["pip"])
        sys.exit(1)
    if "--no-deps" in given:
        (here / "has-it").touch()
elif given[0] == "-c" and "versions" not in given[1] and "version(" not in given[1]:
    pass
elif given[0] == "-c":
    if not (here / "has-it").exists():
        sys.exit(1)
    print(json.dumps({"rknn-toolkit2": "2.5.0", "onnx": "1", "torch": "2", "numpy": "1"}))
else:
    job = json.loads(Path(given[1]).read_text())
    with (here / "jobs.txt").open("a") as file:
        file.write(json.dumps(job) + "\\n")
    print(json.dumps({"phase": "compiling"}), flush=True)
    if order.get("batch", job["batch"]) == job["batch"]:
        print(order.get("log", ""), file=sys.stderr, flush=True)
        if order.get("half"):
            Path(job["rknn"]).write_bytes(b"half")
        if "pause" in order:
            (here / "pid.txt").write_text(str(os.getpid()))
            print(json.dumps({"phase": "pausing"}), flush=True)
            signal.pause()
        if "signal" in order:
            os.kill(os.getpid(), order["signal"])
        if "code" in order:
            sys.exit(order["code"])
    if job["check"]:
        import numpy as np
        import onnxruntime
        session = onnxruntime.InferenceSession(job["onnx"])
        slots = []
        for picture in np.load(job["check"]):
            plane = (picture - np.array(job["mean"])) / job["std"]
            plane = plane.transpose(2, 0, 1)[None].astype(np.float32)
            slots.append(session.run(None, {session.get_inputs()[0].name: plane}))
        outputs = [np.concatenate(each) for each in zip(*slots)]
        if "wrong_slot" in order:
            outputs[0][order["wrong_slot"]] = outputs[0][0] * -1
        np.savez(job["outputs"], *outputs[: order.get("outputs", 2)])
    Path(job["rknn"]).write_bytes(b"RKNN of batch %d" % job["batch"])
'''


class Stand:
    """A stand-in environment, and the command run with it."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder.parent / "out"
        python = folder / "bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN.replace("@PYTHON@", sys.executable))
        python.chmod(0o755)
        (folder / "has-it").touch()

    def told(self, **order):
        (self.folder / "orders.json").write_text(json.dumps(order))

    def command(self, *options, model=TINY, platform="rk3588"):
        given = ["convert", str(model), "-p", platform, "-o", str(self.out)]
        return [*given, "--venv", str(self.folder), *map(str, options)]

    def run(self, *options, **more):
        return CliRunner().invoke(app, self.command(*options, **more))

    def refused(self, *options, **more):
        """What it says when it fails, which leaves nothing behind."""
        before = self.files()
        result = self.run(*options, **more)
        assert result.exit_code
        assert self.files() == before
        if isinstance(result.exception, ModelError):
            return str(result.exception)
        return " ".join(result.output.replace("│", " ").split())

    def files(self):
        return {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in sorted(self.out.rglob("*"))
            if path.is_file()
        }

    @property
    def jobs(self):
        return [json.loads(line) for line in (self.folder / "jobs.txt").read_text().splitlines()]


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path / "venv")


def test_a_file_a_batch_size_is_made_and_named(stand):
    result = stand.run("--batch", "4,1,8", *NORM)
    assert result.exit_code == 0, result.output
    assert stand.files() == {f"tiny-1-batch{n}.rknn": b"RKNN of batch %d" % n for n in (1, 4, 8)}
    assert f'path = "{stand.out}/tiny-1-batch{{1,4,8}}.rknn"' in result.stdout
    for job, batch in zip(stand.jobs, (1, 4, 8), strict=True):
        assert job["batch"] == batch
        assert job["onnx"] == str(TINY)
        assert (job["mean"], job["std"]) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
        assert (job["calibration"], job["check"], job["bgr"], job["turned"]) == (
            None, None, False, False,
        )  # fmt: skip


def test_a_model_that_normalises_itself_needs_no_mean_and_has_its_colours_last(stand):
    result = stand.run("--batch", "1", model=ASSETS / "mobilenetv2-224.onnx")
    assert result.exit_code == 0, result.output
    (job,) = stand.jobs
    assert (job["mean"], job["std"], job["turned"]) == (None, None, True)


@pytest.mark.parametrize(("platform", "target"), [("rk3582", "rk3588"), ("rk3568", "rk3568")])
def test_a_chip_that_the_toolkit_does_not_know_is_compiled_as_the_npu_it_has(
    stand, platform, target
):
    assert stand.run("--batch", "1", *NORM, platform=platform).exit_code == 0
    assert stand.jobs[0]["platform"] == target


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_pictures_are_calibrated_with_as_the_camera_gives_them_to_the_model(
    stand, tmp_path, monkeypatch, channels
):
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :] = (200, 0, 10)  # blue
    cv2.imwrite(str(tmp_path / "blue.png"), picture)
    (tmp_path / "list.txt").write_text("blue.png\n\n")
    seen = []
    monkeypatch.setattr(
        "framebuf.models.toolkit.process.run",
        lambda python, job, log, said: seen.append(
            [cv2.imread(name) for name in Path(
                json.loads(job.read_text())["calibration"]).read_text().split()]
        ) or log.touch() or 1,
    )  # fmt: skip
    stand.refused("--batch", "1", *NORM, "--dataset", tmp_path / "list.txt", "--channels", channels)
    ((made,),) = seen
    assert made.shape == (256, 128, 3)
    # letterboxed: grey above and below, the colours true in the file whatever the model takes
    assert made[0, 0].tolist() == [114, 114, 114]
    assert made[128, 64].tolist() == [200, 0, 10]


def test_int8_comes_with_a_dataset_and_float16_without_and_both_are_said(stand):
    result = stand.run("--batch", "1", *NORM, "--dataset", PHOTOS)
    assert "5 pictures calibrate roughly; 20 or more" in result.stderr
    assert stand.jobs[0]["calibration"].endswith("calibration.txt")
    result = stand.run("--batch", "1", *NORM)
    assert "float16: without quantisation, larger and slower than int8; int8 needs --dataset" in (
        result.stderr
    )
    stand.run("--batch", "1", *NORM, "--dataset", PHOTOS, "--dtype", "float16")
    assert [job["calibration"] for job in stand.jobs[1:]] == [None, None]


def test_what_the_file_says_of_itself_is_read_back(stand, tmp_path):
    (tmp_path / "ten.txt").write_text("\n".join("abcdefghij"))
    stand.run("--batch", "1", *NORM, "--task", "classify", "--labels", tmp_path / "ten.txt")
    assert stand.jobs[0]["custom"] == "labels=a,b,c,d,e,f,g,h,i,j;task=classify"
    (tmp_path / "ten.txt").write_text("\n".join(["ä, b", *"bcdefghij"]))
    stand.run("--batch", "1", *NORM, "--task", "classify", "--labels", tmp_path / "ten.txt")
    said = CustomString.parse(stand.jobs[1]["custom"])
    assert said == CustomString(("ä, b", *"bcdefghij"), "classify")
    stand.run("--batch", "1", *NORM)
    assert stand.jobs[2]["custom"] == ""


def test_labels_that_are_too_long_are_left_out_with_a_warning(stand, tmp_path):
    (tmp_path / "ten.txt").write_text("\n".join("ä" * 60 + c for c in "abcdefghij"))
    result = stand.run(
        "--batch", "1", *NORM, "--task", "classify", "--labels", tmp_path / "ten.txt"
    )
    assert result.exit_code == 0
    assert stand.jobs[0]["custom"] == "task=classify"
    assert "the 10 labels are left out: with them 1240 bytes" in result.stderr


def test_the_check_tells_the_least_cosine_of_each_output(stand):
    result = stand.run("--batch", "1,4", *NORM, "--check", "--dataset", PHOTOS, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["dtype"], document["platform"]) == ("int8", "rk3588")
    assert [each["batch"] for each in document["files"]] == [1, 4]
    for each in document["files"]:
        assert each["cosine"] == {"embedding": pytest.approx(1), "logits": pytest.approx(1)}
        assert Path(each["file"]).stat().st_size == each["bytes"] == len("RKNN of batch 1")


def test_without_pictures_the_check_makes_some_up_that_differ(stand):
    result = stand.run("--batch", "9", *NORM, "--check", model=TINY_FREE)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("slot", [1, 3])
def test_one_slot_that_is_wrong_is_refused_and_the_older_file_stays(stand, slot):
    stand.run("--batch", "4", *NORM)
    stand.told(wrong_slot=slot)
    text = stand.refused("--batch", "4", *NORM, "--check")
    assert (
        "batch 4: output embedding is too far from the ONNX model's: expected a cosine of " in text
    )
    assert "0.99, the simulator gives -" in text
    assert stand.run("--batch", "4", *NORM, "--check", "--bound", "-1").exit_code == 0


def test_outputs_that_are_missing_from_the_simulator_are_refused(stand):
    stand.told(outputs=1)
    text = stand.refused("--batch", "4", *NORM, "--check")
    assert "batch 4: expected 4 times 1×32, 1×10 from the simulator, got 4×32" in text


def test_what_the_toolkit_said_last_is_told_and_what_was_made_before_stays(stand):
    stand.told(
        batch=4, code=1, half=True,
        log="\x1b[1;33mW\x1b[0m careful\nE RKNN: [15:20:06.532] Not Support Dtype: 2. check!\n"
        "E RKNN: [15:20:06.532] Unkown op target: 0",
    )  # fmt: skip
    result = stand.run("--batch", "1,4", *NORM)
    text = str(result.exception)
    assert result.exit_code
    assert f"{TINY}, batch 4: rknn-toolkit2: Not Support Dtype: 2. check!; export it as " in text
    assert list(stand.files()) == ["tiny-1-batch1.rknn"]
    log = Path(text.rpartition("all it said: ")[2].rstrip(")"))
    assert "careful" in log.read_text()
    log.unlink()


def test_a_worker_that_was_killed_is_told_so(stand):
    stand.told(signal=signal.SIGKILL)
    text = stand.refused("--batch", "1", *NORM)
    assert "it was ended by SIGKILL; it may have wanted more memory than there is" in text


def test_a_worker_that_ends_well_and_made_nothing_is_a_failure(stand):
    stand.told(code=0)
    assert "ended with code 0 and said nothing" in stand.refused("--batch", "1", *NORM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_conversion_that_is_ended_takes_the_worker_along_and_leaves_nothing(stand, number):
    stand.told(pause=True, half=True)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *stand.command("--batch", "1", *NORM)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    watch = threading.Timer(60, process.kill)
    watch.start()
    for line in process.stderr:
        if "pausing" in line:
            process.send_signal(number)
    watch.cancel()
    process.stderr.close()
    assert process.wait() == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    with pytest.raises(ProcessLookupError):
        os.kill(int((stand.folder / "pid.txt").read_text()), 0)
    assert list(stand.out.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--batch", "1,x", *NORM),
            "Invalid value for --batch: expected batch sizes of 1 to 1024 as in 1,4,8, got '1,x'",
        ),
        (("--batch", "0", *NORM), "expected batch sizes of 1 to 1024 as in 1,4,8, got '0'"),
        ((), "is images 1×3×256×128 float32; give --mean and --std"),
        (("--mean", "0,0"), "Invalid value for --mean: give three numbers"),
        (("--mean", "0,0,0"), "Invalid value for --mean, --std: give both or neither"),
        (("--mean", "0,0,0", "--std", "1,0,1"), "Invalid value for --std"),
        ((*NORM, "--dtype", "int8"), "int8 needs --dataset"),
        ((*NORM, "--dtype", "int4"), "use int8 or float16"),
        ((*NORM, "--task", "guess"), "Invalid value for --task: Invalid enum value 'guess'"),
        ((*NORM, "--decoder", "yolov8"), "model tiny-1: expected outputs of yolov8"),
        ((*NORM, "--task", "classify", "--labels", ASSETS / "coco.txt"), "expected 10 labels"),
        ((*NORM, "--out", ASSETS / "coco.txt"), "expected a folder, "),
        ((*NORM, "--dataset", "away"), "cannot read the dataset away: No such file"),
        ((*NORM, "--dataset", ROOT / "etc"), "expected pictures (.jpg, .jpeg"),
        ((*NORM, "--dataset", ASSETS / "coco.txt"), "coco.txt:1: no such picture: "),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(stand, options, said):
    assert said in stand.refused(*options)
    assert not (stand.folder / "jobs.txt").exists()


def test_a_platform_that_is_none_is_refused_with_those_that_are(stand):
    assert "use rk3562, rk3566, rk3568, rk3576" in stand.refused(*NORM, platform="rk3399")


def test_a_picture_that_is_none_is_named(stand, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    text = stand.refused(*NORM, "--dataset", tmp_path / "list.txt")
    assert f"{tmp_path}/a.jpg: no picture that OpenCV reads" in text


def test_a_model_of_a_fixed_batch_is_refused(stand, tmp_path):
    data = TINY.read_bytes()
    one = b"\x0a\x02\x08\x01\x0a\x02\x08\x03"  # the dimensions 1, 3
    assert data.count(one) == 1
    (tmp_path / "four.onnx").write_bytes(data.replace(one, one.replace(b"\x01", b"\x04", 1)))
    text = stand.refused(*NORM, model=tmp_path / "four.onnx")
    assert "expected batch 1 or a free batch axis, got 4" in text


def test_a_missing_model_is_said_before_gigabytes_are_installed(stand, tmp_path):
    (stand.folder / "has-it").unlink()
    assert "no such file" in stand.refused(*NORM, model=tmp_path / "away.onnx")
    assert not (stand.folder / "pip.txt").exists()


def test_a_folder_that_cannot_be_had_is_said_before_gigabytes_are_installed(stand, monkeypatch):
    (stand.folder / "has-it").unlink()
    stand.refused(*NORM, "--out", "/proc/away")
    real = os.access  # as if we were not root
    monkeypatch.setattr("os.access", lambda path, *mode: path != stand.out and real(path, *mode))
    assert f"cannot write into {stand.out}; name another" in stand.refused(*NORM)
    assert not (stand.folder / "pip.txt").exists()


def test_no_install_refuses_to_make_the_environment(stand, tmp_path):
    text = stand.refused(*NORM, "--no-install", "--venv", tmp_path / "new")
    assert f"rknn-toolkit2 is not in {tmp_path}/new, and --no-install forbids" in text
    assert not (tmp_path / "new").exists()


def test_the_environment_is_where_the_variable_says(stand, monkeypatch, tmp_path):
    monkeypatch.setenv("FRAMEBUF_CONVERT_VENV", str(stand.folder))
    assert environment.default_folder() == stand.folder
    monkeypatch.delenv("FRAMEBUF_CONVERT_VENV")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.default_folder() == tmp_path / "framebuf/rknn-toolkit2-2.5.0"


@pytest.fixture
def base(stand, monkeypatch):
    """The Python that environments are made with, and the room for them."""
    monkeypatch.setattr(environment, "_python", lambda: str(stand.folder / "bin/python"))
    monkeypatch.setattr(environment, "NEEDED_BYTES", 1)
    return stand


def test_an_environment_is_made_with_the_versions_that_were_tried_and_told_of(base, tmp_path):
    result = base.run("--batch", "1", *NORM, "--venv", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert f"a virtual environment of its own, {tmp_path}/new: some 1.5 GB" in result.stderr
    assert "installing rknn-toolkit2==2.5.0" in result.stderr
    first, second = map(json.loads, (tmp_path / "new/pip.txt").read_text().splitlines())
    assert "torch==2.13.0" in first
    assert "numpy<=1.26.4" in first
    assert "--no-deps" in second
    assert "rknn-toolkit2==2.5.0" in second
    again = base.run("--batch", "1", *NORM, "--venv", tmp_path / "new")
    assert "installing" not in again.stderr


@pytest.mark.parametrize(("answer", "made"), [("y\n", True), ("n\n", False)])
def test_on_a_terminal_it_asks_before_it_installs(base, tmp_path, monkeypatch, answer, made):
    monkeypatch.setattr("framebuf.cli.convert._is_terminal", lambda: True)
    command = base.command("--batch", "1", *NORM, "--venv", tmp_path / "new")
    result = CliRunner().invoke(app, command, input=answer)
    assert "Go on?" in result.stderr
    assert (tmp_path / "new").exists() == made
    assert (result.exit_code == 0) == made
    again = CliRunner().invoke(app, [*command, "--install"], input="n\n")
    assert again.exit_code == 0
    assert "Go on?" not in again.stderr


def test_an_installation_that_failed_is_explained_and_goes_on_the_next_time(base, tmp_path):
    base.told(pip="Collecting torch\nERROR: No matching distribution found for torch==2.13.0")
    text = base.refused(*NORM, "--venv", tmp_path / "new")
    assert (
        "installing what it needs, torch above all failed: No matching distribution found for "
        "torch==2.13.0; pip's index has no such package for this machine"
    ) in text
    base.told()
    assert base.run("--batch", "1", *NORM, "--venv", tmp_path / "new").exit_code == 0


def test_a_folder_of_somebody_else_is_not_written_into(base, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    text = base.refused(*NORM, "--venv", tmp_path / "mine")
    assert "expected rknn-toolkit2 in this environment; install it there" in text
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    text = base.refused(*NORM, "--venv", tmp_path / "mine/letter.txt")
    assert "letter.txt: expected a folder for the environment, it is a file" in text


def test_a_disk_that_is_full_is_told_before_it_is_filled(base, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED_BYTES", 10**18)
    text = base.refused(*NORM, "--venv", tmp_path / "new")
    assert "expected 1000000000 GB of free space, got " in text


def test_two_at_a_time_make_one_environment(base, tmp_path):
    made = []

    def make():
        made.append(Environment.make(tmp_path / "new", lambda _: None))

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len((tmp_path / "new/pip.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("machine", "version", "found", "said"),
    [
        ("riscv64", (3, 11), None, "is for Linux on x86-64 and aarch64, this is linux on riscv64"),
        (
            "aarch64",
            (3, 13),
            None,
            "has no wheel for Python 3.13; install one of Python 3.10 to 3.12",
        ),
    ],
)
def test_a_machine_that_the_toolkit_is_not_for_is_told_so(
    monkeypatch, machine, version, found, said
):
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    monkeypatch.setattr(environment, "version_info", version)
    monkeypatch.setattr(shutil, "which", lambda _: found)
    with pytest.raises(ModelError, match=said):
        environment._python()


def test_another_python_is_taken_where_ours_is_too_new(monkeypatch):
    monkeypatch.setattr(environment, "version_info", (3, 14))
    monkeypatch.setattr(
        shutil, "which", lambda name: "/usr/bin/python3.11" if name == "python3.11" else None
    )
    assert environment._python() == "/usr/bin/python3.11"


@pytest.mark.parametrize(
    ("log", "reason", "remedy"),
    [
        ("I all is well\n", None, None),
        ("E RKNN: [15:20:06.532] Unkown op target: 0\n", None, None),
        ("E build: Dataset file away.txt not found!\n", "build: Dataset file away.txt not found!",
         None),
        ("I Load:  0%|   |\rI Load: 100%|\rValueError: Traceback (most recent call last):\n"
         '  File "rknn/api/rknn_log.py", line 95, in rknn.api.rknn_log.RKNNLog.e\n'
         "ValueError: The input 0 of NonZero('y') need to be constant! It is dynamic!\n"
         "                  Remove NonZero('y') manually and try again!\n\n",
         "ValueError: The input 0 of NonZero('y') need to be constant! It is dynamic! "
         "Remove NonZero('y') manually and try again!", "without the post-processing"),
        ("onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph: [ONNXRuntimeError] : 10 : "
         "INVALID_GRAPH : In Node Foo\n",
         "onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph: [ONNXRuntimeError] : 10 : "
         "INVALID_GRAPH : In Node Foo", "has operators that ONNX does not know"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
         "device\n",
         "Could not install packages due to an OSError: [Errno 28] No space left on device",
         "free some space"),
        ("ValueError: Unsupport onnx opset 22, need <= 19!\n",
         "ValueError: Unsupport onnx opset 22, need <= 19!", "a lower opset"),
    ],
)  # fmt: skip
def test_the_last_error_of_a_log_is_found_with_what_to_do(log, reason, remedy):
    assert failures.reason(log) == reason
    advice = failures.remedy(reason or "")
    assert (advice is None) if remedy is None else (remedy in advice)


def test_that_a_step_failed_does_not_hide_what_the_toolkit_said_of_it():
    worker = runpy.run_path(str(ROOT / "framebuf/models/toolkit/worker/__main__.py"))
    with pytest.raises(SystemExit) as end:
        worker["_must"]("build", -1)
    said = f"E build: Dataset file a.txt not found!\n{end.value}\n"
    assert "build returned -1" in said
    assert failures.reason(said) == "build: Dataset file a.txt not found!"
    worker["_must"]("build", 0)


@pytest.mark.parametrize(
    ("one", "other", "cosine"),
    [
        ([1, 0], [3, 0], 1.0),
        ([1, 0], [0, 1], 0.0),
        ([1, 1], [-1, -1], -1.0),
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [0, 1], 0.0),
        ([1, 0], [1, 1], 0.5**0.5),
    ],
)
def test_alike_is_the_cosine(one, other, cosine):
    assert alike(np.float32(one), np.float32(other)) == pytest.approx(cosine)


def test_an_output_with_a_nan_is_not_alike():
    assert not alike(np.float32([1, np.nan]), np.float32([1, 1])) >= -1


def test_batch_sizes_are_sorted_and_counted_once():
    assert batches_of("8, 1,4,8") == (1, 4, 8)


@pytest.mark.parametrize(
    "said",
    [
        CustomString(("a", "b"), "detect", "yolov8"),
        CustomString(("a;b", "c,d", 'e"f'), "detect"),
        CustomString((" a",), None, None),
        CustomString(("", ""), "classify"),
        CustomString((), "raw", None, {"version": "3"}),
        CustomString(),
    ],
)
def test_a_custom_string_is_read_back_as_it_was_written(said):
    assert CustomString.parse(said.text) == said
