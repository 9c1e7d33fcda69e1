from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from framebuf.cli import main
from tests.unit.rknn_files import ends, rknn, tensor
from tests.unit.test_onnx_runtime import FLOAT16, UINT8, onnx

ASSETS = Path(__file__).parents[1] / "assets"
BATCH_8 = ASSETS / "tiny-rk3588-i8-batch8.rknn"


@pytest.fixture
def inspect(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["framebuf", "inspect", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def document(inspect, *arguments):
    code, out, err = inspect(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("file", sorted(ASSETS.glob("*.rknn")), ids=lambda file: file.name)
def test_every_compiled_file_shows_its_platform_batch_tensors_and_labels(inspect, file):
    _, chip, kind, size = file.stem.split("-")
    batch = size.removeprefix("batch")
    code, out, err = inspect(file)
    assert (code, err) == (0, "")
    head, headings, given, *_, labels = out.splitlines()
    assert f"{file}: rknn for {chip}, batch {batch}, " in head
    assert "made from ONNX by rknn-toolkit2 2.5.0" in head
    assert headings.split()[:4] == ["name", "shape", "layout", "dtype"]
    assert given.split()[:4] == ["input", "images", f"{batch}×256×128×3", "NHWC"]
    assert labels == "  3 labels: a, b, c"
    assert ("0.018658  -14 " in given) == (kind == "i8")


def test_the_json_is_that_of_the_contract(inspect):
    held = document(inspect, BATCH_8)
    (given,) = held["inputs"]
    assert round(given.pop("scale"), 6) == 0.018658
    assert given == {
        "name": "images",
        "shape": [8, 256, 128, 3],
        "layout": "NHWC",
        "dtype": "int8",
        "zero_point": -14,
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    }
    assert [(each["name"], each["shape"]) for each in held["outputs"]] == [
        ("embedding", [8, 32]),
        ("logits", [8, 10]),
    ]
    assert (held["file"], held["format"], held["platforms"]) == (str(BATCH_8), "rknn", ["rk3588"])
    assert (held["batch"], held["custom"], held["labels"]) == (8, "labels=a,b,c", ["a", "b", "c"])


def test_an_onnx_file_shows_its_free_batch_and_its_layout(inspect):
    path = ASSETS / "tiny-n.onnx"
    held = document(inspect, path)
    assert (held["format"], held["platforms"], held["batch"]) == ("onnx", ["cpu"], None)
    assert (held["inputs"][0]["shape"], held["inputs"][0]["layout"]) == (
        [None, 3, 256, 128],
        "NCHW",
    )
    code, out, _ = inspect(path)
    assert code == 0
    assert out.splitlines() == [
        f"{path}: onnx for cpu, any batch",
        "          name       shape        layout  dtype",
        "  input   images     N×3×256×128  NCHW    float32",
        "  output  embedding  N×32                 float32",
        "  output  logits     N×10                 float32",
    ]


def test_a_network_that_framebuf_does_not_run_is_shown_all_the_same(inspect, tmp_path):
    path = onnx(tmp_path / "odd.onnx", ("a", UINT8, ["N", 3, 8, 3]), ("b", FLOAT16, [2, 5]))
    given = document(inspect, path)["inputs"]
    assert [(each["shape"], each["layout"], each["dtype"]) for each in given] == [
        ([None, 3, 8, 3], "other", "uint8"),
        ([2, 5], "other", "float16"),
    ]
    path = rknn(tmp_path / "two.rknn", fields=ends(tensor("a", (1, 4)), inputs=(0, 0)))
    assert [each["shape"] for each in document(inspect, path)["inputs"]] == [[4, 4], [4, 4]]


def test_a_family_shows_each_member_by_batch_size(inspect):
    family = str(ASSETS / "tiny-rk3588-i8-batch{16,1,4,8}")
    held = document(inspect, family)
    assert held["model"] == family
    assert [file["batch"] for file in held["files"]] == [1, 4, 8, 16]
    code, out, _ = inspect(family)
    assert code == 0
    assert [block.split(",")[1] for block in out.split("\n\n")] == [
        f" batch {size}" for size in (1, 4, 8, 16)
    ]


def test_what_a_file_says_does_not_write_to_the_terminal_as_it_likes(inspect, tmp_path):
    fields = ends(tensor("in\x1b[2J", (1, 3, 8, 8))) | {11: "labels=a\nb,\x07c", 9: "\x1b"}
    code, out, _ = inspect(rknn(tmp_path / "made.rknn", fields=fields))
    assert code == 0
    assert "in�[2J" in out
    assert "2 labels: a�b, �c" in out
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("away.rknn", None, "no such file: {path}; correct the path, or convert the model"),
        (
            "cut.rknn",
            BATCH_8.read_bytes()[:999],
            "{path}: a broken .rknn file: expected 79368 bytes",
        ),
        ("text.rknn", b"hello", "{path}: no .rknn file: expected RKNN first, it begins b'hell'"),
        ("text.onnx", b"hello", "{path}: onnxruntime cannot load it: "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_on_standard_error(
    inspect, tmp_path, name, content, message
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for more in ((), ("--json",)):
        code, out, err = inspect(path, *more)
        assert (code, out) == (1, "")
        assert err.startswith("framebuf: " + message.format(path=path))
        assert err.count("\n") == 1


def test_a_member_that_is_not_of_the_batch_in_its_name_is_an_error(inspect, tmp_path):
    for size in (1, 4):
        shutil.copy(ASSETS / "tiny-rk3588-i8-batch1.rknn", tmp_path / f"m-batch{size}.rknn")
    code, out, err = inspect(tmp_path / "m-batch{1,4}.rknn")
    assert (code, out) == (1, "")
    assert err == (f"framebuf: {tmp_path}/m-batch4.rknn: expected batch 4, the file holds 1\n")
