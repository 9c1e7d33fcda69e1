from collections import Counter

from framebuf.service.backoff import FIRST_S, LEAST, MAX_S, STEADY_S, Backoff


def test_waits_double_with_jitter_up_to_a_bound_however_long_it_takes():
    backoff = Backoff()
    waits = [backoff.next_s() for _ in range(5000)]
    for turn, wait in enumerate(waits):
        ceiling = min(MAX_S, FIRST_S * 2 ** min(turn, 10))
        assert ceiling * LEAST <= wait <= ceiling
    assert len(set(waits)) > 1000


def test_a_fleet_that_loses_its_broker_in_one_moment_comes_back_spread_over_the_first_wait():
    tenth_s = FIRST_S / 10
    tenths = Counter(int(Backoff().next_s() / tenth_s) for _ in range(1000))
    assert sum(tenths.values()) == 1000
    assert max(tenths.values()) < 200, "of 111 on average"


def test_only_a_connection_that_lasted_makes_the_next_wait_short():
    backoff = Backoff()
    for _ in range(5):
        backoff.next_s(STEADY_S - 1)
    assert backoff.failures == 5
    assert backoff.next_s(STEADY_S) <= FIRST_S
