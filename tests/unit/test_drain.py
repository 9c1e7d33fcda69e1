"""How long a history takes, and whether the camera can go on meanwhile."""

from __future__ import annotations

import pytest

from framebuf.models.plan import Cost, Plan
from framebuf.service.drain import Drain


def plan(*costs, cores=1):
    """Milliseconds by batch size."""
    return Plan([Cost(size, round(ms * 1e6)) for size, ms in costs], cores)


USUAL = ((1, 30.0), (4, 80.0), (8, 120.0))


def test_batches_are_reckoned_as_they_are_planned():
    drain = Drain.of(150, 50, 15.0, plan(*USUAL))  # the last six as a padded 8
    assert drain.seconds == pytest.approx(19 * 0.12)
    assert drain.meanwhile == 35
    assert drain.dropped == 0


def test_runtimes_share_the_batches():
    assert Drain.of(80, 10, 1.0, plan(*USUAL, cores=2)).seconds == pytest.approx(0.6)


def test_a_model_slower_than_the_camera_needs_headroom_for_the_difference():
    slow = plan((1, 100.0))
    assert Drain.of(100, 150, 25.0, slow).dropped == 0
    short = Drain.of(100, 100, 25.0, slow)
    assert (short.seconds, short.meanwhile, short.dropped) == (pytest.approx(10.0), 250, 50)


def test_one_long_batch_needs_headroom_though_the_model_is_fast_enough():
    """A whole batch is being prepared before its slots are free."""
    assert Drain.of(16, 2, 25.0, plan((16, 640.0))).dropped == 0
    assert Drain.of(17, 1, 25.0, plan((16, 800.0))).dropped > 0


def test_a_padded_batch_is_one_batch():
    assert Drain.of(3, 10, 1.0, plan((8, 100.0))).seconds == pytest.approx(0.1)
