"""What batch sizes cost, kept beside the model, and passed over when it no longer holds."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from framebuf.errors import ModelError
from framebuf.models import profile
from framebuf.models.tensor import TensorSpec
from framebuf.models.timing import Bench, Timing

SPEC = TensorSpec("images", (None, 256, 128, 3), "uint8", "NHWC")
SIZES = (1, 4, 8)


@pytest.fixture
def family(tmp_path):
    for size in SIZES:
        (tmp_path / f"osnet-batch{size}.rknn").write_bytes(b"RKNN" + bytes([size]) * 100_000)
    return str(tmp_path / "osnet-batch{1,4,8}.rknn")


def bench(family, costs, platform="rk3588"):
    timings = [
        Timing(
            b, 50, ms, 2.5, 0.1, 0.1, 1 if b == 1 else 3, Path(family.replace("{1,4,8}", str(b)))
        )
        for b, ms in costs.items()
    ]
    return Bench(platform, "runtime 1", SPEC, 1, (1280, 720), tuple(timings))


COSTS = {1: 8.806, 4: 21.555, 8: 22.336}


def save(family, costs=None, platform="rk3588"):
    return profile.save(family, bench(family, costs or COSTS, platform))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("family", "file"),
    [
        ("models/osnet-batch{1,4,8}.rknn", "models/osnet.profile.json"),
        ("/m/osnet-batch{1,4,8}", "/m/osnet.profile.json"),
        ("osnet-batch{1}-rk3588.rknn", "osnet-rk3588.profile.json"),
        ("yolo.v8{1,4}.onnx", "yolo.v8.profile.json"),
        ("nanodet-416.onnx", "nanodet-416.profile.json"),
        ("batch{1,4}.rknn", "model.profile.json"),
    ],
)
def test_a_profile_stands_beside_its_family_under_its_name(family, file):
    assert profile.path_of(family) == Path(file)


def test_what_was_saved_is_loaded_by_batch_size(family, caplog):
    written = save(family)
    assert written.name == "osnet.profile.json"
    assert profile.load(family, "rk3588") == COSTS
    assert json.loads(written.read_text())["platforms"]["rk3588"]["batches"]["8"]["cores"] == 3
    assert [file.name for file in written.parent.iterdir() if file.name.startswith(".")] == []
    assert warnings(caplog) == []


def test_the_suffix_may_be_left_out(family):
    save(family)
    assert profile.load(family.removesuffix(".rknn"), "rk3588") == COSTS


def test_without_a_profile_there_are_no_costs_and_no_warning(family, caplog):
    assert profile.load(family, "rk3588") is None
    assert warnings(caplog) == []


def test_platforms_do_not_mix_and_one_is_kept_when_another_is_saved(family):
    save(family, {1: 1.0, 4: 2.0, 8: 3.0}, "sim:rk3588")
    assert profile.load(family, "rk3588") is None, "simulated costs are no board's"
    save(family)
    assert profile.load(family, "rk3588") == COSTS
    assert profile.load(family, "sim:rk3588") == {1: 1.0, 4: 2.0, 8: 3.0}


def test_a_simulated_figure_under_a_boards_name_is_passed_over(family, caplog):
    written = save(family, platform="sim:rk3588")
    text = written.read_text().replace('"sim:rk3588": {', '"rk3588": {')
    assert '"simulated": true' in text
    written.write_text(text)
    assert profile.load(family, "rk3588") is None
    (warning,) = warnings(caplog)
    assert "passed over for rk3588: its figures are simulated; measure anew with" in warning


@pytest.mark.parametrize("change", ["shorter", "header"])
def test_a_model_that_has_changed_makes_its_profile_stale(family, caplog, change):
    save(family)
    file = Path(family.replace("{1,4,8}", "4"))
    old = file.read_bytes()
    file.write_bytes(old[:-1] if change == "shorter" else b"RKNN!" + old[5:])
    assert profile.load(family, "rk3588") is None
    (warning,) = warnings(caplog)
    assert "osnet-batch4.rknn has changed since batch 4 was measured" in warning


def test_a_size_that_was_not_measured_is_named(family, caplog, tmp_path):
    save(family)
    (tmp_path / "osnet-batch16.rknn").write_bytes(b"RKNN")
    assert profile.load(family.replace("8}", "8,16}"), "rk3588") is None
    assert "osnet-batch16.rknn was not measured" in warnings(caplog)[0]


def test_a_size_that_is_gone_is_left_out(family):
    save(family)
    assert profile.load(family.replace(",8}", "}"), "rk3588") == {1: 8.806, 4: 21.555}


def test_costs_of_a_processor_hold_for_as_many_as_it_had(family, caplog, monkeypatch):
    save(family, platform="cpu")
    assert profile.load(family, "cpu") == COSTS
    more = set(range(len(os.sched_getaffinity(0)) + 1))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: more)
    assert profile.load(family, "cpu") is None
    assert f"processors, here are {len(more)}" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"v": 2, "platforms": {}}', "Invalid enum value 2 - at `$.v`"),
        (json.dumps({"v": 1, "platforms": {"rk3588": {}}}), "missing required field"),
        (" " * (2**20 + 1), "larger than 1024 KiB"),
    ],
)
def test_a_broken_profile_is_passed_over_with_its_reason(family, caplog, text, why):
    profile.path_of(family).write_text(text)
    assert profile.load(family, "rk3588") is None
    (warning,) = warnings(caplog)
    assert why in warning
    save(family)
    assert profile.load(family, "rk3588") == COSTS, "a broken one is written anew"


def test_a_missing_model_is_told_as_anywhere(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        profile.load(str(tmp_path / "gone-batch{1,4}.rknn"), "rk3588")


def test_where_it_cannot_be_written_the_reason_is_told(family, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(ModelError, match=r"osnet\.profile\.json: Permission denied; it has to"):
        save(family)
