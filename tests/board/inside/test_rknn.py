"""RknnRuntime on a board: the real rknn-toolkit-lite2 on a simulated vendor library."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import numpy as np
import pytest

from framebuf.config import Model
from framebuf.errors import InferenceError, ModelError
from framebuf.models import board
from framebuf.models.parity import Member, check
from framebuf.models.platforms import cores_of
from framebuf.models.pool import RuntimePool
from framebuf.models.runtimes import open_runtime, platform_of
from framebuf.models.runtimes.rknn import RknnRuntime

ASSETS = Path(__file__).parents[2] / "assets"
SOC = board.soc()
FILES = {int(path.stem.rpartition("batch")[2]): path for path in ASSETS.glob(f"tiny-{SOC}-i8-*")}
ANY = FILES[min(FILES)]
"""Some file for this chip."""

needs = {
    batch: pytest.mark.skipif(batch not in FILES, reason=f"no model of batch {batch} for {SOC}")
    for batch in (1, 4, 8)
}


def opened(path=ANY, core=None):
    return open_runtime(path, platform_of(path, "auto"), threads=1, core=core)


@pytest.fixture
def runtime():
    runtime = opened()
    yield runtime
    runtime.close()


@pytest.fixture
def orders(monkeypatch):
    """`orders("run=-1@3")`: what the simulated library does from now on."""
    monkeypatch.setenv("STANDIN", "")
    return lambda text: monkeypatch.setenv("STANDIN", text)


def pictures(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (shape[0], 6, 4, 3), np.uint8).repeat(
        -(-shape[1] // 6), axis=1)[:, : shape[1]].repeat(shape[2] // 4, axis=2)  # fmt: skip


def expected(spec, tensor):
    """What the simulated library answers: means over stretches, in steps of the scale."""
    rows = tensor.reshape(len(tensor), -1)
    count = int(np.prod(spec.shape[1:]))
    firsts = [at * rows.shape[1] // count for at in range(count)]
    sums = np.add.reduceat(rows.astype(np.uint32), firsts, axis=1)
    means = sums / np.diff([*firsts, rows.shape[1]])
    return (np.floor(means + 0.5) - 128 - spec.zero_point) * spec.scale


def assert_right(runtime, tensor):
    for spec, output in zip(runtime.outputs, runtime.infer(tensor), strict=True):
        assert output.shape == spec.shape
        assert output.dtype == np.float32
        assert np.abs(output - expected(spec, tensor)).max() < 1.01 * spec.scale


@pytest.mark.parametrize("batch", FILES)
def test_every_slot_answers_for_its_own_picture(batch):
    runtime = opened(FILES[batch])
    assert runtime.input.shape == (batch, 256, 128, 3)
    assert [spec.shape for spec in runtime.outputs] == [(batch, 32), (batch, 10)]
    for seed in range(3):
        assert_right(runtime, pictures(runtime.input.shape, seed))
    runtime.close()


def test_a_floating_point_model_answers_too():
    path = ASSETS / "tiny-rk3588-fp-batch8.rknn"
    if SOC != "rk3588":
        pytest.skip(f"no such model for {SOC}")
    runtime = opened(path)
    tensor = pictures(runtime.input.shape)
    assert runtime.outputs[0].scale is None
    said = runtime.infer(tensor)
    assert np.allclose(said[0][:, 0], tensor.reshape(8, -1)[:, :3072].mean(1) / 255, atol=1e-5)
    runtime.close()


def test_it_says_what_runs_the_model(runtime):
    assert runtime.versions == (
        f"rknn-toolkit-lite2 {board.wheel_version()}, "
        "librknnrt 2.5.0 (simulated stand-in), driver 0.9.8"
    )


def test_outputs_stay_as_they_were_when_the_next_call_has_run(runtime):
    tensor = pictures(runtime.input.shape, 1)
    first = runtime.infer(tensor)
    kept = [output.copy() for output in first]
    runtime.infer(pictures(runtime.input.shape, 2))
    assert all(map(np.array_equal, first, kept))


def test_a_tensor_of_another_batch_size_dtype_or_layout_never_reaches_the_library(runtime, orders):
    orders("crash=inputs")
    batch, height, width, channels = runtime.input.shape
    for shape, dtype in (
        ((batch + 1, height, width, channels), np.uint8),
        ((max(batch - 1, 2) if batch > 2 else 3, height, width, channels), np.uint8),
        ((batch, width, height, channels), np.uint8),
        ((batch, channels, height, width), np.uint8),
        ((batch, height, width, channels), np.float32),
        ((batch, height, width), np.uint8),
    ):
        with pytest.raises(InferenceError, match=r"wants images .* uint8, the tensor is "):
            runtime.infer(np.zeros(shape, dtype))


def test_a_view_with_gaps_is_answered_like_a_copy(runtime):
    tensor = pictures(runtime.input.shape)
    wide = np.repeat(tensor, 2, axis=2)
    assert_right(runtime, wide[:, :, ::2])


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("run=-1@3", r"the NPU failed the run: RKNN_ERR_FAIL \(-1\)"),
        ("run=-2@3", r"RKNN_ERR_TIMEOUT \(-2\)"),
        ("run=-99@3", r"code -99"),
        ("inputs=-5@3", r"Set inputs failed. error code: RKNN_ERR_PARAM_INVALID"),
        ("outputs=-9@3", r"Get outputs failed, error code: RKNN_ERR_OUTPUT_INVALID"),
    ],
)
def test_a_call_that_fails_is_an_inference_error_and_the_next_one_runs(
    runtime, orders, order, said
):
    orders(order)
    tensor = pictures(runtime.input.shape)
    assert_right(runtime, tensor)
    with pytest.raises(InferenceError, match=said):
        runtime.infer(tensor)
    orders("")
    assert_right(runtime, tensor)


def test_an_old_driver_is_named_when_a_run_fails(orders):
    orders("driver=0.9.2 run=-1@2")
    runtime = opened()
    with pytest.raises(InferenceError, match=r"driver 0\.9\.2 is old: update the kernel"):
        runtime.infer(pictures(runtime.input.shape))
    runtime.close()


def test_a_closed_runtime_says_so_and_closes_twice():
    runtime = opened()
    runtime.close()
    runtime.close()
    with pytest.raises(InferenceError, match="closed"):
        runtime.infer(pictures(runtime.input.shape))
    assert "closed" in repr(runtime)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("init=-1", "RKNN_ERR_FAIL"),
        ("init=-3", r"the NPU driver turns it away .* dmesg \| grep -i rknpu"),
        ("init=-4", "no memory for it"),
        ("init=-6", "calls the file broken"),
        ("init=-12", r"made by rknn-toolkit2 2\.5\.0.*update that"),
        ("init=-13", "takes this board for another"),
        ("query=-5", "Query RKNN SDK version Failed"),
        ("run=-1@1", "its first inference failed: .*RKNN_ERR_FAIL"),
        ("inputs=-8@1", "its first inference failed: .*RKNN_ERR_INPUT_INVALID"),
        ("outputs=-9@1", "its first inference failed: .*RKNN_ERR_OUTPUT_INVALID"),
    ],
)
def test_a_model_that_does_not_open_is_a_model_error_and_the_npu_is_free_again(orders, order, said):
    orders(order)
    with pytest.raises(ModelError, match=said) as raised:
        opened()
    assert str(raised.value).startswith(str(ANY))
    assert "\n" not in str(raised.value)
    orders("")
    opened().close()


def test_what_the_vendor_says_stands_in_our_log_under_the_models_name(orders, caplog, capfd):
    orders("init=-6")
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelError):
        opened()
    said = {record.getMessage(): record.levelname for record in caplog.records}
    assert said[f"{ANY.name}: RKNN init failed. error code: RKNN_ERR_MODEL_INVALID"] == "ERROR"
    assert any("simulated: rknn_init fails on order" in text for text in said)
    assert any("RKNN Runtime Information" in text for text in said)
    out, err = capfd.readouterr()
    assert "RKNN" not in out + err


def test_what_others_write_while_a_model_opens_goes_its_way(capfd):
    import os
    import threading

    stop = threading.Event()

    def write():
        os.write(1, b"another line\n")
        while not stop.wait(0.001):
            os.write(1, b"another line\n")

    writer = threading.Thread(target=write)
    writer.start()
    opened().close()
    stop.set()
    writer.join()
    out, _ = capfd.readouterr()
    assert set(out.splitlines()) == {"another line"}


@needs[1]
def test_a_single_is_pinned_to_its_core_where_there_are_several(orders):
    orders("slots=core")
    assert SOC is not None
    tensor = pictures((1, 256, 128, 3))
    said = []
    for core in range(cores_of(SOC)):
        runtime = opened(FILES[1], core=core)
        said.append(runtime.infer(tensor)[0][0, 0])
        runtime.close()
    # the simulated library answers otherwise on core 2, and on no other
    assert [one != said[0] for one in said] == [core == 2 for core in range(len(said))]


def test_a_core_that_the_chip_does_not_have_is_refused():
    assert SOC is not None
    cores = cores_of(SOC)
    with pytest.raises(ModelError, match=rf"expected a core from 0 to {cores - 1}, got {cores}"):
        opened(core=cores)


@needs[4]
def test_a_batch_takes_no_core_mask_whatever_core_is_asked_for(capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        opened(FILES[4], core=1).close()
    assert "invalid for batch size" not in caplog.text


def test_a_model_for_another_chip_is_told_before_the_npu_is_touched(orders):
    orders("crash=init")
    other = next(ASSETS.glob("tiny-rk35[67]6-i8-*")) if SOC == "rk3588" else None
    other = other or next(ASSETS.glob("tiny-rk3588-i8-batch4*"))
    with pytest.raises(ModelError, match=rf"compiled for rk\w+, this is {SOC}; .*-p {SOC}"):
        opened(other)


def test_a_platform_that_is_not_this_boards_is_told():
    other = "rk3588" if SOC != "rk3588" else "rk3566"
    with pytest.raises(ModelError, match=rf"says {other}, this board is {SOC}; give platform"):
        RknnRuntime.open(ANY, other)


@needs[4]
@pytest.mark.parametrize(
    ("order", "slots"),
    [("slots=copy", (1, 2, 3)), ("slots=swap", (0, 1)), ("slots=second@4", (1,)), ("", None)],
)
def test_copied_and_exchanged_slots_are_caught_by_the_self_check(orders, order, slots):
    runtimes = {batch: opened(FILES[batch]) for batch in (1, 4) if batch in FILES}
    members = [Member(f"tiny-b{batch}", runtime, batch) for batch, runtime in runtimes.items()]
    orders(order)
    fault = check(members)
    if slots is None:
        assert fault is None
    else:
        assert fault is not None
        # without a single, slot 0 itself is the measure
        assert fault.slots == slots or 1 not in FILES
    for runtime in runtimes.values():
        runtime.close()


@needs[1]
def test_a_core_mask_that_is_turned_down_is_told_and_the_npu_is_free_again(orders):
    assert SOC is not None
    if cores_of(SOC) == 1:
        pytest.skip(f"{SOC} is told no mask")
    orders("mask=-5")
    with pytest.raises(ModelError, match="the NPU took no core mask"):
        opened(core=1)
    orders("")
    opened(core=1).close()


@needs[1]
def test_a_core_that_answers_otherwise_is_caught_by_the_self_check(orders):
    orders("slots=core")
    assert SOC is not None
    runtimes = [opened(FILES[1], core) for core in range(cores_of(SOC))]
    fault = check([Member(f"core-{core}", each, 1) for core, each in enumerate(runtimes)])
    assert (fault and fault.member) == ("core-2" if len(runtimes) == 3 else None)
    for runtime in runtimes:
        runtime.close()


def test_a_pool_answers_every_picture_with_its_own_answer():
    sizes = [batch for batch in (1, 4) if batch in FILES]
    path = str(ASSETS / f"tiny-{SOC}-i8-batch{{{','.join(map(str, sizes))}}}.rknn")
    model = Model(name="tiny", path=path, task="raw", resize="stretch")
    shown = pictures((7, 256, 128, 3), 5)
    with RuntimePool.open(model) as pool:
        results = list(pool.map(list(shown[..., ::-1])))
    with_scales = opened()
    for picture, result in zip(shown, results, strict=True):
        assert result.error is None
        (data,) = (each.f32 for each in result.findings.outputs if each.name == "logits")
        logits = np.frombuffer(base64.b64decode(data), "<f4")
        wanted = expected(with_scales.outputs[1], picture[None])[0]
        assert np.abs(logits - wanted).max() < 1.01 * with_scales.outputs[1].scale
    with_scales.close()
