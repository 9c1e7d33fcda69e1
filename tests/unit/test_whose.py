"""Whose answer is whose: numbers painted into frames, through simulated NPUs that stagger and fail.

`NUMBERED=10000 pytest tests/unit/test_whose.py` for the whole of it, as `make whose` does.
"""

from __future__ import annotations

import base64
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from framebuf.config import model_of
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.batch import Batch
from framebuf.models.cost import plan_of
from framebuf.models.lane import Lane
from framebuf.models.network import open_network
from framebuf.models.plan import Cost
from framebuf.models.prepare import open_preparer
from framebuf.models.runtimes.behaviour import VARIABLE, Behaviour
from framebuf.units import Moment

ASSETS = Path(__file__).parents[1] / "assets"
COUNT = int(os.environ.get("NUMBERED", "600"))
SIZES = (1, 4, 8, 16)
DIGITS = 14
"""Bits of a number, painted as bars of black and white."""


def painted(number: int) -> np.ndarray:
    bits = [number >> bit & 1 for bit in range(DIGITS)]
    bars = np.repeat(np.array(bits, np.uint8) * 255, 4)
    return np.broadcast_to(bars[None, :, None], (16, 4 * DIGITS, 3))


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Three contexts for singles and three for batches, computed by the ONNX model beside."""
    for size in SIZES:
        shutil.copy(ASSETS / f"tiny-rk3588-i8-batch{size}.rknn", tmp_path)
    shutil.copy(ASSETS / "tiny-n.onnx", tmp_path / "tiny-rk3588-i8.onnx")
    monkeypatch.setenv(VARIABLE, "scale=0.1,jitter=0.3,seed=5")
    path = tmp_path / f"tiny-rk3588-i8-batch{{{','.join(map(str, SIZES))}}}.rknn"
    model = model_of({"name": "m", "task": "raw", "platform": "sim:rk3588", "path": str(path)})
    return model, open_network(model)


def expected(model, network) -> np.ndarray:
    """(COUNT, 32) float32: what the network says of each number, run in this thread alone."""
    size = SIZES[-1]
    (context,) = (c for c in network.contexts if c.sizes == (size,))
    batch = Batch(network.input, size, open_preparer(model, network.input))
    rows = []
    for first in range(0, COUNT, size):
        batch.clear()
        for number in range(first, min(first + size, COUNT)):
            batch.add(painted(number))
        (embeddings, _) = context._runtime.infer(batch.tensor)
        rows.append(np.array(embeddings[: batch.filled]))
    return np.concatenate(rows)


def test_every_answer_belongs_to_its_frame_though_cores_stagger_and_a_context_fails(network):
    model, network = network
    assert len(network.contexts) == 6
    wanted = expected(model, network)
    # not what computing the outputs costs here: singles are dear, so that batches are padded
    costs = (Cost(1, 2_000_000), *(Cost(size, 2_200_000, takes_all=True) for size in SIZES[1:]))
    for context in network.contexts:
        context.prepare_ns = 0
    lane = Lane("m", network.contexts, {"m": plan_of(network, costs)}, network.cores)
    answers: SimpleQueue = SimpleQueue()
    lane.start()
    now = Moment(0, 0)

    def submit(numbers):
        """In parts of all lengths, one after the other, so that many batches are partial ones."""
        chance = np.random.default_rng(int(numbers[0]))
        while len(numbers):
            part, numbers = np.split(numbers, [chance.integers(1, 40)])
            done = threading.Semaphore(0)

            def job(n, done=done):
                def answered(result):
                    answers.put((n, result))
                    done.release()

                return Job(Frame(n, now, painted(n)), f"{n}", 0, lambda: None, answered)

            lane.submit("m", [job(int(n)) for n in part])
            for _ in part:
                assert done.acquire(timeout=100)

    quarters = np.array_split(np.arange(COUNT), 4)
    callers = [threading.Thread(target=submit, args=(each,)) for each in quarters]
    for caller in callers:
        caller.start()
    got = [answers.get(timeout=100) for _ in range(COUNT // 3)]
    failing = max(network.contexts, key=lambda context: context.inference.runs)
    failing._runtime.behaviour = Behaviour(scale=0.1, jitter=0.3, fails_after=0)
    got += [answers.get(timeout=100) for _ in range(COUNT - len(got))]
    for caller in callers:
        caller.join()
    assert lane.close()
    assert answers.empty()
    assert Counter(number for number, _ in got) == Counter(range(COUNT)), "none missing, none twice"
    failed = [result for _, result in got if result.error]
    assert failed, "the context that fails had frames"
    assert {(result.batch.size,) for result in failed} == {failing.sizes}
    assert any(result.batch.filled < result.batch.size for _, result in got), "partial batches"
    good = {n: result.findings.outputs[0].f32 for n, result in got if result.error is None}
    seen = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in good.values()])
    np.testing.assert_allclose(seen, wanted[list(good)], rtol=1e-3, atol=1e-4)
    numbers, known = np.array(list(good)), wanted.astype(float)
    for first in range(0, len(seen), 500):
        # squared distances to all, less what is the same for all
        distances = np.square(known).sum(axis=1) - 2 * seen[first : first + 500] @ known.T
        nearest = distances.argmin(axis=1)
        assert (nearest == numbers[first : first + 500]).all(), "another number's answer"
