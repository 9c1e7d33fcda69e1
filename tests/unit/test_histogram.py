"""Histograms, which B/stats and /metrics are made of."""

from __future__ import annotations

from framebuf.histogram import Histogram, together


def test_a_value_on_a_bound_counts_below_it_and_one_above_all_counts_too():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.add(value)
    read = histogram.read()
    assert read.counts == (2, 2, 1)
    assert read.count == 5
    assert read.sum == 104.0


def test_what_was_read_does_not_change_any_more():
    histogram = Histogram((1.0,))
    before = histogram.read()
    histogram.add(0.5)
    assert before.counts == (0, 0)
    assert repr(histogram) == "<Histogram of 1, 0.5 in all>"


def test_distributions_of_several_contexts_add_up():
    one, other = Histogram((1.0,)), Histogram((1.0,))
    one.add(0.5)
    other.add(0.25)
    other.add(7)
    both = together([one.read(), other.read()])
    assert both.counts == (2, 1)
    assert both.sum == 7.75
