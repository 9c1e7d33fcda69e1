"""Who gets an accelerator's cores, and when: a lane by a clock that is set, without threads."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from tests.unit.lane_play import MS, Play

RK3588 = {1: 8.806, 4: 21.555, 8: 22.336, 16: 40.253}


@pytest.fixture
def play(monkeypatch):
    return lambda cores=3, prepare_ms=0, **models: Play(monkeypatch, cores, prepare_ms, **models)


def frames(ran):
    return Counter((each.model, turn) for each in ran for turn in each.turns)


def by_core(ran, cores):
    return [[each for each in ran if core in each.cores] for core in range(cores)]


def gaps(ran, cores):
    """Milliseconds that cores idled between their runs."""
    return sum(
        after.begins - before.ends
        for mine in by_core(ran, cores)
        for before, after in pairwise(mine)
    )


def assert_exclusive(ran, cores=3):
    for mine in by_core(ran, cores):
        for before, after in pairwise(mine):
            assert after.begins >= before.ends, (before, after)


# as planned ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pinned", [1, 3])
def test_a_drain_takes_what_its_plan_says(play, pinned):
    for count in (1, 2, 5, 8, 9, 24, 37, 64, 300):
        stage = play(m=(pinned, RK3588))
        planned = stage.plans["m"].schedule(count)
        stage.submit("m", count)
        ran = stage.play()
        assert frames(ran) == {("m", "a"): count}
        assert_exclusive(ran)
        end = max(batch.ends_ns for batch in planned) / MS
        assert max(each.ends for each in ran) == pytest.approx(end)


@pytest.mark.parametrize("count", [5, 8, 24, 37, 64, 200])
def test_preparing_makes_a_drain_no_longer_than_its_first_tensor_takes(play, count):
    """What runs first hides the preparation of a large batch after it, begun as early as that."""
    stage = play(m=(3, RK3588), prepare_ms=0.9)
    stage.submit("m", count)
    ran = stage.play()
    assert frames(ran) == {("m", "a"): count}
    assert max(each.ends for each in ran) == pytest.approx(least_ms(count, 0.9), rel=0.001)


def least_ms(count, prepare_ms):
    """RK3588's, of all orders: singles in rounds of three, batches on all cores.

    Nothing runs before the first tensor is prepared, with a single frame or as many as a batch has.
    """
    large = {size: ms for size, ms in RK3588.items() if size > 1}
    batches = [0.0]
    for n in range(1, count + 1):
        batches.append(min(ms + batches[max(0, n - size)] for size, ms in large.items()))
    ends = [
        prepare_ms - (-singles // 3) * RK3588[1] + batches[count - singles]
        for singles in range(1, count + 1)
    ]
    ends += [
        filled * prepare_ms + ms + batches[count - filled]
        for size, ms in large.items()
        for filled in range(1, min(size, count) + 1)
    ]
    return min(ends)


def test_a_drain_of_any_costs_takes_what_its_plan_says(play):
    for seed in range(150):
        chance = random.Random(seed)
        cores = chance.randint(1, 3)
        times = {
            size: chance.randint(2, 12) + size * chance.randint(1, 3)
            for size in chance.sample((1, 2, 4, 8), chance.randint(1, 4))
        }
        stage = play(cores, m=(chance.randint(1, cores) if 1 in times else 0, times))
        count = chance.randint(1, 40)
        planned = stage.plans["m"].schedule(count)
        stage.submit("m", count)
        ran = stage.play()
        assert_exclusive(ran, cores)
        end = max(batch.ends_ns for batch in planned) / MS
        assert max(each.ends for each in ran) == pytest.approx(end), (seed, times)


def test_frames_that_come_one_by_one_are_planned_anew(play):
    stage = play(m=(3, RK3588))
    for arrival in range(200):
        stage.submit("m", 1)
        stage.play(until_ms=2.7 * arrival)  # singles could take one in 2.9 ms, batches in 2.5
    ran = stage.play()
    assert frames(ran) == {("m", "a"): 200}
    assert_exclusive(ran)
    assert {each.size for each in ran} > {1}, "batches, where singles do not keep up"
    assert max(each.ends for each in ran) < 2.7 * 200 + 2 * RK3588[16]


def test_no_core_idles_while_singles_wait(play):
    stage = play(m=(3, {1: 9}))
    stage.submit("m", 100)
    ran = stage.play()
    assert gaps(ran, 3) == 0
    assert Counter(each.cores for each in ran) == {(0,): 34, (1,): 33, (2,): 33}


def test_a_single_core_runs_batches_and_singles_on_that_core(play):
    stage = play(1, m=(1, {1: 18.659, 4: 50}))
    stage.submit("m", 6)
    assert [(each.size, each.cores) for each in stage.play()] == [(4, (0,)), (1, (0,)), (1, (0,))]


# neither starves the other --------------------------------------------------------------------


@pytest.mark.parametrize("ms", [0.5, 3, 30])
@pytest.mark.parametrize("first", ["single", "batch"])
def test_batches_on_all_cores_and_singles_of_another_model_take_turns(play, ms, first):
    """Where a batch takes less than its preparation too: then the next is decided at once."""
    stage = play(prepare_ms=1, single=(3, {1: ms}), batch=(0, {8: 2.5 * ms}))
    stage.submit(first, 2000)
    stage.play(until_ms=100 * ms)
    stage.submit("batch" if first == "single" else "single", 200)
    stage.play(until_ms=400 * ms)
    late = [each.model for each in stage.ran if each.begins > 110 * ms]
    assert_exclusive(sorted(stage.ran, key=lambda ran: ran.begins))
    assert late.count("batch") > 10, late
    assert late.count("single") > 20, late


def test_a_model_that_has_served_for_hours_is_not_put_behind_one_that_is_new(play):
    stage = play(old=(3, {1: 9}), new=(3, {1: 9}))
    stage.submit("old", 3000, "drain")
    stage.play(until_ms=3000)
    stage.submit("new", 3000, "drain")
    before = len(stage.ran)
    stage.play(until_ms=3900)
    turns = Counter(each.model for each in stage.ran[before:])
    assert abs(turns["old"] - turns["new"]) <= 9, turns


def test_one_frame_of_another_model_does_not_wait_for_a_drain(play):
    stage = play(drain=(3, RK3588), single=(3, {1: 9}))
    stage.submit("drain", 300, "d")
    stage.play(until_ms=100)
    stage.submit("single", 1, "s")
    ran = stage.play()
    (single,) = [each for each in ran if each.model == "single"]
    assert single.ends - 100 <= 2 * RK3588[16] + 9


def test_a_frame_of_higher_priority_goes_into_the_next_batch(play):
    stage = play(m=(1, RK3588))
    stage.submit("m", 300, "d")
    stage.play(until_ms=100)
    stage.submit("m", 1, "urgent", priority=5)
    ran = stage.play()
    (urgent,) = [each for each in ran if "urgent" in each.turns]
    assert urgent.turns[0] == "urgent"
    assert urgent.ends - 100 <= 3 * RK3588[16]


@pytest.mark.parametrize("prepare_ms", [0.3, 0.6, 1.2])
def test_a_single_frame_in_a_drain_takes_two_batches_and_preparing(play, prepare_ms):
    """The play takes all frames of a tensor when it begins to fill it, a context one by one."""
    worst = 0.0
    for moment in range(60, 180):
        stage = play(prepare_ms=prepare_ms, m=(3, RK3588))
        stage.submit("m", 300, "d")
        stage.play(until_ms=moment)
        stage.submit("m", 1, "single")
        ran = stage.play()
        worst = max(worst, next(each.ends for each in ran if "single" in each.turns) - moment)
    preparing = 16 * prepare_ms
    assert worst - preparing <= 2 * RK3588[16] + preparing


def test_whoever_waited_for_seconds_goes_before_a_higher_priority(play):
    stage = play(1, high=(1, {1: 100}), low=(1, {1: 100}))
    stage.submit("high", 100, "h", priority=2)
    stage.submit("low", 1, "l")
    ran = stage.play()
    assert 2000 <= next(each.begins for each in ran if each.model == "low") <= 3300


# one that shares nothing -----------------------------------------------------------------------


def assert_alone(ran, turn):
    mine = [each for each in ran if turn in each.turns]
    assert mine
    for each in mine:
        assert set(each.turns) == {turn}
        for other in ran:
            assert other is each or other.ends <= each.begins or other.begins >= each.ends


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_a_turn_that_is_alone_shares_no_batch_and_nothing_runs_beside_it(play, order):
    stage = play(prepare_ms=0.2, m=(3, RK3588), other=(3, {1: 5}))
    if order == "before":
        stage.submit("m", 3, "suspect", alone=True)
    stage.submit("other", 20, "b")
    stage.submit("m", 5, "a")
    if order == "between":
        stage.submit("m", 3, "suspect", alone=True)
    stage.submit("m", 40, "c")
    if order == "after":
        stage.play(until_ms=30)
        stage.submit("m", 3, "suspect", alone=True)
    ran = stage.play()
    assert frames(ran) == {("m", "a"): 5, ("m", "c"): 40, ("other", "b"): 20, ("m", "suspect"): 3}
    assert_exclusive(ran)
    assert_alone(ran, "suspect")


def test_two_turns_that_are_alone_are_not_with_each_other(play):
    stage = play(m=(3, RK3588))
    stage.submit("m", 3, "one", alone=True)
    stage.submit("m", 3, "two", alone=True)
    ran = stage.play()
    assert_alone(ran, "one")
    assert_alone(ran, "two")


def test_whatever_is_submitted_and_withdrawn_is_run_once_and_alone_stays_alone(play):
    for seed in range(12):
        chance = random.Random(seed)
        cores = chance.randint(1, 3)
        models = {
            name: (
                chance.randint(1, cores),
                {
                    size: chance.choice([0.5, 3, 9]) * size**0.7
                    for size in (1, chance.choice([4, 8]))
                },
            )
            for name in "xyz"[: chance.randint(1, 3)]
        }
        stage = play(cores, chance.choice([0, 0.3, 2]), **models)
        wanted, lonely = Counter(), set()
        for number in range(30):
            model, turn = chance.choice(list(models)), f"t{number}"
            count, alone = chance.randint(1, 20), chance.random() < 0.1
            stage.submit(model, count, turn, priority=chance.randint(0, 2), alone=alone)
            wanted[model, turn] = count
            lonely |= {turn} if alone else set()
            stage.play(until_ms=stage.ms + chance.choice([0, 1, 10, 40]))
            if chance.random() < 0.2:
                wanted[model, turn] -= len(stage.lane.withdraw(model, turn))
        ran = stage.play()
        assert frames(ran) == +wanted, seed
        for turn in {turn for each in ran for turn in each.turns if turn in lonely}:
            assert_alone(ran, turn)
        assert_exclusive(ran, cores)
        assert repr(stage.lane).startswith("<Lane play 0 waiting, <Timeline 0 running, 0 to come>")
