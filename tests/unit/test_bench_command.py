"""framebuf bench on the simulated NPU and on the processor."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from framebuf.cli import app, chart
from framebuf.config import model_of
from framebuf.errors import InferenceError
from framebuf.models import profile
from framebuf.models.bench import time_family
from framebuf.models.tensor import TensorSpec
from framebuf.models.timing import Bench, Length, Timing

ASSETS = Path(__file__).parents[1] / "assets"
PICTURE = np.zeros((90, 160, 3), np.uint8)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("FRAMEBUF_SIM", "scale=0.02")


@pytest.fixture
def family(tmp_path):
    for size in (1, 4, 8, 16):
        file = tmp_path / f"osnet-batch{size}.rknn"
        file.symlink_to(ASSETS / f"tiny-rk3588-i8-batch{size}.rknn")
    return str(tmp_path / "osnet-batch{1,4,8,16}.rknn")


def bench(*arguments):
    result = CliRunner().invoke(app, ["bench", "--benchtime", "4x", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def read_go(text):
    """The configuration and the results of Go's benchmark format, read as its design says.

    golang.org/design/14313-benchmark-format; golang.org/x/perf/benchfmt reads the same.
    """
    configuration, results = {}, {}
    for line in text.splitlines():
        if line.startswith("Benchmark"):
            name, iterations, *pairs = line.split()
            assert len(pairs) % 2 == 0, f"a value without a unit: {line}"
            values = {unit: float(value) for value, unit in zip(pairs[::2], pairs[1::2])}  # noqa: B905
            results[name] = (int(iterations), values)
        elif match := re.match(r"([a-z][^\sA-Z:]*):(?:[ \t]+(.*))?$", line):
            configuration[match[1]] = match[2]
    return configuration, results


def test_each_batch_size_has_a_benchmark_line_that_benchstat_reads(family):
    text = bench("-m", family, "-p", "sim:rk3588").output
    configuration, results = read_go(text)
    assert set(configuration) - {"cpu"} == {
        "goos", "goarch", "pkg", "model", "platform", "runtime", "pool", "npu",
    }  # fmt: skip
    assert configuration["platform"] == "sim:rk3588"
    assert configuration["npu"].startswith("simulated")
    names = [re.sub(r"-\d+$", "", name) for name in results]
    assert names == [f"BenchmarkBatchSize/Batch{size:02}" for size in (1, 4, 8, 16)]
    for size, (runs, values) in zip((1, 4, 8, 16), results.values(), strict=True):
        assert runs == 4
        assert set(values) == {"ns/op", "ms/batch", "ms/img"}
        assert values["ms/batch"] == pytest.approx(values["ns/op"] / 1e6, rel=1e-3)
        assert values["ms/img"] == pytest.approx(values["ms/batch"] / size, rel=1e-3)


def test_people_read_that_it_is_simulated_at_the_head_the_bars_and_the_advice(family):
    lines = bench("-m", family, "-p", "sim:rk3588").output.splitlines()
    assert lines[0].endswith("on sim:rk3588 (simulated), 1 runtime")
    assert "ms/image, simulated" in next(line for line in lines if line.startswith("Batch "))
    assert lines[-1].startswith("Simulated: batch ")
    assert sum("█" in line for line in lines) == 4


def test_the_document_has_each_size_and_the_advice(family):
    document = json.loads(bench("-m", family, "-p", "sim:rk3588", "--json").output)
    assert document["simulated"] is True
    assert (document["platform"], document["pool"]) == ("sim:rk3588", 1)
    assert [row["batch"] for row in document["batches"]] == [1, 4, 8, 16]
    assert [row["cores"] for row in document["batches"]] == [1, 3, 3, 3]
    for row in document["batches"]:
        assert row["ms_per_image"] == pytest.approx(row["ms_per_batch"] / row["batch"], abs=1e-3)
        assert row["prepare_ms"] > 0
        assert row["spread_pct"] >= 0
    costs = {row["batch"]: row["ms_per_image"] for row in document["batches"]}
    assert document["best"] == min(costs, key=lambda size: costs[size])
    good = [size for size, ms in costs.items() if ms <= 1.15 * costs[document["best"]] + 1e-3]
    assert document["smallest_good"] in good


def test_a_profile_is_saved_only_when_asked_and_is_what_the_daemon_loads(family):
    bench("-m", family, "-p", "sim:rk3588")
    assert profile.load(family, "sim:rk3588") is None
    document = json.loads(bench("-m", family, "-p", "sim:rk3588", "--json", "--save").output)
    assert document["profile"].endswith("osnet.profile.json")
    loaded = profile.load(family, "sim:rk3588")
    assert loaded == {
        row["batch"]: pytest.approx(row["ms_per_batch"], abs=1e-4) for row in document["batches"]
    }
    assert profile.load(family, "rk3588") is None


def test_several_runtimes_run_side_by_side_and_share_the_runs(family):
    command = ["-m", family, "-p", "sim:rk3588", "--json", "-s", "3", "--benchtime", "9x"]
    document = json.loads(bench(*command).output)
    assert [row["runs"] for row in document["batches"]] == [9, 9, 9, 9]
    assert document["pool"] == 3


def test_an_onnx_model_with_a_free_axis_is_timed_at_the_sizes_asked(tmp_path):
    command = ["-m", ASSETS / "tiny-n.onnx", "--batch", "2,3", "--json", "--picture", "64x48"]
    document = json.loads(bench(*command).output)
    assert [row["batch"] for row in document["batches"]] == [2, 3]
    assert (document["platform"], document["simulated"]) == ("cpu", False)
    assert document["picture"] == [64, 48]


def test_the_plot_is_a_picture_that_says_what_it_shows(family, tmp_path):
    file = tmp_path / "plot.svg"
    assert (
        "The plot was written to" in bench("-m", family, "-p", "sim:rk3588", "--plot", file).output
    )
    texts = [element.text for element in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "osnet-batch{1,4,8,16}.rknn on sim:rk3588"
    assert texts[1].startswith("Simulated NPU: no figure is a board's.")
    assert [text for text in texts if text.startswith("batch ")] == [
        f"batch {size}" for size in (1, 4, 8, 16)
    ]


@pytest.mark.parametrize("highest", [0.004, 0.8, 3.9, 4.0, 9.0, 18.6, 333.0])
def test_every_bar_of_a_plot_stays_within_its_scale(highest):
    spec = TensorSpec("images", (None, 4, 4, 3), "uint8", "NHWC")
    timings = [Timing(b, 9, highest * b / b**0.5, 1.0, 0, 0, 1, Path("m")) for b in (1, 4, 16)]
    text = chart.svg(Bench("rk3588", "r", spec, 1, (4, 4), tuple(timings)), "<m> & co")
    bars = ET.fromstring(text).findall("{http://www.w3.org/2000/svg}rect")[1:]
    tops = [float(bar.get("y")) for bar in bars]
    assert tops == sorted(tops), "the slowest stands highest"
    assert all(chart.HEIGHT > top >= 100 for top in tops)
    assert "Simulated" not in text


def shown(result):
    """Without the box that click's runner draws around it."""
    return " ".join(re.sub(r"[│╭╰─╮╯]", " ", result.output).split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchtime", "10"], '"10s", or runs, "100x"'),
        (["--benchtime", "0x"], '"10s", or runs, "100x"'),
        (["--benchtime", "0s"], "more than 0"),
        (["--picture", "1280"], "as in 1280x720, got 1280"),
        (["--plot", "plot.png"], "expected a file.svg, got plot.png"),
        (["--plot", "gone/plot.svg"], "cannot write into gone: it is no folder, or not yours"),
        (["--save", "-s", "2"], "the profile is of one runtime"),
        (["--batch", "1,x"], "expected numbers as in 1,4,8, got 1,x"),
        (["--layout", "nwch"], "use nchw, nhwc"),
        (["-p", "rk9999"], "platforms are auto, cpu, rk3562"),
        (["-s", "0"], "greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_told_with_what_was_expected(family, arguments, message):
    result = bench("-m", family, "-p", "sim:rk3588", *arguments)
    assert result.exit_code == 2
    assert message in shown(result)


def test_a_plot_that_cannot_be_written_is_told_before_minutes_are_spent(family, tmp_path):
    (tmp_path / "plot.svg").mkdir()
    result = bench("-m", family, "-p", "sim:rk3588", "--plot", tmp_path / "plot.svg")
    assert result.exit_code == 2
    assert "plot.svg: it is no file" in shown(result)


def test_a_model_that_is_not_there_is_one_line_on_standard_error():
    command = [
        str(Path(sys.executable).with_name("framebuf")),
        "bench",
        "-m",
        "gone-batch{1,4}.rknn",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("framebuf: no such file: ")
    assert run.stderr.count("\n") == 1


def test_a_runtime_that_fails_ends_the_bench_with_its_error(family, monkeypatch):
    monkeypatch.setenv("FRAMEBUF_SIM", "scale=0,fails_after=3")
    model = model_of({"name": "m", "path": family, "task": "raw", "platform": "sim:rk3588"})
    with pytest.raises(InferenceError, match="its inference 4 failed"):
        time_family(model, pool=2, length=Length(runs=1000), picture=PICTURE)
