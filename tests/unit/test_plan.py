"""The planner against a search that tries everything, and the figures that it was made for."""

from __future__ import annotations

import random
from functools import cache

import pytest

from framebuf.errors import ModelError
from framebuf.models.plan import Cost, Plan, Planned, Step
from framebuf.models.runtimes.behaviour import PUBLISHED_MS

MS = 1_000_000
SIZES = (1, 2, 3, 4, 6, 8, 16)


class Case:
    """Costs, cores and a backlog, made of a seed."""

    def __init__(self, seed: int, most: int) -> None:
        chance = random.Random(seed)
        self.cores = chance.randint(1, 3)
        self.pinned = chance.randint(0, self.cores)
        self.costs = []
        for size in chance.sample(SIZES, chance.randint(1, 4)):
            ns = chance.randint(2, 12) + size * chance.randint(1, 3)
            single = bool(self.pinned) and (size == 1 or chance.random() < 0.3)
            self.costs.append(Cost(size, ns, takes_all=not single))
        if all(cost.takes_all for cost in self.costs):
            self.pinned = 0
        self.waiting = chance.randint(1, most)
        self.busy = [0] * self.cores
        if chance.random() < 0.7:
            self.busy = [chance.choice([0, 0, chance.randint(1, 20)]) for _ in self.busy]

    def plan(self) -> Plan:
        return Plan(self.costs, self.cores, self.pinned)

    def after(self, step: Step, busy: list[int], not_before: int = 0) -> list[int]:
        """How busy the cores are once a step has begun."""
        (ns,) = (cost.ns for cost in self.costs if cost.size == step.size)
        cores = range(self.cores) if step.core is None else (step.core,)
        end = max(not_before, *(busy[core] for core in cores)) + ns
        return [end if core in cores else busy[core] for core in range(self.cores)]

    def __repr__(self) -> str:
        return f"{self.waiting} frames, cores busy {self.busy}, {self.pinned} pinned, {self.costs}"


def least(case: Case) -> int:
    """When the last core is free, by the best of all orders: every batch on every core is tried."""

    @cache
    def search(waiting: int, busy: tuple[int, ...]) -> int:
        if waiting <= 0:
            return max(busy)
        soonest = min(busy)  # states that differ in when alone are one
        if soonest:
            return soonest + search(waiting, tuple(core - soonest for core in busy))
        steps = [
            Step(cost.size, core)
            for cost in case.costs
            for core in ((None,) if cost.takes_all else range(case.pinned))
        ]
        return min(
            search(waiting - step.size, tuple(case.after(step, list(busy)))) for step in steps
        )

    return search(case.waiting, tuple(case.busy))


def followed(case: Case, waiting: int, busy: list[int]) -> int:
    """When the last core is free, by the plan, made anew before each batch."""
    plan = case.plan()
    while waiting > 0:
        step = plan.next(waiting, busy)
        busy = case.after(step, busy)
        waiting -= step.size
    return max(busy)


@pytest.mark.parametrize("most", [6, 12, 24])
def test_no_order_of_batches_is_quicker_than_the_plan(most):
    for seed in range({6: 400, 12: 150, 24: 60}[most]):
        case = Case(1000 * most + seed, most)
        assert followed(case, case.waiting, case.busy) == least(case), case


def test_a_plan_grows_with_the_backlog_and_stays_the_same_plan():
    case = Case(3, 24)
    plan = case.plan()
    for waiting in (24, 3, 11, 1, 24):
        assert plan.next(waiting, case.busy) == case.plan().next(waiting, case.busy)


# the first batch waits for its preparation ----------------------------------------------------


def finish(case: Case, step: Step, prepare_ns: int) -> int:
    """When the last core is free, if this is first, waits for its frames, and the rest is best."""
    rows = min(step.size, case.waiting)
    busy = case.after(step, case.busy, prepare_ns * rows)
    return followed(case, case.waiting - rows, busy)


def test_to_know_what_preparing_takes_is_never_worse_than_to_ignore_it():
    better = 0
    for seed in range(600):
        case = Case(seed, 12)
        for prepare_ns in (1, 2, 5):
            knowing = finish(
                case, case.plan().next(case.waiting, case.busy, prepare_ns), prepare_ns
            )
            ignoring = finish(case, case.plan().next(case.waiting, case.busy), prepare_ns)
            assert knowing <= ignoring, (prepare_ns, case)
            better += knowing < ignoring
    assert better > 20


def test_where_preparing_takes_long_a_small_batch_goes_first():
    plan = Plan([Cost(1, 10), Cost(4, 16, takes_all=True)], 1)
    assert plan.next(5, [0]) == Step(4, None)
    assert plan.next(5, [0], prepare_ns=6) == Step(1, 0)
    assert plan.next(5, [24], prepare_ns=6) == Step(4, None), "there is time until the core is free"


# the published figures --------------------------------------------------------------------------


def published(chip: str, cores: int, pinned: int, sizes=(1, 4, 8, 16)) -> Plan:
    costs = [Cost(size, round(PUBLISHED_MS[chip][size] * MS), takes_all=size > 1) for size in sizes]
    return Plan(costs, cores, pinned)


def sizes_of(plan: Plan, waiting: int) -> list[int]:
    """Full or padded, in the order in which they begin; 1 is a single."""
    busy, sizes = [0, 0, 0], []
    while waiting > 0:
        step = plan.next(waiting, busy)
        for core in range(3) if step.core is None else (step.core,):
            busy[core] += plan.ns(step)
        sizes.append(step.size)
        waiting -= step.size
    return sizes


def test_with_one_context_for_singles_two_frames_run_singly_and_five_are_padded_to_eight():
    plan = published("rk3588", 3, 1, (1, 8))
    assert [sizes_of(plan, n) for n in (1, 2, 5)] == [[1], [1, 1], [8]]


def test_with_three_contexts_for_singles_only_seven_and_eight_frames_are_a_batch():
    plan = published("rk3588", 3, 3, (1, 8))
    assert [n for n in range(1, 10) if sizes_of(plan, n) == [1] * n] == [1, 2, 3, 4, 5, 6, 9]
    assert [sizes_of(plan, n) for n in (7, 8)] == [[8], [8]]
    assert plan.schedule(6)[-1] == Planned(8_806_000, 17_612_000, 1)


def test_twenty_four_frames_are_sixteen_and_eight():
    assert sorted(sizes_of(published("rk3588", 3, 3), 24)) == [8, 16]


def test_on_one_core_that_gains_nothing_by_batches_all_frames_run_singly():
    plan = published("rk3566", 1, 1)
    assert all(
        plan.schedule(n)[-1].ends_ns <= n * round(PUBLISHED_MS["rk3566"][1] * MS)
        for n in range(1, 60)
    )
    assert [plan.next(n, [0]) for n in range(1, 4)] == [Step(1, 0)] * 3


def test_a_family_without_batch_1_and_one_of_singles_alone_are_planned_too():
    assert published("rk3588", 3, 0, (4, 8)).next(1, [0, 0, 0]) == Step(4, None)
    assert published("rk3588", 3, 3, (1,)).next(500, [5, 0, 9]) == Step(1, 1)


def test_a_single_runs_beside_a_busy_core_where_the_batch_would_have_to_wait():
    plan = published("rk3588", 3, 3, (1, 8))
    assert plan.next(9, [8 * MS, 0, 0]) == Step(1, 1)


def test_cores_are_kept_free_where_the_batch_that_waits_for_them_ends_sooner():
    plan = published("rk3588", 3, 3, (1, 8))
    assert plan.next(8, [2 * MS, 0, 0]) == Step(8, None)


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(ModelError, match="at least one batch size, got none"):
        Plan([], 3)
    with pytest.raises(ModelError, match="at least one batch size, got none"):
        Plan([Cost(1, 10)], 3, 0)


def test_a_schedule_holds_every_frame_once_and_no_core_twice():
    for seed in range(100):
        case = Case(seed, 24)
        planned = case.plan().schedule(case.waiting)
        assert sum(batch.frames for batch in planned) == case.waiting
        assert all(batch.ends_ns > batch.begins_ns for batch in planned)
        moments = [batch.begins_ns for batch in planned]
        assert (
            max(sum(b.begins_ns <= t < b.ends_ns for b in planned) for t in moments) <= case.cores
        )


def test_the_repr_tells_sizes_and_cores():
    assert repr(published("rk3588", 3, 2)) == "<Plan 1, 4, 8, 16 on 3 cores, 2 of them pinned>"
