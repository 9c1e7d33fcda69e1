from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framebuf.errors import InferenceError, ModelError
from framebuf.models.runtimes import open_runtime
from framebuf.models.runtimes.onnx import OnnxRuntime
from framebuf.models.tensor import TensorSpec

ROOT = Path(__file__).parents[2]
NANODET = ROOT / "framebuf/demo/assets/nanodet-416.onnx"
MOBILENET = ROOT / "framebuf/demo/assets/mobilenetv2-224.onnx"
TINY_N, TINY_1 = ROOT / "tests/assets/tiny-n.onnx", ROOT / "tests/assets/tiny-1.onnx"
FLOAT, UINT8, FLOAT16 = 1, 2, 10


@pytest.fixture
def tiny():
    runtime = OnnxRuntime.open(TINY_N, threads=1)
    yield runtime
    runtime.close()


def field(number, value):
    """One field of a protobuf message."""
    if isinstance(value, int):
        return (
            bytes([number << 3, value])
            if value < 128
            else bytes([number << 3, value & 127 | 128, value >> 7])
        )
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, *_varint(len(data))]) + data


def _varint(number):
    return [number] if number < 128 else [number & 127 | 128, *_varint(number >> 7)]


def tensor_info(name, elements, shape):
    axes = b"".join(
        field(1, field(2, axis) if isinstance(axis, str) else field(1, axis)) for axis in shape
    )
    return field(1, name) + field(2, field(1, field(1, elements) + field(2, axes)))


def onnx(path, *inputs):
    """An ONNX file whose outputs are its inputs; each is (name, element type, shape)."""
    graph = field(2, "g")
    for name, elements, shape in inputs:
        node = field(1, name) + field(2, f"out_{name}") + field(4, "Identity")
        graph += field(1, node)
        graph += field(11, tensor_info(name, elements, shape))
        graph += field(12, tensor_info(f"out_{name}", elements, shape))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
    return path


def test_the_shipped_models_tell_their_tensors():
    nanodet = OnnxRuntime.open(NANODET, threads=1)
    assert nanodet.input == TensorSpec("images", (None, 416, 416, 3), "uint8", "NHWC")
    assert [str(output) for output in nanodet.outputs[:4]] == [
        "cls8 N×2704×80 float32",
        "cls16 N×676×80 float32",
        "cls32 N×169×80 float32",
        "reg8 N×2704×44 float32",
    ]
    mobilenet = OnnxRuntime.open(MOBILENET, threads=1)
    assert [output.name for output in mobilenet.outputs] == ["logits", "embedding"]


def test_height_and_width_of_a_model_that_is_not_square_are_not_swapped(tiny):
    assert tiny.input == TensorSpec("images", (None, 3, 256, 128), "float32", "NCHW")
    assert (tiny.input.height, tiny.input.width) == (256, 128)
    assert OnnxRuntime.open(TINY_1, threads=1).input.batch == 1


def test_rows_of_a_batch_are_what_each_picture_gives_alone(tiny):
    tensor = np.random.default_rng(0).normal(size=(5, 3, 256, 128)).astype(np.float32)
    together = tiny.infer(tensor)
    assert [output.shape for output in together] == [(5, 32), (5, 10)]
    assert {output.dtype.name for output in together} == {"float32"}
    for row in range(5):
        alone = tiny.infer(tensor[row : row + 1])
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[row], one[0], rtol=1e-4, atol=1e-5)


def test_a_view_of_a_larger_memory_can_be_inferred(tiny):
    memory = np.random.default_rng(0).normal(size=(8, 3, 256, 128)).astype(np.float32)
    for first, second in zip(tiny.infer(memory[:2]), tiny.infer(memory[:2].copy()), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((1, 3, 128, 256), np.float32, "1×3×128×256 float32"),
        ((1, 3, 256, 128), np.float64, "1×3×256×128 float64"),
        ((3, 256, 128), np.float32, "3×256×128 float32"),
        ((0, 3, 256, 128), np.float32, "0×3×256×128 float32"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_expected_and_actual(tiny, shape, dtype, got):
    with pytest.raises(InferenceError) as error:
        tiny.infer(np.zeros(shape, dtype))
    assert str(error.value) == (
        f"tiny-n.onnx wants images N×3×256×128 float32, the tensor is {got}"
    )


def test_a_fixed_batch_takes_no_other():
    runtime = OnnxRuntime.open(TINY_1, threads=1)
    with pytest.raises(InferenceError, match="wants images 1×3×256×128 float32, the tensor is 2×"):
        runtime.infer(np.zeros((2, 3, 256, 128), np.float32))


def test_a_failure_inside_onnxruntime_is_an_inference_error(tiny, monkeypatch):
    class Broken:
        def run(self, *_):
            raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(tiny, "_session", Broken())
    with pytest.raises(InferenceError, match=r"tiny-n.onnx: onnxruntime: first line\Z") as error:
        tiny.infer(np.zeros((1, 3, 256, 128), np.float32))
    assert isinstance(error.value.__cause__, RuntimeError)


def test_a_closed_runtime_says_so(tiny):
    tiny.close()
    tiny.close()
    with pytest.raises(InferenceError, match="closed"):
        tiny.infer(np.zeros((1, 3, 256, 128), np.float32))
    assert repr(tiny) == "<OnnxRuntime tiny-n.onnx images N×3×256×128 float32 closed>"


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model at all", TINY_N.read_bytes()[:3000]],
    ids=["empty", "text", "cut"],
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, content, capfd):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        OnnxRuntime.open(path, threads=1)
    assert str(error.value).startswith(f"{path}: onnxruntime cannot load it: ")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"away.onnx: no such file"):
        OnnxRuntime.open(tmp_path / "away.onnx", threads=1)


@pytest.mark.parametrize(
    ("shape", "elements", "layout", "message"),
    [
        (["N", 3, 8, 3], UINT8, None, 'in N×3×8×3 may be NCHW or NHWC; say layout = "nchw"'),
        (["N", 1, 8, 8], UINT8, None, "expected 3 channels in NCHW or NHWC, got in N×1×8×8"),
        (["N", 3, 8, 8], UINT8, "nhwc", "expected 3 channels in NHWC, got in N×3×8×8"),
        (["N", 3, 8], UINT8, None, "expected an input of four axes, got in N×3×8"),
        (["N", 3, "h", "w"], UINT8, None, "expected a fixed height and width, got in N×3×N×N"),
        (["N", 3, 8, 8], FLOAT16, None, "uint8 or float, in N×3×8×8 is tensor.float16"),
    ],
)
def test_an_input_that_is_no_picture_is_refused(tmp_path, shape, elements, layout, message):
    path = onnx(tmp_path / "odd.onnx", ("in", elements, shape))
    with pytest.raises(ModelError, match=message) as error:
        OnnxRuntime.open(path, threads=1, layout=layout)
    assert str(error.value).startswith(f"{path}: ")


def test_more_than_one_input_is_refused(tmp_path):
    one = ("a", UINT8, ["N", 3, 8, 8])
    path = onnx(tmp_path / "two.onnx", one, ("b", *one[1:]))
    with pytest.raises(ModelError, match="expected one input, it has 2: a, b"):
        OnnxRuntime.open(path, threads=1)


def test_the_layout_can_be_told_where_the_shape_does_not(tmp_path):
    path = onnx(tmp_path / "odd.onnx", ("in", UINT8, ["N", 3, 8, 3]))
    nchw = OnnxRuntime.open(path, threads=1, layout="nchw")
    assert (nchw.input.layout, nchw.input.height, nchw.input.width) == ("NCHW", 8, 3)
    nhwc = OnnxRuntime.open(path, threads=1, layout="nhwc")
    assert (nhwc.input.layout, nhwc.input.height, nhwc.input.width) == ("NHWC", 3, 8)


def test_outputs_are_float32_whatever_the_file_gives(tmp_path):
    runtime = OnnxRuntime.open(onnx(tmp_path / "u8.onnx", ("in", UINT8, ["N", 2, 2, 3])), threads=1)
    tensor = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    (output,) = runtime.infer(tensor)
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, tensor)


def test_the_door_for_runtimes_opens_onnx_on_the_cpu():
    runtime = open_runtime(TINY_N, "cpu", threads=1)
    assert isinstance(runtime, OnnxRuntime)
    runtime.close()


def test_a_session_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    """onnxruntime's telemetry would leave a device id and a database there."""
    code = (
        "from pathlib import Path; from framebuf.models.runtimes.onnx import OnnxRuntime; "
        f"OnnxRuntime.open(Path({str(TINY_N)!r}), threads=1)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=kept | home, check=True)
    assert list(tmp_path.iterdir()) == []
