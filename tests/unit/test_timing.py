"""Which batch size is best, and how long each is timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from framebuf.models.runtimes.behaviour import PUBLISHED_MS, published_ms
from framebuf.models.tensor import TensorSpec
from framebuf.models.timing import Bench, Length, Timing

SPEC = TensorSpec("images", (None, 256, 128, 3), "uint8", "NHWC")


def bench(costs, platform="sim:rk3588"):
    timings = [Timing(b, 10, ms, 0.0, 0.1, 0.1, 1, Path("m")) for b, ms in costs.items()]
    return Bench(platform, "simulated", SPEC, 1, (1280, 720), tuple(timings))


@pytest.mark.parametrize(
    ("chip", "best", "smallest_good"), [("rk3588", 16, 8), ("rk3576", 8, 8), ("rk3566", 16, 1)]
)
def test_the_advice_is_the_seeds_on_each_simulated_npu(chip, best, smallest_good):
    found = bench({size: published_ms(chip, size) for size in PUBLISHED_MS[chip]})
    assert (found.best.batch, found.smallest_good.batch) == (best, smallest_good)


def test_within_fifteen_percent_is_good_and_more_is_not():
    assert bench({1: 1.15, 2: 2.0}).smallest_good.batch == 1
    assert bench({1: 1.16, 2: 2.0}).smallest_good.batch == 2


def test_of_equals_the_smaller_is_best():
    assert bench({2: 2.0, 4: 4.0}).best.batch == 2


def test_a_board_is_not_simulated():
    assert bench({1: 1.0}).simulated
    assert not bench({1: 1.0}, platform="rk3588").simulated


def test_a_time_is_over_after_three_runs_at_the_earliest():
    length = Length(ns=100)
    assert not length.over(1000, 2)
    assert length.over(1000, 3)
    assert not length.over(99, 50)


def test_runs_are_shared_among_the_runtimes_and_a_time_is_not():
    assert Length(runs=10).shared(3) == Length(runs=4)
    assert Length(runs=10).over(0, 10)
    assert not Length(runs=10).over(10**12, 9)
    assert Length(ns=5).shared(3) == Length(ns=5)
