"""The library's face: framebuf.open_model and its pool."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import framebuf
from framebuf.errors import ConfigError, ModelError

ASSETS = Path(framebuf.__file__).parent / "demo" / "assets"
PHOTOS = [cv2.imread(str(ASSETS / "photos" / f"{n}.jpg")) for n in ("cat", "astronaut", "rocket")]
DETECTOR: dict[str, Any] = {
    "path": str(ASSETS / "nanodet-416.onnx"),
    "task": "detect",
    "decoder": "nanodet",
    "labels": str(ASSETS / "coco.txt"),
}


def best(result: Any) -> str | None:
    assert result.error is None
    return result.findings.detections[0].label if result.findings.detections else None


def test_results_come_in_the_order_of_the_frames_whatever_batches_and_runtimes_do() -> None:
    order = [0, 1, 2, 1, 0, 0, 2, 1, 1, 2, 0, 1, 2]
    with framebuf.open_model(**DETECTOR, runtimes=2) as model:
        found = [best(result) for result in model.map(PHOTOS[n] for n in order)]
    assert found == [["cat", "person", None][n] for n in order]


def test_frames_are_pulled_lazily() -> None:
    pulled = 0

    def endless() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield PHOTOS[0]

    with framebuf.open_model(**DETECTOR, batch_sizes=[2]) as model:
        assert [best(result) for result in islice(model.map(endless()), 3)] == ["cat"] * 3
        assert pulled < 20


def test_a_wrong_array_is_refused_with_expected_and_actual() -> None:
    with framebuf.open_model(**DETECTOR) as model:
        with pytest.raises(ValueError, match=r"expected a frame of \(height, width, 3\), got \(4,"):
            list(model.map([np.zeros((4, 4), np.uint8)]))
        with pytest.raises(TypeError, match="expected a frame of uint8, got float32"):
            list(model.map([np.zeros((4, 4, 3), np.float32)]))
        assert best(next(model.map([PHOTOS[0]]))) == "cat", "the pool lives on"


def test_a_batch_by_hand_holds_the_models_input() -> None:
    with framebuf.open_model(**DETECTOR) as model, model.new_batch(4) as batch:
        assert batch.add(PHOTOS[0]) == 0
        batch.add_at(3, PHOTOS[1])
        assert batch.tensor.shape == (4, 416, 416, 3)
        assert batch.tensor[0].any()
        assert not batch.tensor[1:3].any()
        with pytest.raises(IndexError, match="expected a slot from 0 to 3, got 4"):
            batch.add_at(4, PHOTOS[1])


def test_wrong_keys_and_missing_files_are_told_as_in_a_configuration() -> None:
    with pytest.raises(ConfigError, match=r"open_model: model\[0\]\.thresold: .* threshold\?"):
        framebuf.open_model(**DETECTOR, thresold=0.5)
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        framebuf.open_model("gone.onnx")


def test_files_are_named_by_strings_or_by_paths() -> None:
    paths = {key: Path(DETECTOR[key]) for key in ("path", "labels")}
    looks = {"path": ASSETS / "mobilenetv2-224.onnx", "labels": ASSETS / "imagenet.txt"}
    then = looks | {"task": "classify", "only": ["person"], "batch_sizes": [1]}
    with framebuf.open_model(**DETECTOR | paths | {"batch_sizes": [1]}, then=then) as model:
        assert [best(result) for result in model.map(PHOTOS)] == ["cat", "person", None]


def test_a_family_is_found_by_its_pattern(tmp_path: Path) -> None:
    tiny = Path(__file__).parents[1] / "assets" / "tiny-n.onnx"
    for size in (1, 4):
        (tmp_path / f"tiny-batch{size}.onnx").symlink_to(tiny)
    normalise = {"mean": [0, 0, 0], "std": [255, 255, 255]}
    with framebuf.open_model(f"{tmp_path}/tiny-batch{{1,4}}", task="embed", **normalise) as model:
        assert model.sizes == (1, 4)
        results = list(model.map(PHOTOS * 3))
    sizes = {result.batch.size for result in results if result.batch}
    assert sizes <= {1, 4}, "which of them, their costs decide"
    first, fourth = (r.findings.embedding for r in (results[0], results[3]) if r.findings)
    assert first == fourth


def test_importing_framebuf_loads_none_of_the_heavy_libraries() -> None:
    heavy = "{'cv2', 'numpy', 'onnxruntime', 'av', 'paho'} & set(sys.modules)"
    code = f"import sys, framebuf, framebuf.cli; sys.exit(str({heavy}) if {heavy} else 0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
