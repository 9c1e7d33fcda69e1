"""RuntimePool on a simulated NPU: batches by hand, and what a closed pool says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import framebuf
from framebuf.errors import InferenceError, ModelError
from framebuf.models import pool as pools
from framebuf.models.batch import Batch
from framebuf.models.lane import Lane
from framebuf.models.prepare import Preparer
from framebuf.models.runner import Runner
from framebuf.models.runtimes.simulated import SimulatedRuntime
from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from framebuf.models.pool import RuntimePool

ASSETS = Path(__file__).parents[1] / "assets"
FAMILY = str(ASSETS / "tiny-rk3588-i8-batch{1,4,8,16}.rknn")
EMBEDDER: dict[str, Any] = {
    "path": str(ASSETS / "tiny-n.onnx"),
    "mean": [0, 0, 0],
    "std": [255, 255, 255],
}
SPEC = TensorSpec("images", (None, 4, 4, 3), "uint8", "NHWC")


def frame(value: int = 0, height: int = 90, width: int = 160) -> np.ndarray[Any, Any]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RuntimePool]:
    """A pool of the compiled tiny network; `how` goes to FRAMEBUF_SIM."""

    def open_(how: str = "scale=0", **keys: Any) -> RuntimePool:
        monkeypatch.setenv("FRAMEBUF_SIM", how)
        return framebuf.open_model(FAMILY, platform="sim:rk3588", **keys)

    return open_


def test_a_batch_by_hand_gives_each_frame_its_own_row() -> None:
    with framebuf.open_model(**EMBEDDER, batch_sizes=[1, 4]) as model:
        with model.new_batch(4) as batch:
            batch.add_at(3, frame(200))
            batch.add(frame(10))
            batch.run()
            together = [[row.copy() for row in batch.output(slot)] for slot in (0, 3)]
            with pytest.raises(LookupError, match="slot 1 holds no frame; filled: 0, 3"):
                batch.output(1)
        for value, rows in zip((10, 200), together, strict=True):
            with model.new_batch(1) as alone:
                alone.add(frame(value))
                alone.run()
                for row, expected in zip(rows, alone.output(0), strict=True):
                    np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
        assert not np.allclose(together[0][0], together[1][0]), "frames differ, and so do rows"


def test_a_batch_runs_again_with_other_frames_and_keeps_no_old_ones() -> None:
    with framebuf.open_model(**EMBEDDER, batch_sizes=[2]) as model, model.new_batch(2) as batch:
        batch.add(frame(1))
        batch.add(frame(2))
        batch.run()
        first = batch.output(0)[0].copy()
        batch.clear()
        with pytest.raises(ValueError, match=r"<Batch 0/2 128×256> holds no frame; add one first"):
            batch.run()
        batch.add(frame(200))
        batch.run()
        assert not np.allclose(batch.output(0)[0], first)


def test_maps_and_batches_by_hand_run_side_by_side_on_several_threads(
    simulate: Callable[..., RuntimePool],
) -> None:
    # the simulated runtime fails where two threads meet in it
    wrong: list[BaseException] = []

    def by_hand(model: RuntimePool, size: int) -> None:
        try:
            with model.new_batch(size) as batch:
                for _ in range(10):
                    batch.clear()
                    batch.add(frame())
                    batch.run()
                    batch.output(0)
        except BaseException as error:  # noqa: BLE001 - told by the test
            wrong.append(error)

    with simulate("scale=0.02", runtimes=3) as model:
        threads = [threading.Thread(target=by_hand, args=(model, size)) for size in (8, 8, 1)]
        for thread in threads:
            thread.start()
        results = list(model.map(frame() for _ in range(100)))
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(results) == 100
    assert not [result for result in results if result.error]


@pytest.mark.parametrize("size", [0, 3, 32])
def test_a_batch_size_that_the_model_has_not_is_refused_with_those_it_has(
    simulate: Callable[..., RuntimePool], size: int
) -> None:
    with simulate() as model, pytest.raises(ValueError, match=f"1, 4, 8, 16, got {size}$"):
        model.new_batch(size)


def test_where_the_batch_axis_is_free_the_remedy_is_told() -> None:
    with (
        framebuf.open_model(**EMBEDDER) as model,
        pytest.raises(ValueError, match=r"1, 4, 8, got 5; open it with batch_sizes=\[5\]"),
    ):
        model.new_batch(5)


def test_a_batch_size_that_is_no_whole_number_is_refused_before_the_batch_is_made(
    simulate: Callable[..., RuntimePool],
) -> None:
    with simulate() as model, pytest.raises(TypeError, match="'float' object cannot be inter"):
        model.new_batch(8.0)  # type: ignore[arg-type]
    with simulate() as model, model.new_batch(np.int64(8)) as batch:  # type: ignore[arg-type]
        assert type(batch.size) is int


def test_a_batch_by_hand_that_fails_says_so_and_the_pool_lives_on(
    simulate: Callable[..., RuntimePool],
) -> None:
    with simulate("scale=0,fails_after=9") as model, model.new_batch(8) as batch:
        batch.add(frame())
        for _ in range(9):
            batch.run()
        with pytest.raises(InferenceError, match="its inference 10 failed"):
            batch.run()
        with model.new_batch(4) as other:
            other.add(frame())
            other.run()


def test_a_pool_whose_first_batch_fails_frees_every_context(
    simulate: Callable[..., RuntimePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[SimulatedRuntime] = []
    close = SimulatedRuntime.close
    monkeypatch.setattr(
        SimulatedRuntime, "close", lambda self: (freed.append(self), close(self))[1]
    )
    with pytest.raises(InferenceError, match="its inference 3 failed"):
        simulate("scale=0,fails_after=0", runtimes=3)
    assert len(freed) == 6


def test_a_closed_pool_refuses_everything_and_says_so(
    simulate: Callable[..., RuntimePool],
) -> None:
    with simulate() as model:
        batch = model.new_batch(8)
        batch.add(frame())
        under_way = model.map([frame()])
        model.close()
        model.close()
        for use in (
            lambda: model.map([frame()]),
            lambda: model.new_batch(8),
            batch.run,
            lambda: list(under_way),
        ):
            with pytest.raises(ValueError, match=r"the pool of model .*tiny.* is closed"):
                use()
    assert repr(model) == "<RuntimePool model closed>"


def test_frames_that_a_close_overtakes_are_answered_with_an_error(
    simulate: Callable[..., RuntimePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "QUICK_S", -1.0)  # each frame is accepted when it is pulled
    begun, infer = threading.Event(), SimulatedRuntime.infer

    def noted(self: SimulatedRuntime, tensor: Any) -> Any:
        begun.set()
        return infer(self, tensor)

    def frames() -> Iterator[np.ndarray[Any, Any]]:
        for _ in range(200):
            yield frame()
        assert begun.wait(60)
        model.close()

    with simulate("scale=1", runtimes=1) as model:
        monkeypatch.setattr(SimulatedRuntime, "infer", noted)
        results = list(model.map(frames()))
    assert len(results) == 200
    codes = [result.error.code if result.error else None for result in results]
    assert codes[0] is None, "what had begun was finished"
    assert codes[-1] == "closed"
    assert set(codes) == {None, "closed"}


def test_a_wrong_array_is_refused_with_expected_and_actual(
    simulate: Callable[..., RuntimePool],
) -> None:
    wrong: list[tuple[Any, type[Exception], str]] = [
        (np.zeros((4, 4), np.uint8), ValueError, r"of \(height, width, 3\), got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"of \(height, width, 3\), got \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int16), TypeError, "frame of uint8, got int16"),
        ([[1, 2, 3]], TypeError, "frame as a numpy array, got list"),
        (None, TypeError, "frame as a numpy array, got NoneType"),
    ]
    with simulate() as model, model.new_batch(4) as batch:
        for array, kind, match in wrong:
            with pytest.raises(kind, match=match):
                batch.add(array)
            with pytest.raises(kind, match=match):
                list(model.map([array]))
        assert batch.filled == 0


def test_a_batch_of_no_pool_does_not_run() -> None:
    batch = Batch(SPEC, 2, Preparer(SPEC))
    batch.add(frame())
    with pytest.raises(ValueError, match=r"<Batch 1/2 4×4> is of no pool: open_model"):
        batch.run()


def test_large_pictures_are_not_pulled_by_the_hundred(
    simulate: Callable[..., RuntimePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = frame(0, 1000, 1000)
    monkeypatch.setattr(pools, "AHEAD_BYTES", 20 * picture.nbytes)
    pulled = answered = most = 0

    def frames() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal pulled, most
        for _ in range(60):
            pulled += 1
            most = max(most, pulled - answered)
            yield picture

    with simulate("scale=0.3", runtimes=3) as model:
        for _ in model.map(frames()):
            answered += 1
    assert answered == 60
    assert most <= 20


def test_frames_that_are_there_at_once_are_submitted_together(
    simulate: Callable[..., RuntimePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = []
    submit = Lane.submit

    def counted(self: Lane, model: str, jobs: list[Any]) -> None:
        lots.append(len(jobs))
        submit(self, model, jobs)

    monkeypatch.setattr(Lane, "submit", counted)
    monkeypatch.setattr(pools, "QUICK_S", 60.0)  # whatever the load of this machine
    with simulate(batch_sizes=[1, 8]) as model:
        assert len(list(model.map([frame()] * 8))) == 8
        monkeypatch.setattr(pools, "QUICK_S", -1.0)
        assert len(list(model.map([frame()] * 3))) == 3
    assert lots == [8, 1, 1, 1]


class Odd:
    """A runtime with the hardware's vices: its arrays are overwritten, and it may hang."""

    def __init__(self) -> None:
        self.input = SPEC
        self.outputs = ()
        self.versions = "odd"
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = False
        self._array = np.zeros((1, 1), np.float32)

    def infer(self, tensor: Any) -> Any:
        self.go_on.wait()
        self._array[:] = tensor.flat[0]
        return (self._array,)

    def close(self) -> None:
        self.closed = True


def test_outputs_outlive_the_runtimes_next_call() -> None:
    runner = Runner("odd", Odd())
    runner.start()
    first = runner.infer(np.array([1]))
    runner.infer(np.array([2]))
    assert first[0].tolist() == [[1.0]]
    assert runner.close()


def test_a_runtime_that_hangs_is_told_and_left_behind() -> None:
    runtime = Odd()
    runner = Runner("odd", runtime, answer_s=0.05)
    runner.start()
    runtime.go_on.clear()
    with pytest.raises(ModelError, match=r"odd: no answer within 0\.05 s: its runtime hangs"):
        runner.infer(np.array([1]))
    assert not runner.close(0.01)
    assert not runtime.closed
    runtime.go_on.set()
    assert runner.close()
    assert runtime.closed


def test_a_closed_runner_takes_nothing() -> None:
    runner = Runner("odd", Odd())
    runner.start()
    assert runner.close()
    assert repr(runner) == "<Runner odd 0 runs, closed>"
    with pytest.raises(ValueError, match="odd is closed"):
        runner.infer(np.array([1]))
