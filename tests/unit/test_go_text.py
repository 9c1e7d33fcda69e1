"""Go's durations and benchmark lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from framebuf.cli import go_text
from framebuf.models.tensor import TensorSpec
from framebuf.models.timing import Bench, Timing

SPEC = TensorSpec("images", (None, 256, 128, 3), "uint8", "NHWC")


def timing(batch, ms, runs=100):
    return Timing(batch, runs, ms, 1.0, 0.1, 0.1, 1, Path("osnet.rknn"))


def bench(*timings, platform="rk3588"):
    return Bench(platform, "runtime 1", SPEC, 1, (1280, 720), timings)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_500, "1.5µs"),
        (98_123_456, "98.123456ms"),
        (2_098_619_346, "2.098619346s"),
        (2_000_000_000, "2s"),
        (63_250_000_000, "1m3.25s"),
        (3_600_000_000_000, "1h0m0s"),
        (7_384_000_000_001, "2h3m4.000000001s"),
    ],
)
def test_durations_are_written_as_by_go(ns, text):
    assert go_text.duration(ns) == text


def test_a_benchmark_line_is_the_seeds_to_the_column(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    lines = go_text.benchmark(bench(timing(8, 22.335645, 534), timing(16, 155.374027, 70)), "m")
    eight, sixteen = lines[-2:]
    assert eight == (
        "BenchmarkBatchSize/Batch08-8\t     534\t  22335645 ns/op"
        "\t        22.34 ms/batch\t         2.792 ms/img"
    )
    assert sixteen.split("\t")[-2:] == ["       155.4 ms/batch", "         9.711 ms/img"]


@pytest.mark.parametrize(
    ("ms", "text"), [(0.0123456, "0.01235"), (0.5, "0.5000"), (1234.5, "1234"), (1.0, "1.000")]
)
def test_numbers_have_four_digits_that_mean_something(ms, text):
    line = go_text.benchmark(bench(timing(1, ms)), "m")[-1]
    assert line.split("\t")[3].split() == [text, "ms/batch"]


def test_one_processor_has_no_suffix_as_in_go(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    line = go_text.benchmark(bench(timing(4, 1.0)), "m")[-1]
    assert line.split("\t")[0] == "BenchmarkBatchSize/Batch04"


def test_simulated_figures_say_so_in_the_configuration_that_benchstat_shows():
    lines = go_text.benchmark(bench(timing(4, 1.0), platform="sim:rk3588"), "m")
    assert "npu: simulated, no figure is a board's" in lines
    assert not any("simulated" in line for line in go_text.benchmark(bench(timing(4, 1.0)), "m"))
