"""A model that is 256 high and 128 wide gets its picture the right way round, whatever runs it."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf import open_model
from framebuf.models.runtimes.behaviour import VARIABLE
from framebuf.models.runtimes.onnx import OnnxRuntime

ASSETS = Path(__file__).parents[1] / "assets"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NORMAL = {"task": "raw", "resize": "stretch", "mean": list(MEAN), "std": list(STD)}


def picture() -> np.ndarray:
    """(300, 200, 3) uint8 BGR: another colour in each corner; no turn looks like another."""
    corners = np.array([[[0, 0, 255], [0, 255, 0]], [[255, 0, 0], [30, 200, 250]]], np.uint8)
    return cv2.resize(corners, (200, 300), interpolation=cv2.INTER_LINEAR)


def alone(pixels: np.ndarray) -> np.ndarray:
    """What the network says of it, by a recipe that shares nothing with framebuf's preparing."""
    small = cv2.resize(pixels, (128, 256), interpolation=cv2.INTER_LINEAR)
    rgb = small[:, :, ::-1].astype(np.float32)
    tensor = ((rgb - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1)
    runtime = OnnxRuntime.open(ASSETS / "tiny-n.onnx", threads=1)
    (embedding, _) = runtime.infer(np.ascontiguousarray(tensor[None]))
    runtime.close()
    return embedding[0]


def said(model, pixels):
    (result,) = model.map([pixels])
    assert result.error is None
    return np.frombuffer(base64.b64decode(result.findings.outputs[0].f32), "<f4")


@pytest.mark.parametrize("platform", ["cpu", "sim:rk3588"])
def test_a_model_that_is_higher_than_wide_sees_the_picture_upright(platform, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "scale=0.05")
    path, keys = ASSETS / "tiny-n.onnx", NORMAL
    if platform != "cpu":
        for size in (1, 8):
            shutil.copy(ASSETS / f"tiny-rk3588-i8-batch{size}.rknn", tmp_path)
        shutil.copy(path, tmp_path / "tiny-rk3588-i8.onnx")
        path = tmp_path / "tiny-rk3588-i8-batch{1,8}.rknn"
        keys = {"task": "raw", "resize": "stretch"}
    with open_model(str(path), platform=platform, **keys) as model:
        assert (model.input.height, model.input.width) == (256, 128)
        upright = said(model, picture())
        turned = said(model, np.ascontiguousarray(np.rot90(picture())))
    np.testing.assert_allclose(upright, alone(picture()), rtol=0.02, atol=0.02)
    assert np.abs(upright - turned).max() > 0.1, "the test could not tell"
