from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from framebuf.config import model_of
from framebuf.errors import InferenceError, ModelError
from framebuf.frames import Frame
from framebuf.models import measured
from framebuf.models.backlog import Job
from framebuf.models.cost import timed
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.runtimes.onnx import OnnxRuntime
from framebuf.units import Moment

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "framebuf/demo/assets"
TINY_N, TINY_1 = ROOT / "tests/assets/tiny-n.onnx", ROOT / "tests/assets/tiny-1.onnx"
NORMAL = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


@pytest.fixture
def opened():
    """Networks that are freed at the end, every one."""
    lanes = []

    def open_(cores=1, **keys):
        network = open_network(model_of({"name": "net", "task": "raw"} | keys), cores=cores)
        lanes.extend(open_lanes([network]).values())
        return network

    yield open_
    for lane in lanes:
        assert lane.close()


def tiny(path=TINY_N, **keys):
    return {"path": str(path), **NORMAL, **keys}


def answers(network, *pictures):
    """What the network says of each picture, in their order."""
    (lane,), out = open_lanes([network]).values(), SimpleQueue()
    lane.start()
    jobs = [
        Job(Frame(n, Moment(0, 0), pixels), "a", 0, lambda: None,
            lambda result, n=n: out.put((n, result)))
        for n, pixels in enumerate(pictures)
    ]  # fmt: skip
    lane.submit(network.name, jobs)
    found = dict(out.get(timeout=60) for _ in pictures)
    assert lane.close()
    return [found[n] for n in range(len(pictures))]


def photo(name):
    return cv2.imread(str(ASSETS / "photos" / name), cv2.IMREAD_COLOR)


def test_a_free_batch_axis_serves_the_sizes_asked_for_or_1_4_8(opened):
    network = opened(**tiny())
    assert (network.name, network.task, network.platform) == ("net", "raw", "cpu")
    assert network.sizes == (1, 4, 8)
    assert network.largest == (8, *network.input.shape[1:])
    assert [context.name for context in network.contexts] == ["net-0"]
    assert opened(**tiny(batch_sizes=[6, 2, 2])).sizes == (2, 6)


def test_a_fixed_batch_axis_serves_its_own_size(opened):
    network = opened(**tiny(TINY_1))
    assert network.sizes == (1,)
    assert network.largest[0] == 1


def test_runtimes_are_contexts_that_share_the_cores(opened, monkeypatch):
    threads = []
    load = OnnxRuntime.open
    monkeypatch.setattr(
        OnnxRuntime,
        "open",
        lambda path, **more: threads.append(more["threads"]) or load(path, **more),
    )
    network = opened(cores=6, **tiny(runtimes=3))
    assert [context.name for context in network.contexts] == ["net-0", "net-1", "net-2"]
    assert threads == [2, 2, 2]
    opened(cores=2, **tiny(runtimes=3))
    assert threads[3:] == [1, 1, 1]


def test_a_family_of_files_has_contexts_of_each_size_which_together_answer_all(opened, tmp_path):
    shutil.copy(TINY_1, tmp_path / "t-batch1.onnx")
    shutil.copy(TINY_N, tmp_path / "t-batch4.onnx")
    network = opened(**tiny(tmp_path / "t-batch{1,4}.onnx", runtimes=2))
    assert network.sizes == (1, 4)
    assert [(context.name, context.sizes) for context in network.contexts] == [
        ("net-b1-0", (1,)), ("net-b1-1", (1,)), ("net-b4-0", (4,)), ("net-b4-1", (4,)),
    ]  # fmt: skip
    noise = np.random.default_rng(3).integers(0, 255, (11, 40, 30, 3), np.uint8)
    found = answers(network, *noise)
    assert all(result.error is None for result in found)
    assert len({result.findings.outputs[0].f32 for result in found}) == 11


def test_sizes_picked_from_the_braces_open_though_the_file_of_another_is_missing(opened, tmp_path):
    shutil.copy(TINY_1, tmp_path / "t-batch1.onnx")
    shutil.copy(TINY_N, tmp_path / "t-batch4.onnx")
    assert opened(**tiny(tmp_path / "t-batch{1,4,8}.onnx", batch_sizes=[1, 4])).sizes == (1, 4)


def test_a_frame_gives_the_same_alone_as_in_a_batch(opened):
    noise = np.random.default_rng(4).integers(0, 255, (5, 40, 30, 3), np.uint8)

    def vectors(network):
        found = answers(network, *noise)
        outputs = [result.findings.outputs[0] for result in found]
        return [np.frombuffer(base64.b64decode(o.f32), "<f4") for o in outputs]

    singly = vectors(opened(**tiny(batch_sizes=[1])))
    padded = vectors(opened(**tiny(batch_sizes=[8])))
    assert np.allclose(singly, padded, rtol=1e-3, atol=1e-4)


def test_mobilenet_knows_a_cat(opened):
    network = opened(
        path=str(ASSETS / "mobilenetv2-224.onnx"), task="classify",
        labels=str(ASSETS / "imagenet.txt"),
    )  # fmt: skip
    (cat, coffee) = answers(network, photo("cat.jpg"), photo("coffee.jpg"))
    assert cat.findings.classes[0].label == "Egyptian Mau"
    assert len(coffee.findings.classes) == 5
    assert cat.batch.size == 1


def test_nanodet_finds_a_person_and_where(opened):
    network = opened(
        path=str(ASSETS / "nanodet-416.onnx"), task="detect", decoder="nanodet",
        labels=str(ASSETS / "coco.txt"), batch_sizes=[2],
    )  # fmt: skip
    picture = photo("astronaut.jpg")
    (result,) = answers(network, picture)
    best = result.findings.detections[0]
    assert best.label == "person"
    x, y, width, height = best.box
    assert 0 <= x < x + width <= picture.shape[1]
    assert 0 <= y < y + height <= picture.shape[0]
    assert width * height > picture.shape[0] * picture.shape[1] / 4
    assert (result.batch.size, result.batch.filled) == (2, 1)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (tiny("/nowhere/x.onnx"), "no such file: /nowhere/x.onnx"),
        (tiny(TINY_1, batch_sizes=[4]), "batch_sizes asks for 4, the file holds 1 only"),
        (tiny(TINY_N, platform="rk3588"), "no .rknn file: expected RKNN first"),
        ({"path": str(TINY_N)}, "needs mean and std"),
        (tiny(ROOT / "tests/assets/tiny-rk3588-i8-batch1.rknn"), "no Rockchip NPU is named"),
        (tiny(__file__, platform="cpu"), "onnxruntime cannot load it"),
        (tiny(task="detect", decoder="nanodet"), "model net: "),
        (tiny(task="classify", labels="/nowhere/labels.txt"), "/nowhere/labels.txt"),
        (tiny(task="classify", labels=str(ASSETS / "coco.txt")), "model net: "),
    ],
)
def test_a_model_that_cannot_be_used_says_why(keys, words):
    with pytest.raises(ModelError, match=re.escape(words)):
        open_network(model_of({"name": "net", "task": "raw"} | keys))


def test_a_file_of_another_batch_than_its_name_says_is_refused_and_the_others_are_freed(
    tmp_path, monkeypatch
):
    shutil.copy(TINY_N, tmp_path / "t-batch1.onnx")
    shutil.copy(TINY_1, tmp_path / "t-batch4.onnx")
    loaded = []
    load = OnnxRuntime.open
    monkeypatch.setattr(
        OnnxRuntime, "open", lambda *args, **more: loaded.append(load(*args, **more)) or loaded[-1]
    )
    with pytest.raises(ModelError, match="expected batch 4, the file holds 1"):
        open_network(
            model_of({"name": "net", "task": "raw", **tiny(tmp_path / "t-batch{1,4}.onnx")})
        )
    assert len(loaded) == 2
    assert all("closed" in repr(runtime) for runtime in loaded)


def test_one_failed_call_is_no_reason_not_to_start(opened):
    network = opened(**tiny(batch_sizes=[1]))
    runtime = network.contexts[0]._runtime
    infer, calls = runtime.infer, []

    def faulty(tensor):
        calls.append(len(tensor))
        if len(calls) in (1, 3):
            raise InferenceError("the driver says -1")
        return infer(tensor)

    runtime.infer = faulty
    assert [cost.size for cost in timed(network)] == [1]
    assert len(calls) >= 5  # failed; good, failed; good, good


def test_a_busy_moment_at_the_start_does_not_make_a_batch_size_dear(opened, monkeypatch):
    network = opened(**tiny(batch_sizes=[1]))
    runtime = network.contexts[0]._runtime
    infer, clock, ms = runtime.infer, [0.0], iter([20, 20, 5, 7, 5, 5, 5])

    def late_at_first(tensor):
        clock[0] += next(ms) / 1e3
        return infer(tensor)

    runtime.infer = late_at_first
    monkeypatch.setattr(measured, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert [cost.ns for cost in timed(network)] == [5_000_000]


def test_a_slow_batch_is_timed_no_longer_than_it_must_be(opened, monkeypatch):
    network = opened(**tiny(batch_sizes=[1]))
    runtime = network.contexts[0]._runtime
    infer, clock, calls = runtime.infer, [0.0], []

    def slow(tensor):
        calls.append(len(tensor))
        clock[0] += 1.0
        return infer(tensor)

    runtime.infer = slow
    monkeypatch.setattr(measured, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    timed(network)
    assert len(calls) == 2  # the first is a warm-up


def test_a_runtime_that_goes_on_failing_is_told(opened):
    network = opened(**tiny(batch_sizes=[1]))
    network.contexts[0]._runtime.infer = lambda _: (_ for _ in ()).throw(InferenceError("no"))
    with pytest.raises(InferenceError):
        timed(network)
