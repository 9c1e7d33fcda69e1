from __future__ import annotations

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.errors import InferenceError, ModelError
from framebuf.models.prepare import Preparer
from framebuf.models.runtimes import open_runtime
from framebuf.models.runtimes.behaviour import PUBLISHED_MS, Behaviour, published_ms
from framebuf.models.runtimes.onnx import OnnxRuntime
from framebuf.models.runtimes.simulated import SimulatedRuntime
from framebuf.models.runtimes.simulated_npu import SimulatedNpu, simulated_npu
from framebuf.models.tensor import TensorSpec

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "tests/assets"
CAT = ROOT / "framebuf/demo/assets/photos/cat.jpg"
BATCH_1, BATCH_8 = ASSETS / "tiny-rk3588-i8-batch1.rknn", ASSETS / "tiny-rk3588-i8-batch8.rknn"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Time:
    """A clock that only sleeping moves, and that remembers what was slept."""

    def __init__(self):
        self.ns = 1_000_000_000
        self.slept = []

    def now_ns(self):
        return self.ns

    def sleep_s(self, seconds):
        self.slept.append(seconds)
        self.ns += round(seconds * 1e9)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def npu(time):
    return SimulatedNpu("sim:rk3588", now_ns=time.now_ns, sleep_s=time.sleep_s)


@pytest.fixture
def opened(npu):
    contexts = []

    def open_context(path=BATCH_8, **given):
        given.setdefault("behaviour", Behaviour())
        contexts.append(SimulatedRuntime.open(path, "sim:rk3588", npu=npu, **given))
        return contexts[-1]

    yield open_context
    for context in contexts:
        context.close()


def pictures(runtime):
    return np.zeros(runtime.input.rows(runtime.input.batch or 1), runtime.input.dtype)


def outcomes(runtime, runs):
    """Of each run, what it slept in milliseconds, and whether it failed."""
    found = []
    for _ in range(runs):
        before = runtime._npu.now_ns()
        try:
            runtime.infer(pictures(runtime))
            failed = False
        except InferenceError:
            failed = True
        found.append((round((runtime._npu.now_ns() - before) / 1e6, 6), failed))
    return found


def test_a_compiled_file_takes_uint8_pictures_and_gives_float32_rows(opened):
    runtime = opened()
    assert runtime.input == TensorSpec("images", (8, 256, 128, 3), "uint8", "NHWC")
    assert (runtime.input.height, runtime.input.width) == (256, 128)
    assert [str(output) for output in runtime.outputs] == [
        "embedding 8×32 float32",
        "logits 8×10 float32",
    ]
    outputs = runtime.infer(pictures(runtime))
    assert [(output.shape, output.dtype.name) for output in outputs] == [
        ((8, 32), "float32"),
        ((8, 10), "float32"),
    ]
    assert not any(output.any() for output in outputs)


def test_it_says_simulated_wherever_it_is_named(opened):
    runtime = opened(core=1, path=BATCH_1, behaviour=Behaviour(scale=0.5))
    assert runtime.versions == ("simulated rk3588, published OSNet times × 0.5, outputs zeros")
    runtime.infer(pictures(runtime))
    assert repr(runtime) == (
        "<SimulatedRuntime tiny-rk3588-i8-batch1.rknn sim:rk3588 core 1, 1 runs>"
    )
    runtime.close()
    runtime.close()
    assert repr(runtime).endswith("1 runs, closed>")
    with pytest.raises(InferenceError, match=r"simulated tiny-.*batch1.rknn is closed"):
        runtime.infer(pictures(runtime))


@pytest.mark.parametrize("chip", PUBLISHED_MS)
def test_published_sizes_take_the_published_times(chip):
    times = {size: published_ms(chip, size) for size in PUBLISHED_MS[chip]}
    assert times == pytest.approx(PUBLISHED_MS[chip])


def test_sizes_between_and_beyond_the_published_ones_are_on_straight_lines():
    assert published_ms("rk3588", 6) == pytest.approx((21.555 + 22.336) / 2)
    assert published_ms("rk3588", 2) == pytest.approx(8.806 + (21.555 - 8.806) / 3)
    assert published_ms("rk3588", 32) == pytest.approx(40.253 + 2 * (40.253 - 22.336))
    assert published_ms("rk3582", 8) == 22.336
    assert published_ms("rk3568", 4) == published_ms("rk3562", 4) == 74.717


def test_an_inference_lasts_its_published_time(opened, time):
    assert outcomes(opened(), 2) == [(22.336, False)] * 2
    assert outcomes(opened(BATCH_1, core=0, behaviour=Behaviour(scale=2)), 1) == [(17.612, False)]
    assert outcomes(opened(behaviour=Behaviour(scale=0)), 1) == [(0, False)]


def test_an_inference_begins_when_the_one_before_ended_not_when_a_thread_woke(npu, time):
    first = npu.take(npu.cores)
    second = npu.claim(npu.cores)
    time.ns += 5_000_000
    npu.give_back(first, first.since_ns + 3_000_000)  # its thread woke up two milliseconds late
    assert second.since_ns == first.since_ns + 3_000_000
    npu.give_back(second, time.ns)
    time.ns += 9_000_000
    assert npu.take(npu.cores).since_ns == time.ns  # nobody works before being asked


def test_a_pinned_core_is_held_by_one_at_a_time_and_others_work_beside_it(npu):
    first, same, other = npu.claim({0}), npu.claim({0}), npu.claim({1})
    assert (first.cores, same.cores, other.cores) == ({0}, set(), {1})
    assert repr(npu) == "<SimulatedNpu sim:rk3588 2/3 cores held, 1 wait>"
    npu.give_back(first, 0)
    assert same.cores == {0}


def test_a_batch_waits_for_all_cores_and_holds_them(npu):
    single, batch = npu.claim({2}), npu.claim(npu.cores)
    assert batch.cores == set()
    npu.give_back(single, 0)
    assert batch.cores == {0, 1, 2}
    assert npu.claim({0}).cores == npu.claim(None).cores == set()


def test_a_batch_is_not_starved_by_singles_that_come_later(npu):
    held = [npu.claim({0}), npu.claim({1})]
    batch = npu.claim(npu.cores)
    later = [npu.claim({core}) for core in (0, 1, 2)] + [npu.claim(None)]
    assert not any(claim.cores for claim in later), "core 2 is free, but the batch was first"
    npu.give_back(held[0], 0)
    assert not batch.cores
    npu.give_back(held[1], 0)
    assert batch.cores == npu.cores
    npu.give_back(batch, 0)
    assert [claim.cores for claim in later] == [{0}, {1}, {2}, set()]


def test_singles_are_not_starved_by_batches_that_come_later(npu):
    batch, single, another = npu.claim(npu.cores), npu.claim({1}), npu.claim(npu.cores)
    npu.give_back(batch, 0)
    assert (single.cores, another.cores) == ({1}, set())
    npu.give_back(single, 0)
    assert another.cores == npu.cores


def test_a_context_without_a_core_takes_the_one_that_is_free_longest(npu):
    claims = [npu.claim({core}) for core in (0, 1, 2)]
    waiting = npu.claim(None)
    for claim, at in zip(claims, (30, 10, 20), strict=True):
        npu.give_back(claim, at)
    assert waiting.cores == {0}, "whoever waits takes the first to come free"
    assert [npu.claim(None).cores, npu.claim(None).cores] == [{1}, {2}]


def test_a_wait_that_is_interrupted_leaves_the_queue(npu, monkeypatch):
    held = npu.claim({0})

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("framebuf.models.runtimes.simulated_npu.Claim.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            npu.take({0})
        with pytest.raises(KeyboardInterrupt):
            npu.take({1})  # granted at once, then interrupted
    npu.give_back(held, 0)
    assert repr(npu) == "<SimulatedNpu sim:rk3588 0/3 cores held, 0 wait>"


def test_contexts_of_a_platform_share_its_one_npu():
    context = SimulatedRuntime.open(BATCH_1, "sim:rk3588", core=0, behaviour=Behaviour())
    assert context._npu is simulated_npu("sim:rk3588") is not simulated_npu("sim:rk3576")
    context.close()


def test_threads_of_many_contexts_never_hold_a_core_together():
    """Real threads and real sleep: every core is held by one, and every context gets on."""
    npu = SimulatedNpu("sim:rk3588")
    holding = dict.fromkeys(npu.cores, 0)
    seen = []
    lock = threading.Lock()
    take, give_back = npu.take, npu.give_back

    def watched_take(wanted):
        claim = take(wanted)
        with lock:
            for core in claim.cores:
                holding[core] += 1
            seen.append(max(holding.values()))
        return claim

    def watched_give_back(claim, at_ns):
        with lock:
            for core in claim.cores:
                holding[core] -= 1
        give_back(claim, at_ns)

    npu.take, npu.give_back = watched_take, watched_give_back
    how = Behaviour(scale=0.02, jitter=0.5)
    contexts = [
        SimulatedRuntime.open(path, "sim:rk3588", core=core, behaviour=how, npu=npu)
        for path, core in ((BATCH_1, 0), (BATCH_1, 1), (BATCH_1, None), (BATCH_8, None))
    ]

    def work(context):
        for _ in range(30):
            context.infer(pictures(context))

    threads = [threading.Thread(target=work, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 120
    assert set(seen) == {1}
    assert repr(npu) == "<SimulatedNpu sim:rk3588 0/3 cores held, 0 wait>"


def test_a_call_holds_the_cores_of_its_batch_while_it_lasts(opened, npu, time, monkeypatch):
    held = []
    sleep = time.sleep_s

    def watch(seconds):
        held.append(npu.cores - npu._free_since.keys())
        sleep(seconds)

    monkeypatch.setattr(npu, "_sleep_s", watch)
    for context in (opened(BATCH_1, core=2), opened(BATCH_1), opened(BATCH_8)):
        context.infer(pictures(context))
    assert [set(cores) for cores in held] == [{2}, {0}, {0, 1, 2}]


def test_the_same_seed_plays_the_same_jitter_within_its_bounds(opened):
    how = Behaviour(jitter=0.3, seed=7)
    first, beside = opened(behaviour=how), opened(behaviour=how)
    times = [ms for ms, _ in outcomes(first, 200)]
    assert 22.336 * 0.7 <= min(times) < 22.336 * 0.72
    assert 22.336 * 1.28 < max(times) <= 22.336 * 1.3
    assert [ms for ms, _ in outcomes(beside, 200)] != times, "two contexts are not in step"
    first.close()
    assert [ms for ms, _ in outcomes(opened(behaviour=how), 200)] == times
    other = opened(behaviour=Behaviour(jitter=0.3, seed=8))
    assert [ms for ms, _ in outcomes(other, 200)] != times


def test_errors_come_as_often_as_asked_take_their_time_and_do_not_move_the_jitter(opened):
    calm = opened(behaviour=Behaviour(jitter=0.3, seed=1))
    times = [ms for ms, _ in outcomes(calm, 400)]
    calm.close()
    faulty = opened(behaviour=Behaviour(jitter=0.3, errors=0.1, seed=1))
    found = outcomes(faulty, 400)
    assert [ms for ms, _ in found] == times
    assert 20 <= sum(failed for _, failed in found) <= 65


def test_a_context_can_fail_for_ever_from_some_inference_on(opened):
    found = outcomes(opened(behaviour=Behaviour(fails_after=2)), 4)
    assert [failed for _, failed in found] == [False, False, True, True]
    failing = opened(behaviour=Behaviour(fails_after=0))
    with pytest.raises(InferenceError) as error:
        failing.infer(pictures(failing))
    assert str(error.value) == "simulated tiny-rk3588-i8-batch8.rknn: its inference 1 failed"


def test_a_hang_never_comes_back_and_never_gives_its_cores_back(opened, npu, time, monkeypatch):
    class ProcessDiesError(Exception):
        pass

    runtime = opened(BATCH_1, core=1, behaviour=Behaviour(hangs=1))
    held = []

    def sleep(seconds):
        time.sleep_s(seconds)
        held.append(npu.cores - npu._free_since.keys())
        if time.ns > 1e9 * 86400:
            raise ProcessDiesError

    monkeypatch.setattr(npu, "_sleep_s", sleep)
    with pytest.raises(ProcessDiesError):
        runtime.infer(pictures(runtime))
    assert set(map(frozenset, held)) == {frozenset({1})}


def test_two_threads_in_one_context_fail_loudly(opened, npu, monkeypatch):
    runtime = opened()
    errors = []

    def intrude(_):
        for call in (lambda: runtime.infer(pictures(runtime)), runtime.close):
            with pytest.raises(RuntimeError, match="thread") as error:
                call()
            errors.append(str(error.value))

    def sleep(seconds):
        thread = threading.Thread(target=intrude, args=(seconds,))
        thread.start()
        thread.join()
        monkeypatch.undo()
        npu._sleep_s(seconds)

    monkeypatch.setattr(npu, "_sleep_s", sleep)
    runtime.infer(pictures(runtime))
    assert errors == [
        "two threads at once in <SimulatedRuntime tiny-rk3588-i8-batch8.rknn sim:rk3588, 1 runs>: "
        "a context belongs to one thread",
        "closed while a thread is in <SimulatedRuntime tiny-rk3588-i8-batch8.rknn sim:rk3588, "
        "1 runs>",
    ]


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((3, 256, 128, 3), np.uint8, "3×256×128×3 uint8"),
        ((8, 128, 256, 3), np.uint8, "8×128×256×3 uint8"),
        ((8, 3, 256, 128), np.uint8, "8×3×256×128 uint8"),
        ((8, 256, 128, 3), np.float32, "8×256×128×3 float32"),
        ((256, 128, 3), np.uint8, "256×128×3 uint8"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_expected_and_actual(opened, shape, dtype, got):
    runtime = opened()
    with pytest.raises(InferenceError) as error:
        runtime.infer(np.zeros(shape, dtype))
    assert str(error.value) == (
        "simulated tiny-rk3588-i8-batch8.rknn wants images 8×256×128×3 uint8, the tensor is " + got
    )
    assert runtime.runs == 0


@pytest.fixture
def beside(tmp_path):
    """The compiled files with the network they were made from beside them."""

    def place(onnx, *rknn):
        for file in rknn or (BATCH_1, BATCH_8):
            shutil.copy(file, tmp_path)
        shutil.copy(ASSETS / onnx, tmp_path / "tiny-rk3588-i8.onnx")
        return tmp_path

    return place


@pytest.mark.parametrize("onnx", ["tiny-n.onnx", "tiny-1.onnx"])
def test_an_onnx_beside_computes_what_the_network_says_of_each_picture(beside, opened, onnx):
    cat = cv2.imread(str(CAT))
    runtime = opened(beside(onnx) / BATCH_8.name)
    assert runtime.versions.endswith("outputs computed by tiny-rk3588-i8.onnx")
    tensor = np.random.default_rng(0).integers(0, 256, runtime.input.shape, np.uint8)
    Preparer(runtime.input, "stretch").write(cat, tensor[5])
    outputs = runtime.infer(tensor)
    plain = OnnxRuntime.open(ASSETS / "tiny-n.onnx", threads=1)
    floats = np.zeros((1, 3, 256, 128), np.float32)
    Preparer(plain.input, "stretch", "rgb", MEAN, STD).write(cat, floats[0])
    for output, expected in zip(outputs, plain.infer(floats), strict=True):
        assert output.shape[0] == 8
        np.testing.assert_allclose(output[5], expected[0], rtol=1e-3, atol=1e-4)
        assert np.abs(output[4] - output[5]).max() > 0.01


def test_zeros_leave_the_model_beside_out(beside, opened):
    runtime = opened(beside("tiny-n.onnx") / BATCH_8.name, behaviour=Behaviour(zeros=True))
    assert runtime.versions.endswith("outputs zeros")
    assert not any(output.any() for output in runtime.infer(pictures(runtime)))


def test_a_model_slower_than_its_simulated_npu_is_told_once(beside, opened, time, caplog):
    runtime = opened(beside("tiny-n.onnx") / BATCH_8.name)
    compute = runtime._stand_in.onnx._session.run
    runtime._stand_in.onnx._session = type("Slow", (), {})()

    def slow(*given):
        time.ns += 30_000_000
        return compute(*given)

    runtime._stand_in.onnx._session.run = slow
    assert outcomes(runtime, 2) == [(30, False)] * 2
    (record,) = caplog.records
    assert "took longer than the 22.3 ms" in record.getMessage()


def test_an_onnx_file_itself_runs_at_any_batch_and_takes_all_cores_for_more_than_one(opened):
    runtime = opened(ASSETS / "tiny-n.onnx", core=1, behaviour=Behaviour())
    assert runtime.input == TensorSpec("images", (None, 3, 256, 128), "float32", "NCHW")
    plain = OnnxRuntime.open(ASSETS / "tiny-n.onnx", threads=1)
    tensor = np.random.default_rng(0).normal(size=(5, 3, 256, 128)).astype(np.float32)
    for output, expected in zip(runtime.infer(tensor), plain.infer(tensor), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_another_network_beside_is_refused(beside, tmp_path):
    folder = beside("tiny-n.onnx")
    shutil.copy(ROOT / "framebuf/demo/assets/mobilenetv2-224.onnx", folder / "tiny-rk3588-i8.onnx")
    with pytest.raises(ModelError, match=r"tiny-rk3588-i8.onnx: expected the network of images 8×"):
        SimulatedRuntime.open(folder / BATCH_8.name, "sim:rk3588", behaviour=Behaviour())


@pytest.mark.parametrize("platform", ["sim:rk3576", "sim:rk3566", "sim:rk3562"])
def test_a_model_compiled_for_another_chip_is_refused(platform):
    with pytest.raises(ModelError) as error:
        open_runtime(BATCH_8, platform, threads=1)
    assert str(error.value) == (
        f"{BATCH_8}: expected a model compiled for {platform[4:]}, it is for rk3588; "
        "use platform sim:rk3588, or convert it"
    )


@pytest.mark.parametrize(
    ("file", "platform"),
    [("tiny-rk3588-i8-batch8.rknn", "sim:rk3582"), ("tiny-rk3566-i8-batch1.rknn", "sim:rk3568")],
)
def test_chips_of_the_same_npu_run_each_others_models(file, platform):
    runtime = open_runtime(ASSETS / file, platform, threads=1)
    assert runtime.versions.startswith(f"simulated {platform[4:]}, ")
    runtime.close()


@pytest.mark.parametrize(
    ("platform", "core", "message"),
    [
        ("sim:rk3399", None, "expected a simulated platform .*sim:rk3588.*, got sim:rk3399"),
        ("sim:rk3588", 3, "sim:rk3588 has cores 0 to 2, got core 3"),
        ("sim:rk3566", 1, "sim:rk3566 has cores 0 to 0, got core 1"),
    ],
)
def test_a_platform_or_core_that_is_not_there_is_refused(platform, core, message):
    with pytest.raises(ModelError, match=message):
        open_runtime(BATCH_8, platform, threads=1, core=core)


def test_the_environment_says_how_it_behaves(monkeypatch):
    text = "scale=0.5, jitter=0.3,errors=0.01,hangs=0.001,seed=7,fails_after=9,zeros=1"
    monkeypatch.setenv("FRAMEBUF_SIM", text)
    runtime = open_runtime(BATCH_8, "sim:rk3588", threads=1)
    assert isinstance(runtime, SimulatedRuntime)
    assert runtime.behaviour == Behaviour(0.5, 0.3, 0.01, 0.001, 9, True, 7)
    runtime.close()
    monkeypatch.setenv("FRAMEBUF_SIM", "")
    assert Behaviour.of_environment() == Behaviour()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("skale=1", "FRAMEBUF_SIM: there is no 'skale'; did you mean scale?"),
        ("quickly", "FRAMEBUF_SIM: there is no 'quickly'; known are scale, jitter, errors, hangs"),
        ("scale=quick", "FRAMEBUF_SIM: expected scale=a number, got 'scale=quick'"),
        ("seed=1.5", "FRAMEBUF_SIM: expected seed=a whole number, got 'seed=1.5'"),
        ("seed=1,seed=2", "FRAMEBUF_SIM: seed stands twice"),
        ("scale=-1", "simulated NPU: expected scale a finite number from 0, got -1.0"),
        ("scale=nan", "simulated NPU: expected scale a finite number from 0, got nan"),
        ("scale=inf", "simulated NPU: expected scale a finite number from 0, got inf"),
        ("jitter=1.5", "simulated NPU: expected jitter from 0 to 1, got 1.5"),
        ("errors=0.6,hangs=0.6", "simulated NPU: expected at most 1 of both together, got errors"),
        ("fails_after=-1", "simulated NPU: expected fails_after from 0, got -1"),
        ("zeros=2", "FRAMEBUF_SIM: expected zeros=0 or 1, got 'zeros=2'"),
    ],
)
def test_a_behaviour_that_cannot_be_is_refused(monkeypatch, text, message):
    monkeypatch.setenv("FRAMEBUF_SIM", text)
    with pytest.raises(ModelError) as error:
        open_runtime(BATCH_8, "sim:rk3588", threads=1)
    assert str(error.value).startswith(message)
