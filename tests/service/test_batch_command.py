"""framebuf batch, judged by a separate detector and classifier that share nothing with it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.service import reference
from tests.service.parts import FRAMEBUF

ASSETS = reference.ASSETS
PHOTOS = ASSETS / "photos"
NAMES = sorted(photo.name for photo in PHOTOS.iterdir())
CLASSIFIER = ASSETS / "mobilenetv2-224.onnx"
DETECTOR = ASSETS / "nanodet-416.onnx"
COMPILED = Path(__file__).parents[1] / "assets"
CLOSING = re.compile(
    r"Processed (\d+) images in (?:\d+m)?[\d.]+(?:ms|s), "
    r"average inference per image is (\d+\.\d\d)ms( \(simulated\))?"
)


def batch(
    *arguments: object, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [FRAMEBUF, "batch", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    assert run.returncode == code, run
    assert "Traceback" not in run.stderr
    return run


def document(*arguments: object, code: int = 0, **environment: str) -> dict[str, Any]:
    run = batch(*arguments, "--json", code=code, **environment)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_the_shipped_pictures_have_the_classes_of_the_model_run_one_by_one() -> None:
    said = document("-d", PHOTOS, "-m", CLASSIFIER, "-s", 2, "-r", 2)
    assert [Path(entry["file"]).name for entry in said["files"]] == 2 * NAMES
    for entry in said["files"]:
        expected = reference.classify(cv2.imread(entry["file"]))
        assert [c["label"] for c in entry["classes"]] == [c["label"] for c in expected]
        for ours, theirs in zip(entry["classes"], expected, strict=True):
            assert ours["score"] == pytest.approx(theirs["score"], abs=reference.SCORE_TOLERANCE)
    assert (said["processed"], said["failed"], said["pool"]) == (10, 0, 2)
    assert said["simulated"] is False
    assert said["ms_per_image"] == pytest.approx(said["seconds"] * 100, abs=0.01)


def test_a_second_model_says_inside_each_detection_what_it_says_of_that_crop_alone() -> None:
    keys = [f"--then-key={key}" for key in ("task=classify", "only=person,cat", "max_crops=1")]
    said = document(
        "-d", PHOTOS, "-m", DETECTOR, "--decoder", "nanodet", "--batch", 4,
        "--then", CLASSIFIER, *keys,
    )  # fmt: skip
    assert said["then"] == str(CLASSIFIER)
    seen = []
    for entry in said["files"]:
        picture = cv2.imread(entry["file"])
        for one in entry["detections"]:
            if one["label"] not in ("person", "cat"):
                assert "classes" not in one
                continue
            x, y, width, height = one["box"]
            right, bottom = math.ceil(x + width), math.ceil(y + height)
            expected = reference.classify(picture[math.floor(y) : bottom, math.floor(x) : right])
            assert one["classes"][0]["label"] == expected[0]["label"]
            assert one["classes"][0]["score"] == pytest.approx(
                expected[0]["score"], abs=reference.SCORE_TOLERANCE
            )
            seen.append(one["label"])
    assert sorted(seen) == ["cat", "person", "person"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--then", CLASSIFIER, "--then-key", "bogus=1"], "bogus unknown key"),
        (["--then", CLASSIFIER, "--then-key", "only"], "expected KEY=VALUE, got only"),
        (["--then", DETECTOR, "--then-key", "task=detect"], "its task is detect"),
        (["--then-key", "max_crops=3"], "is for a second model: add --then"),
    ],
)
def test_a_wrong_second_model_is_told(options: list[object], why: str) -> None:
    run = batch("-d", PHOTOS, "-m", DETECTOR, "--decoder", "nanodet", *options, code=2)
    assert why in " ".join(run.stderr.replace("│", " ").split())


def test_a_last_batch_that_is_not_full_answers_its_frames_and_no_others() -> None:
    size = 3
    said = document("-d", PHOTOS, "-m", DETECTOR, "--decoder", "nanodet", "--batch", size)
    assert said["processed"] == 5
    for entry in said["files"]:
        expected = reference.detect(cv2.imread(entry["file"]))
        assert [d["label"] for d in entry["detections"]] == [d["label"] for d in expected]
        assert entry["batch"]["size"] == size
        assert entry["batch"]["slot"] < entry["batch"]["filled"] <= size
        assert entry["ms"] == pytest.approx(entry["batch_ms"] / entry["batch"]["filled"], abs=0.01)


def test_a_file_that_cannot_be_read_is_listed_not_counted_and_the_exit_is_3(tmp_path: Path) -> None:
    shutil.copy(PHOTOS / "cat.jpg", tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes()[:3000])
    (tmp_path / "3.png").write_bytes(b"")
    shutil.copy(PHOTOS / "coffee.jpg", tmp_path / "4.jpg")
    (tmp_path / "5.bmp").symlink_to("gone")
    (tmp_path / "notes.txt").touch()
    lines = batch("-d", tmp_path, "-m", CLASSIFIER, code=3).stdout.splitlines()
    files = [line for line in lines if line.startswith("File ")]
    assert [re.sub(r"^File .*/(\d)\.\w+, (inference|failed).*", r"\1 \2", f) for f in files] == [
        "1 inference", "2 failed", "3 failed", "4 inference", "5 failed",
    ]  # fmt: skip
    assert files[1].endswith("failed: cannot be decoded: the JPEG is cut short")
    assert files[4].endswith("failed: is no longer there")
    assert lines[-2] == "Failed: 3 of 5 files"
    match = CLOSING.fullmatch(lines[-1])
    assert match
    assert match[1] == "2"
    assert any("; 1 other files are passed over" in line for line in lines)

    said = document("-d", tmp_path, "-m", CLASSIFIER, "-q", code=3)
    assert (said["processed"], said["failed"]) == (2, 3)
    assert [entry["error"]["code"] for entry in said["files"] if "error" in entry] == [
        "unreadable"
    ] * 3  # fmt: skip


def test_a_folder_of_which_nothing_can_be_read_has_no_average(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    lines = batch("-d", tmp_path, "-m", CLASSIFIER, code=3).stdout.splitlines()
    assert re.fullmatch(r"Processed 0 images in [\d.]+(s|ms|µs)", lines[-1])


def test_quiet_leaves_the_lines_of_files_out_and_keeps_versions_tensors_and_the_end() -> None:
    lines = batch("-d", PHOTOS, "-m", CLASSIFIER, "-q").stdout.splitlines()
    assert not [line for line in lines if line.startswith("File ")]
    assert lines[0].startswith("Runtime: onnxruntime ")
    assert "Labels: imagenet.txt, which has as many" in lines
    assert "  index=0, name=images, dims=[N, 224, 224, 3], fmt=NHWC, type=UINT8" in lines
    assert "  index=1, name=embedding, dims=[N, 1280], type=FLOAT32" in lines
    assert CLOSING.fullmatch(lines[-1])


def test_compiled_models_of_any_batch_size_run_on_the_simulated_npu_and_all_figures_say_so() -> (
    None
):
    family = COMPILED / "tiny-rk3588-i8-batch{4,16}.rknn"
    lines = batch(
        "-d", PHOTOS, "-m", family, "-p", "sim:rk3588", "-s", 3, "-r", 5, FRAMEBUF_SIM="scale=0.1"
    ).stdout.splitlines()
    files = [line for line in lines if line.startswith("File ")]
    assert len(files) == 25
    assert all(", simulated inference time " in line for line in files)
    match = CLOSING.fullmatch(lines[-1])
    assert match
    assert (match[1], match[3]) == ("25", " (simulated)")
    assert lines[0].startswith("Runtime: simulated rk3588")
    assert lines[1].endswith(" on sim:rk3588 (simulated), batch 4, 16, pool 3")
    assert "Labels: none; classes are shown by their numbers" in lines


def test_frames_whose_inference_fails_are_counted_as_failed() -> None:
    model = COMPILED / "tiny-rk3588-i8-batch4.rknn"
    command = ("-d", PHOTOS, "-m", model, "-p", "sim:rk3588", "-r", 10)
    said = document(*command, code=3, FRAMEBUF_SIM="scale=0,fails_after=10")
    failed = [entry["error"]["code"] for entry in said["files"] if "error" in entry]
    assert set(failed) == {"inference_failed"}
    assert (said["processed"], said["failed"]) == (50 - len(failed), len(failed))
    assert said["processed"] > 0


def test_a_float_model_needs_its_mean_and_says_so_and_runs_with_it() -> None:
    model = COMPILED / "tiny-n.onnx"
    run = batch("-d", PHOTOS, "-m", model, "--task", "embed", code=1)
    assert "needs mean and std" in run.stderr
    assert run.stderr.count("\n") == 1
    said = document(
        "-d", PHOTOS, "-m", model, "--task", "embed", "--mean", "0,0,0", "--std", "255,255,255"
    )
    assert {entry["embedding"]["dim"] for entry in said["files"]} == {32}
    assert len({entry["embedding"]["f32"] for entry in said["files"]}) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "gone", "-m", CLASSIFIER], "cannot list gone: No such file or directory"),
        (["-d", PHOTOS, "-m", "gone.onnx"], "no such file: gone.onnx"),
        (["-d", COMPILED, "-m", CLASSIFIER], "no pictures in "),
    ],
)
def test_bad_input_is_one_line_on_standard_error(arguments: list[object], message: str) -> None:
    run = batch(*arguments, code=1)
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    run = batch("-d", PHOTOS, "-m", CLASSIFIER, "--labels", tmp_path / "labels.txt", code=1)
    assert "expected 1000 labels, one a class of the model, got 2" in run.stderr


def test_a_name_that_no_terminal_could_show_does_not_end_the_run(tmp_path: Path) -> None:
    for name in (b"a\xff.jpg", b"b\n.jpg"):
        shutil.copy(PHOTOS / "cat.jpg", os.path.join(os.fsencode(tmp_path), name))  # noqa: PTH118
    lines = batch("-d", tmp_path, "-m", CLASSIFIER).stdout.splitlines()
    files = [line for line in lines if line.startswith("File ")]
    assert [Path(line.partition(",")[0]).name for line in files] == ["a�.jpg", "b�.jpg"]
