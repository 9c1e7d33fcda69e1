"""How long a history takes, and whether the camera can go on meanwhile."""

from __future__ import annotations

import pytest

from framebuf.service.drain import Drain

COST = {1: 30.0, 4: 80.0, 8: 120.0}


def test_batches_are_reckoned_as_they_are_planned():
    drain = Drain.of(150, 50, 15.0, COST, 1)  # 18 × 8, 4, 2 × 1
    assert drain.seconds == pytest.approx(18 * 0.12 + 0.08 + 2 * 0.03)
    assert drain.meanwhile == 35
    assert drain.dropped == 0


def test_runtimes_share_the_batches():
    assert Drain.of(80, 10, 1.0, COST, 2).seconds == pytest.approx(0.6)


def test_a_model_slower_than_the_camera_needs_headroom_for_the_difference():
    slow = {1: 100.0}
    assert Drain.of(100, 150, 25.0, slow, 1).dropped == 0
    short = Drain.of(100, 100, 25.0, slow, 1)
    assert (short.seconds, short.meanwhile, short.dropped) == (pytest.approx(10.0), 250, 50)


def test_one_long_batch_needs_headroom_though_the_model_is_fast_enough():
    """A whole batch is being prepared before its slots are free."""
    assert Drain.of(16, 2, 25.0, {16: 640.0}, 1).dropped == 0
    assert Drain.of(17, 1, 25.0, {16: 800.0}, 1).dropped > 0


def test_a_padded_batch_is_one_batch():
    assert Drain.of(3, 10, 1.0, {8: 100.0}, 1).seconds == pytest.approx(0.1)
