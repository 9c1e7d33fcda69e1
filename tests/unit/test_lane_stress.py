"""A lane's threads under load from all sides: nothing lost, nothing doubled, nothing stuck."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from queue import SimpleQueue

import pytest

from tests.unit.test_lane import (
    SOON_S,
    Device,
    assert_each_saw_its_own,
    bench,  # noqa: F401 - a fixture
    close_in_background,
    wait_idle,
)

ROUNDS = int(os.environ.get("ROUNDS", "5"))
CORES = 3
MS = 10**6


def family(bench, model, chance, devices):  # noqa: F811
    """Singles on some cores, a batch on all, or both; each run takes up to a millisecond."""
    contexts = []
    singles = chance.randint(0, CORES)
    for number in range(singles):
        devices.append(Device(1))
        contexts.append(
            bench.context(devices[-1], 1, name=f"{model}-b1-{number}", model=model, core=number)
        )
    for size in (4, 8) if not singles else chance.choice([(), (4,), (4, 8)]):
        devices.append(Device(size))
        contexts.append(
            bench.context(devices[-1], size, name=f"{model}-b{size}", model=model, core=None)
        )
    return contexts


def linger(device, chance):
    """Let a run take a moment, and its reading too now and then."""
    give, pause = device._infer, threading.Event()
    device._infer = lambda tensor: (pause.wait(chance.random() / 1000), give(tensor))[1]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_whatever_comes_and_goes_every_frame_is_answered_once_or_given_back_once(bench, seed):  # noqa: F811
    chance = random.Random(seed)
    devices: list[Device] = []
    models = "xyz"[: chance.randint(1, 3)]
    contexts = [c for model in models for c in family(bench, model, chance, devices)]
    for device in devices:
        linger(device, chance)
    for context in contexts:
        context.prepare_ns = chance.choice([0, MS // 10, 3 * MS])
    lane = bench.lane(*contexts, cores=CORES, ns=lambda size: chance.choice([1, MS, 30 * MS]))
    books: SimpleQueue = SimpleQueue()

    def caller(first):
        mine = random.Random(f"{seed} {first}")
        for turn in range(12):
            model, name = mine.choice(models), f"{first}/{turn}"
            start = first + 30 * turn
            numbers = range(start, start + mine.randint(1, 30))
            lane.submit(
                model,
                bench.jobs(numbers, name, priority=mine.randint(0, 3), alone=mine.random() < 0.2),
            )
            back = lane.withdraw(model, name) if mine.random() < 0.3 else ()
            books.put((numbers, [job.frame.seq for job in back]))

    callers = [threading.Thread(target=caller, args=(n * 1000 + 1,)) for n in range(4)]
    for thread in callers:
        thread.start()
    submitted, given_back = Counter(), Counter()
    for _ in range(4 * 12):
        numbers, back = books.get(timeout=SOON_S)
        submitted.update(numbers)
        given_back.update(back)
    for thread in callers:
        thread.join()
    answers = bench.wait((submitted - given_back).total())
    assert Counter(list(answers)) == submitted - given_back
    assert_each_saw_its_own(answers)
    wait_idle(lane)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_lane_closes_at_any_moment_and_answers_what_was_begun(bench, seed):  # noqa: F811
    chance = random.Random(seed)
    devices: list[Device] = []
    contexts = [c for model in "xy" for c in family(bench, model, chance, devices)]
    for device in devices:
        linger(device, chance)
    lane = bench.lane(*contexts, cores=CORES)
    begun: SimpleQueue = SimpleQueue()
    for model in "xy":
        first = 1 + 1000 * "xy".index(model)
        jobs = bench.jobs(range(first, first + 200), model)
        lane.submit(model, jobs)
    for _ in range(chance.randint(0, 120)):
        begun.put(bench.prepared.get(timeout=SOON_S))
    assert close_in_background(lane).get(timeout=SOON_S) is True
    assert all(device.closed for device in devices)
    answered = 400 - lane.waiting()
    assert begun.qsize() + bench.prepared.qsize() == answered
    assert_each_saw_its_own(bench.wait(answered))


def test_a_context_whose_reader_is_behind_loses_nothing(bench):  # noqa: F811
    device = Device()
    context = bench.context(device, 4)
    gate, read = threading.Semaphore(0), context._reader._task.read

    class Slow:
        def read(self, outputs, placements):
            assert gate.acquire(timeout=SOON_S)
            return read(outputs, placements)

    context._reader._task = Slow()
    lane = bench.lane(context)
    lane.submit("m", bench.jobs(range(1, 41)))
    # one is read, one waits for that, one has run
    assert [n for _ in range(3) for n in device.next_run()] == list(range(1, 13))
    assert bench.wait_prepared(16) == list(range(1, 17))
    assert bench.answers.empty()
    gate.release(10)
    assert_each_saw_its_own(bench.wait(40))
