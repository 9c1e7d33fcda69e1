"""Lane and Context over a runtime that has the hardware's vices."""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections import Counter
from dataclasses import replace
from queue import Empty, SimpleQueue

import numpy as np
import pytest

from framebuf.errors import InferenceError
from framebuf.frames import Frame, Part
from framebuf.models.backlog import Job
from framebuf.models.context import Context
from framebuf.models.lane import Lane
from framebuf.models.plan import Cost, Plan
from framebuf.models.prepare import Preparer
from framebuf.models.tasks.raw import Raw
from framebuf.models.tasks.rows import Output
from framebuf.models.tensor import TensorSpec
from framebuf.units import Moment

SOON_S = 30.0
"""Longer than anything here takes that works."""
PADDING = 0


def picture(number):
    """A frame that holds its number, from 1, in every pixel; no slot of padding looks like it."""
    return np.full((4, 4, 3), (number >> 16 & 255, number >> 8 & 255, number & 255), np.uint8)


class Device:
    """A runtime that answers each slot with the number it sees in it.

    It remembers what drivers do not forgive: two threads, a call after close.
    """

    def __init__(self, rows=None, *, gated=False):
        self.versions = "a device of the test's"
        self.input = TensorSpec("picture", (rows, 4, 4, 3), "uint8", "NHWC")
        self.outputs = (TensorSpec("seen", (rows, 1), "float32"),)
        self.vices = []
        self.seen = SimpleQueue()
        """The numbers in each tensor, when its run begins."""
        self.broken = set()
        """Numbers that fail the whole call."""
        self.nan = set()
        """Numbers whose row is NaN."""
        self.closed = False
        self._gate = threading.Semaphore(0) if gated else None
        self._one = threading.Lock()
        self._thread = None

    def infer(self, tensor):
        if not self._one.acquire(blocking=False):
            self.vices.append("two threads in one runtime")
            raise InferenceError("two threads")
        try:
            return self._infer(tensor)
        finally:
            self._one.release()

    def _infer(self, tensor):
        self._thread = self._thread or threading.current_thread()
        if self._thread is not threading.current_thread():
            self.vices.append(f"{self._thread.name} and then {threading.current_thread().name}")
        if self.closed:
            self.vices.append("run after close")
        before = self._numbers(tensor)
        self.seen.put(before)
        if self._gate is not None and not self._gate.acquire(timeout=60):
            self.vices.append("nobody opened the gate")
        if self._numbers(tensor) != before:
            self.vices.append("the tensor changed while it ran")
        if self.broken.intersection(before):
            raise InferenceError("the driver says -5", "npu_timeout")
        rows = [[np.nan if number in self.nan else number] for number in before]
        return (np.array(rows, np.float32),)

    @staticmethod
    def _numbers(tensor):
        """RGB, as the network wants it, to the numbers of `picture`, which are BGR."""
        assert all((row == row[0, 0]).all() for row in tensor)
        pixels = tensor[:, 0, 0].astype(int)
        return [int(b << 16 | g << 8 | r) for r, g, b in pixels]

    def open_gate(self, runs=1):
        self._gate.release(runs)

    def next_run(self):
        """The numbers in the tensor of the run that begins next, or began last."""
        return self.seen.get(timeout=SOON_S)

    def close(self):
        if self._one.locked():
            self.vices.append("closed while it runs")
        self.closed = True


class Bench:
    """Lanes under test, and the answers that come out of them."""

    def __init__(self):
        self.answers = SimpleQueue()
        self.prepared = SimpleQueue()
        self._devices = []
        self._lanes = []

    def context(self, device, *sizes, name="ctx", model="m", core=0):
        self._devices.append(device)
        task = Raw((Output.of(0, device.outputs[0]),))
        preparer = Preparer(device.input, "stretch")
        context = Context(name, model, device, sizes, preparer, task, core)
        context.prepare_ns = 0
        return context

    def lane(self, *contexts, cores=1, started=True, ns=lambda size: 10**6 + size):
        """A batch takes no time that a plan would wait for: the next is decided at once."""
        plans = {}
        for model in {context.model for context in contexts}:
            mine = [context for context in contexts if context.model == model]
            sizes = {size: context.core for context in mine for size in context.sizes}
            costs = [Cost(size, ns(size), takes_all=core is None) for size, core in sizes.items()]
            pinned = {context.core for context in mine} - {None}
            plans[model] = Plan(costs, cores, len(pinned))
        lane = Lane("test", contexts, plans, cores)
        return self.keep(lane, started=started)

    def keep(self, lane, *, started=True):
        """Close it in the end."""
        self._lanes.append(lane)
        if started:
            lane.start()
        return lane

    def job(self, number, turn="a", **more):
        now = time.monotonic_ns()
        pixels = picture(number)

        def prepared():
            self.prepared.put(number)
            pixels[:] = 77  # the slot is the camera's again

        def answered(result):
            self.answers.put((number, result))

        frame = Frame(number, Moment(now, now), pixels)
        return Job(frame, turn, now, prepared, answered, **more)

    def jobs(self, numbers, turn="a", **more):
        return [self.job(number, turn, **more) for number in numbers]

    def wait(self, count):
        """The next answers, by number; each must be alone."""
        got = {}
        for _ in range(count):
            number, result = self.answers.get(timeout=SOON_S)
            assert number not in got, f"frame {number} was answered twice"
            got[number] = result
        return got

    def wait_prepared(self, count):
        return [self.prepared.get(timeout=SOON_S) for _ in range(count)]

    def finish(self):
        for device in self._devices:
            if device._gate is not None:
                device.open_gate(1000)
        for lane in self._lanes:
            assert lane.close(SOON_S)
        assert [vice for device in self._devices for vice in device.vices] == []
        assert self.answers.empty(), "an answer that nobody waited for"


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.finish()


def seen(result):
    """The number that the network saw in the frame's slot."""
    (output,) = result.findings.outputs
    return int(np.frombuffer(base64.b64decode(output.f32), "<f4")[0])


def assert_each_saw_its_own(answers):
    assert {number: seen(result) for number, result in answers.items()} == {n: n for n in answers}


def wait_idle(lane):
    """Until no run is left: its answers may be out a moment before it has ended."""
    end = time.monotonic() + SOON_S
    while "0 waiting, <Timeline 0 running, 0 to come>" not in repr(lane):
        assert time.monotonic() < end, repr(lane)
        time.sleep(0.001)


def nothing_more(queue):
    with pytest.raises(Empty):
        queue.get(timeout=0.05)


# whose answer is whose -----------------------------------------------------------------------


def test_each_answer_belongs_to_its_frame_whatever_sizes_they_run_in(bench):
    lane = bench.lane(bench.context(Device(), 1, 4, 8))
    lane.submit("m", bench.jobs(range(1, 301)))
    assert_each_saw_its_own(bench.wait(300))


def test_each_answer_belongs_to_its_frame_though_runtimes_differ_in_speed(bench):
    slow, fast = Device(gated=True), Device()
    lane = bench.lane(
        bench.context(slow, 4, name="slow"), bench.context(fast, 4, name="fast", core=1), cores=2
    )
    lane.submit("m", bench.jobs(range(1, 401)))
    held = slow.next_run()
    answers = bench.wait(400 - 8)  # all but the slow one's two tensors
    slow.open_gate(2)
    late = bench.wait(8)
    assert set(held) <= set(late)
    assert_each_saw_its_own(answers | late)


def test_of_a_frame_with_a_part_the_network_sees_that_part_and_nothing_else(bench):
    lane = bench.lane(bench.context(Device(), 4))
    jobs = []
    for number in range(1, 5):
        job = bench.job(number)
        wide = np.zeros((9, 11, 3), np.uint8)
        wide[3:7, 5:9] = picture(number)
        jobs.append(replace(job, frame=replace(job.frame, pixels=wide), part=Part(5, 3, 4, 4)))
    lane.submit("m", jobs)
    assert_each_saw_its_own(bench.wait(4))


def test_unfilled_slots_are_zero_and_never_answered(bench):
    device = Device(8)
    lane = bench.lane(bench.context(device, 8))
    lane.submit("m", bench.jobs(range(1, 17)))  # both tensors have held frames
    assert_each_saw_its_own(bench.wait(16))
    assert device.next_run() + device.next_run() == list(range(1, 17))
    lane.submit("m", bench.jobs([21, 22, 23]))
    answers = bench.wait(3)
    assert device.next_run() == [21, 22, 23, *[PADDING] * 5]
    assert_each_saw_its_own(answers)
    places = [(r.batch.size, r.batch.slot, r.batch.filled) for r in answers.values()]
    assert places == [(8, 0, 3), (8, 1, 3), (8, 2, 3)]
    nothing_more(bench.answers)


def test_what_does_not_fill_a_batch_is_run_in_smaller_ones_where_that_is_quicker(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 1, 4), ns=lambda size: 10**5 * size)
    lane.submit("m", bench.jobs(range(1, 7)))
    device.open_gate(3)
    runs = [device.next_run() for _ in range(3)]
    assert runs == [[1, 2, 3, 4], [5], [6]]
    answers = bench.wait(6)
    assert_each_saw_its_own(answers)
    assert len({result.run for result in answers.values()}) == 3


def test_frames_of_two_requests_share_a_batch(bench):
    device = Device()
    lane = bench.lane(bench.context(device, 4), started=False)
    lane.submit("m", bench.jobs([1, 2], "a"))
    lane.submit("m", bench.jobs([11, 12], "b"))
    lane.start()
    answers = bench.wait(4)
    assert sorted(device.next_run()) == [1, 2, 11, 12]
    assert_each_saw_its_own(answers)
    assert len({result.run for result in answers.values()}) == 1
    assert {result.batch.slot for result in answers.values()} == {0, 1, 2, 3}


def test_answers_of_one_context_come_in_the_order_of_its_frames(bench):
    lane = bench.lane(bench.context(Device(), 1, 4))
    lane.submit("m", bench.jobs(range(1, 50)))
    assert list(bench.wait(49)) == list(range(1, 50))


def test_every_answer_says_its_model_its_place_and_its_times(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 1, name="x", model="person"))
    lane.submit("person", bench.jobs([1, 2]))
    for run in (1, 2):
        device.next_run()
        device.open_gate()
        (result,) = bench.wait(1).values()
        assert (result.model, result.error, result.run) == ("person", None, run)
        ms = result.ms
        assert min(ms.wait, ms.prepare, ms.infer, ms.post) >= 0
        assert max(ms.wait, ms.prepare, ms.infer, ms.post) < 1000 * SOON_S


def test_models_of_one_lane_do_not_see_each_others_frames(bench):
    cat, dog = Device(), Device()
    lane = bench.lane(
        bench.context(cat, 1, 4, name="cat", model="cat"),
        bench.context(dog, 2, name="dog", model="dog"),
    )
    lane.submit("cat", bench.jobs(range(1, 40)))
    lane.submit("dog", bench.jobs(range(100, 141)))
    answers = bench.wait(39 + 41)
    assert_each_saw_its_own(answers)
    assert {n for n, r in answers.items() if r.model == "cat"} == set(range(1, 40))


# what fails ----------------------------------------------------------------------------------


def test_a_failed_call_fails_its_frames_and_the_next_call_is_served(bench):
    device = Device()
    device.broken = {6}
    lane = bench.lane(bench.context(device, 4))
    lane.submit("m", bench.jobs(range(1, 13)))
    answers = bench.wait(12)
    failed = {number for number, result in answers.items() if result.error}
    assert failed == {5, 6, 7, 8}
    for number in failed:
        result = answers.pop(number)
        assert result.findings is None
        assert (result.error.code, result.error.message) == ("npu_timeout", "the driver says -5")
        assert result.batch.slot == number - 5
    assert_each_saw_its_own(answers)


def test_a_row_of_nan_fails_its_frame_alone(bench):
    device = Device()
    device.nan = {2, 4}
    lane = bench.lane(bench.context(device, 4))
    lane.submit("m", bench.jobs([1, 2, 3, 4]))
    answers = bench.wait(4)
    assert {number for number, result in answers.items() if result.error} == {2, 4}
    assert "NaN" in answers[2].error.message
    assert answers[2].findings is None
    assert_each_saw_its_own({1: answers[1], 3: answers[3]})


def test_nan_in_the_padding_is_nobodys_failure(bench):
    device = Device()
    device.nan = {PADDING}
    lane = bench.lane(bench.context(device, 4))
    lane.submit("m", bench.jobs([1, 2]))
    assert_each_saw_its_own(bench.wait(2))


def test_a_call_that_gives_too_few_rows_fails_the_frames_that_have_none(bench):
    device = Device()
    give = device._infer
    device._infer = lambda tensor: (give(tensor)[0][:3],)
    lane = bench.lane(bench.context(device, 4))
    lane.submit("m", bench.jobs([1, 2, 3, 4]))
    answers = bench.wait(4)
    assert answers.pop(4).error is not None
    assert_each_saw_its_own(answers)


# two tensors a context -----------------------------------------------------------------------


def test_the_next_tensor_is_prepared_while_the_last_one_runs_and_no_third(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 2))
    lane.submit("m", bench.jobs(range(1, 7)))
    assert device.next_run() == [1, 2]  # and it runs until the gate opens
    assert bench.wait_prepared(4) == [1, 2, 3, 4]
    nothing_more(bench.prepared)
    assert lane.waiting() == 2
    device.open_gate()
    assert device.next_run() == [3, 4]
    assert bench.wait_prepared(2) == [5, 6]
    device.open_gate(2)
    assert_each_saw_its_own(bench.wait(6))


def test_a_frame_is_not_needed_once_its_tensor_is_prepared(bench):
    # Bench.job writes over the pixels when it is told; Device checks that its tensor stays
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 1))
    lane.submit("m", bench.jobs([1, 2]))
    assert bench.wait_prepared(2) == [1, 2]
    device.open_gate(2)
    assert_each_saw_its_own(bench.wait(2))


def test_a_context_tells_since_when_it_runs_(bench):
    device = Device(gated=True)
    context = bench.context(device, 1)
    lane = bench.lane(context)
    assert repr(context) == "<Context ctx idle, 0 runs>"
    began = time.monotonic_ns()
    lane.submit("m", bench.jobs([1]))
    device.next_run()
    assert began <= context.inference.running_since_ns <= time.monotonic_ns()
    assert repr(context) == "<Context ctx running, 0 runs>"
    device.open_gate()
    bench.wait(1)
    assert context.inference.running_since_ns is None
    assert repr(context) == "<Context ctx idle, 1 runs>"


# a context a batch size ----------------------------------------------------------------------


def family(bench):
    """Contexts of one model for batches of 1 and of 4, the latter with its tensors full."""
    single, four = Device(1), Device(4, gated=True)
    lane = bench.lane(
        bench.context(single, 1, name="b1"), bench.context(four, 4, name="b4", core=None), cores=2
    )
    lane.submit("m", bench.jobs(range(1, 9)))
    assert four.next_run() == [1, 2, 3, 4]
    assert sorted(bench.wait_prepared(8)) == list(range(1, 9))
    return lane, single, four


def test_a_batch_on_all_cores_and_singles_never_run_at_once(bench):
    lane, single, four = family(bench)
    lane.submit("m", bench.jobs([9]))
    nothing_more(single.seen)
    four.open_gate(2)
    assert single.next_run() == [9]
    assert_each_saw_its_own(bench.wait(9))


@pytest.mark.parametrize("host_cores", [1, 2, 3])
def test_idle_contexts_help_to_fill_a_large_batch_as_far_as_the_host_has_cores(
    bench, monkeypatch, host_cores
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(host_cores)))
    four = Device(6)
    helpers = [bench.context(Device(1), 1, name=f"b1-{core}", core=core) for core in range(3)]
    large = bench.context(four, 6, name="b6", core=None)
    together = threading.Barrier(host_cores)
    busy, most = set(), []

    def begun():
        busy.add(threading.current_thread())
        most.append(len(busy))
        together.wait(SOON_S)  # nobody goes on alone

    def prepared():
        busy.discard(threading.current_thread())

    jobs = [replace(job, begun=begun) for job in bench.jobs(range(1, 7))]
    jobs = [replace(job, prepared=lambda j=job: (prepared(), j.prepared())) for job in jobs]
    costs = [Cost(1, 10**9), Cost(6, 10**6, takes_all=True)]
    lane = Lane("test", [*helpers, large], {"m": Plan(costs, 3, 3)}, 3)
    bench.keep(lane).submit("m", jobs)
    answers = bench.wait(6)
    assert_each_saw_its_own(answers)
    assert {result.batch.filled for result in answers.values()} == {6}
    assert max(most) == host_cores


# withdrawing and closing ---------------------------------------------------------------------


def test_withdrawing_takes_back_only_what_no_context_has_begun(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 2))
    lane.submit("m", bench.jobs(range(1, 10), "a"))
    assert bench.wait_prepared(4) == [1, 2, 3, 4]
    lane.submit("m", bench.jobs([21, 22], "b"))
    back = lane.withdraw("m", "a")
    assert [job.frame.seq for job in back] == [5, 6, 7, 8, 9]
    assert lane.withdraw("m", "a") == []
    device.open_gate(3)
    assert set(bench.wait(6)) == {1, 2, 3, 4, 21, 22}
    nothing_more(bench.answers)


@pytest.mark.parametrize("host_cores", [1, 2])
def test_closing_answers_what_was_begun_though_runs_before_it_were_taken_by_nobody(
    bench, monkeypatch, host_cores
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(host_cores)))
    one = bench.context(Device(), 1, name="one", model="m")
    four = bench.context(Device(), 4, name="four", model="n")
    one.prepare_ns = four.prepare_ns = 5 * 10**6
    lane = bench.lane(one, four)
    at, gate = threading.Event(), threading.Event()

    def begun():
        at.set()
        gate.wait(SOON_S)

    lane.submit("m", [replace(bench.job(1), begun=begun), bench.job(2)])
    assert at.wait(SOON_S)  # the run of frame 2 is decided, and its context is not free to take it
    lane.submit("n", bench.jobs([11, 12, 13, 14]))
    lane.withdraw("m", "a")
    closed = close_in_background(lane)
    gate.set()
    assert closed.get(timeout=SOON_S) is True
    answers = {}
    while not bench.answers.empty():
        number, answers[number] = bench.answers.get()
    assert_each_saw_its_own(answers)
    assert 1 in answers
    assert lane.waiting() + len(answers) == 5


def test_a_frame_for_an_idle_core_does_not_wait_for_tensors_that_run_later(bench, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    busy, idle = Device(gated=True), Device()
    large = bench.context(busy, 2, name="large", model="m", core=0)
    singles = [
        bench.context(device, 1, name=f"single-{core}", model="n", core=core)
        for core, device in enumerate((Device(), idle))
    ]
    lane = bench.lane(large, *singles, cores=2)
    gate = threading.Event()
    lane.submit("m", bench.jobs([1, 2]))
    assert busy.next_run() == [1, 2]
    at = threading.Event()

    def begun():
        at.set()
        gate.wait(SOON_S)

    lane.submit("m", [replace(job, begun=begun) for job in bench.jobs([3, 4])])
    assert at.wait(SOON_S)  # the only hand fills a tensor that has to wait for its core
    lane.submit("n", bench.jobs([9]))
    assert idle.next_run() == [9]
    gate.set()
    busy.open_gate(2)
    assert_each_saw_its_own(bench.wait(5))


def close_in_background(lane, timeout_s=SOON_S):
    result = SimpleQueue()
    threading.Thread(target=lambda: result.put(lane.close(timeout_s)), daemon=True).start()
    return result


def test_closing_finishes_what_was_begun_frees_the_runtime_and_leaves_the_rest(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 2))
    lane.submit("m", bench.jobs(range(1, 10)))
    assert bench.wait_prepared(4) == [1, 2, 3, 4]
    closed = close_in_background(lane)
    nothing_more(closed)
    assert not device.closed
    device.open_gate(2)
    assert closed.get(timeout=SOON_S) is True
    assert device.closed
    assert_each_saw_its_own(bench.wait(4))
    assert lane.waiting() == 5


def test_an_idle_lane_closes_at_once_and_twice(bench):
    devices = [Device() for _ in range(3)]
    lane = bench.lane(*(bench.context(device, 1, name=str(n)) for n, device in enumerate(devices)))
    assert lane.close()
    assert all(device.closed for device in devices)
    assert lane.close()


def test_a_lane_that_was_never_started_frees_its_runtimes(bench):
    device = Device()
    lane = bench.lane(bench.context(device, 1), started=False)
    assert lane.close(0.0)
    assert device.closed


def test_a_runtime_that_hangs_is_told_and_left_in_bounded_time(bench):
    hanging, fine = Device(gated=True), Device()
    lane = bench.lane(
        bench.context(hanging, 2, name="a"), bench.context(fine, 1, name="b", model="b"), cores=2
    )
    lane.submit("m", bench.jobs([1, 2]))
    hanging.next_run()
    began = time.monotonic()
    assert lane.close(0.2) is False
    assert time.monotonic() - began < SOON_S
    assert not hanging.closed
    hanging.open_gate(9)
    assert_each_saw_its_own(bench.wait(2))
    assert lane.close(SOON_S)
    assert hanging.closed
    assert fine.closed


def test_a_hang_in_one_context_costs_the_others_no_time_to_free_theirs(bench):
    hanging, fine = Device(gated=True), Device()
    lane = bench.lane(
        bench.context(hanging, 1, name="a", model="a"),
        bench.context(fine, 1, name="b", model="b"),
    )
    lane.submit("a", bench.jobs([1]))
    hanging.next_run()
    assert lane.close(0.5) is False
    assert fine.closed
    hanging.open_gate()
    bench.wait(1)


# everything at once --------------------------------------------------------------------------


def test_under_load_from_all_sides_every_frame_is_answered_once_or_given_back_once(bench):
    devices = [Device(1), Device(4), Device(8)]
    devices[1].nan = set(range(7, 10_000, 50))
    devices[2].broken = set(range(9, 10_000, 100))
    lane = bench.lane(
        *(
            bench.context(device, device.input.batch, name=f"b{n}", core=None if n else 0)
            for n, device in enumerate(devices)
        ),
        cores=3,
    )
    back = SimpleQueue()

    def caller(first):
        chance = random.Random(first)
        for turn in range(60):
            numbers = range(first + 10 * turn, first + 10 * turn + chance.randint(1, 10))
            lane.submit("m", bench.jobs(numbers, f"{first}/{turn}"))
            withdrawn = lane.withdraw("m", f"{first}/{turn}") if chance.random() < 0.3 else ()
            back.put((numbers, [job.frame.seq for job in withdrawn]))

    callers = [threading.Thread(target=caller, args=(n * 1000 + 1,)) for n in range(4)]
    for thread in callers:
        thread.start()
    submitted, given_back = Counter(), Counter()
    for _ in range(4 * 60):
        numbers, withdrawn = back.get(timeout=SOON_S)
        submitted.update(numbers)
        given_back.update(withdrawn)
    for thread in callers:
        thread.join()
    answers = bench.wait((submitted - given_back).total())
    assert Counter(list(answers)) == submitted - given_back
    assert_each_saw_its_own({n: r for n, r in answers.items() if r.error is None})
    wait_idle(lane)
    assert repr(lane) == "<Lane test 0 waiting, <Timeline 0 running, 0 to come>, 3 contexts>"
