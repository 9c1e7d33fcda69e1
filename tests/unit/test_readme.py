"""The library's examples, in README.md and in the package's docstring, run as they are written."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import cv2
import pytest

import framebuf

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "framebuf" / "demo" / "assets"
PHOTOS = sorted((ASSETS / "photos").iterdir())
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
DOCSTRING = textwrap.dedent(framebuf.__doc__.partition("As a library:\n")[2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples find their models; the simulated NPU is quick."""
    for model in ("nanodet-416.onnx", "mobilenetv2-224.onnx", "coco.txt", "imagenet.txt", "photos"):
        (tmp_path / model).symlink_to(ASSETS / model)
    for size in (1, 4, 8, 16):
        compiled = ROOT / "tests" / "assets" / f"tiny-rk3588-i8-batch{size}.rknn"
        (tmp_path / f"osnet-batch{size}.rknn").symlink_to(compiled)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEBUF_SIM", "scale=0.1")
    return tmp_path


def test_there_are_examples() -> None:
    assert any("open_model" in block for block in BLOCKS)
    assert "open_model" in DOCSTRING


@pytest.mark.parametrize("example", [*BLOCKS, DOCSTRING], ids=lambda text: text[:40])
def test_an_example_runs_as_it_is_written(example: str, folder: Path) -> None:
    frames = [cv2.imread(str(photo)) for photo in PHOTOS] * 2
    names: dict[str, object] = {"frames": frames}
    exec(compile(example, "README.md", "exec"), names)
    result = names["result"]
    assert result.error is None, "the last frame of an example was answered"
    if "batch" in names:
        assert repr(names["batch"]) == "<Batch closed>"
