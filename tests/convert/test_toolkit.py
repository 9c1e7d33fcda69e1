"""framebuf convert with the real rknn-toolkit2. `make convert-test`: not in the ordinary run.

Installs the toolkit, 1.5 GB or more, where the command would, unless it is there. No board: what
is compared with onnxruntime is the toolkit's own simulator; that an NPU agrees is for tests/board.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from framebuf.models.runtimes.rknnfile import RknnFile

ROOT = Path(__file__).parents[2]
TINY, TINY_FREE = (ROOT / "tests/assets" / name for name in ("tiny-1.onnx", "tiny-n.onnx"))
ASSETS = ROOT / "framebuf/demo/assets"
PHOTOS = ASSETS / "photos"
MAIN = "from framebuf.cli import main; main()"
NORM = ("--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375")
INT8 = ("--dataset", str(PHOTOS))

pytestmark = pytest.mark.timeout(1800)  # the first one installs


def run(*options):
    return subprocess.run(
        [sys.executable, "-c", MAIN, "convert", *map(str, options)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


def converted(out, model, platform, *options):
    """The JSON document, with each file's header."""
    done = run(model, "-p", platform, "-o", out, "--check", "--json", *options)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    document = json.loads(done.stdout)
    return document, [RknnFile.read(Path(each["file"])) for each in document["files"]]


@pytest.mark.parametrize("platform", ["rk3588", "rk3576", "rk3566"])
@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_the_tiny_network_is_compiled_as_it_computes_for_each_batch_size(tmp_path, platform, dtype):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefghij"))
    document, files = converted(
        tmp_path / "out", TINY, platform, "--batch", "1,4,8", *NORM, *INT8, "--dtype", dtype,
        "--task", "classify", "--labels", labels,
    )  # fmt: skip
    assert [file.batch for file in files] == [1, 4, 8]
    for each, file in zip(document["files"], files, strict=True):
        assert min(each["cosine"].values()) >= 0.99
        assert set(each["cosine"]) == {"embedding", "logits"}
        assert file.path.name == f"tiny-1-batch{file.batch}.rknn"
        assert file.platforms == (platform,)
        assert file.runtime_input.shape == (file.batch, 256, 128, 3)
        assert [o.shape for o in file.runtime_outputs] == [(file.batch, 32), (file.batch, 10)]
        assert file.quantisation == ("int8" if dtype == "int8" else None)
        assert (file.said.labels, file.said.task) == (tuple("abcdefghij"), "classify")
        (given,) = file.inputs
        assert given.mean == pytest.approx((123.675, 116.28, 103.53))
        assert given.std == pytest.approx((58.395, 57.12, 57.375))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_a_free_batch_axis_is_fixed_and_either_order_of_channels_is_calibrated(tmp_path, channels):
    document, (file,) = converted(
        tmp_path, TINY_FREE, "rk3588", "--batch", "4", *NORM, *INT8, "--channels", channels
    )
    assert file.runtime_input.shape == (4, 256, 128, 3)
    assert min(document["files"][0]["cosine"].values()) >= 0.999


@pytest.mark.parametrize(
    ("model", "options", "outputs"),
    [
        ("mobilenetv2-224.onnx", (), 2),
        ("nanodet-416.onnx", ("--decoder", "nanodet", "--labels", str(ASSETS / "coco.txt")), 6),
    ],
)
def test_a_model_that_takes_bytes_and_normalises_them_is_compiled_too(
    tmp_path, model, options, outputs
):
    document, (file,) = converted(
        tmp_path, ASSETS / model, "rk3588", "--batch", "4", "--dataset", PHOTOS,
        "--dtype", "float16", *options,
    )  # fmt: skip
    assert min(document["files"][0]["cosine"].values()) >= 0.999
    assert file.runtime_input.name == "images"
    assert len(file.runtime_outputs) == outputs
    (given,) = file.inputs
    assert given.mean == pytest.approx((123.675, 116.28, 103.53), abs=1e-3)
    assert given.std == pytest.approx((58.395, 57.12, 57.375), abs=1e-3)
    if "nanodet" in model:
        assert (file.said.decoder, len(file.said.labels)) == ("nanodet", 80)


def test_labels_beyond_ascii_and_with_commas_stand_in_the_file_as_they_are(tmp_path):
    labels = ("Fußgänger, links", "自行车", *"cdefghij")
    (tmp_path / "labels.txt").write_text("\n".join(labels), "utf-8")
    _, (file,) = converted(
        tmp_path, TINY, "rk3588", "--batch", "1", *NORM, "--task", "classify",
        "--labels", tmp_path / "labels.txt",
    )  # fmt: skip
    assert file.said.labels == labels


def test_a_bound_that_is_not_reached_refuses_and_leaves_nothing(tmp_path):
    done = run(
        TINY, "-p", "rk3588", "-o", tmp_path / "out", "--batch", "4", *NORM, *INT8,
        "--check", "--bound", "1",
    )  # fmt: skip
    assert done.returncode == 1
    assert "is too far from the ONNX model's: expected a cosine of 1, the simulator gives 0.9" in (
        done.stderr
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_what_the_toolkit_cannot_compile_is_told_in_its_words_with_a_remedy(tmp_path):
    data = TINY.read_bytes()
    assert data.endswith(b"\x10\x11")  # operator set 17, the last field
    (tmp_path / "new.onnx").write_bytes(data[:-1] + bytes([22]))
    done = run(tmp_path / "new.onnx", "-p", "rk3588", "-o", tmp_path / "out", *NORM)
    assert done.returncode == 1
    said = "new.onnx, batch 1: rknn-toolkit2: ValueError: Unsupport onnx opset 22, need <= 19!; "
    assert said + "export it with a lower opset" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
    Path(done.stderr.rpartition("all it said: ")[2].rstrip(")\n")).unlink()
