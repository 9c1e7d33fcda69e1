from __future__ import annotations

import numpy as np
import pytest

from framebuf.errors import InferenceError
from framebuf.models.batch import Batch
from framebuf.models.prepare import Preparer
from framebuf.models.tensor import TensorSpec

SPEC = TensorSpec("images", (None, 8, 12, 3), "uint8", "NHWC")


def frame(value):
    return np.full((8, 12, 3), value, np.uint8)


def batch(size=4, memory=None):
    return Batch(SPEC, size, Preparer(SPEC, "stretch"), memory)


def values(tensor):
    """The one value of each row."""
    assert all(len(np.unique(row)) == 1 for row in tensor)
    return [int(row.flat[0]) for row in tensor]


def test_frames_fill_the_lowest_empty_slot():
    some = batch()
    some.add_at(1, frame(20))
    assert [some.add(frame(10)), some.add(frame(30)), some.add(frame(40))] == [0, 2, 3]
    assert values(some.tensor) == [10, 20, 30, 40]
    assert some.filled == 4


def test_a_full_batch_refuses_one_more_and_keeps_what_it_has():
    some = batch(2)
    some.add(frame(1))
    some.add(frame(2))
    with pytest.raises(IndexError, match="full: 2 of 2 slots"):
        some.add(frame(3))
    assert values(some.tensor) == [1, 2]


def test_slots_without_a_frame_are_zero_whatever_the_memory_held():
    memory = np.full((4, 8, 12, 3), 99, np.uint8)
    some = batch(4, memory)
    some.add_at(2, frame(5))
    assert values(some.tensor) == [0, 0, 5, 0]
    memory[3] = 77
    assert values(some.tensor) == [0, 0, 5, 0]


def test_frames_of_the_batch_before_do_not_survive_in_a_partial_one():
    some = batch()
    for value in (1, 2, 3, 4):
        some.add(frame(value))
    assert values(some.tensor) == [1, 2, 3, 4]
    some.clear()
    some.add(frame(9))
    assert values(some.tensor) == [9, 0, 0, 0]
    assert len(some.placements) == 1


def test_the_tensor_is_the_memory_itself():
    memory = np.zeros((8, 8, 12, 3), np.uint8)
    some = batch(3, memory)
    some.add(frame(6))
    assert np.shares_memory(some.tensor, memory)
    assert some.tensor.shape == (3, 8, 12, 3)
    assert (memory[0] == 6).all()


def test_batches_of_several_sizes_take_turns_on_one_memory():
    memory = np.zeros((8, 8, 12, 3), np.uint8)
    large = batch(8, memory)
    for value in range(1, 9):
        large.add(frame(value))
    small = large.sized(2)
    small.add(frame(50))
    assert np.shares_memory(small.tensor, memory)
    assert values(small.tensor) == [50, 0]
    again = large.sized(4)
    again.add(frame(60))
    assert values(again.tensor) == [60, 0, 0, 0]


def test_a_batch_whose_memory_went_to_another_refuses_to_show_foreign_frames():
    large = batch(8)
    large.add(frame(1))
    small = large.sized(2)
    small.add(frame(2))
    for use in (lambda: large.tensor, lambda: large.add(frame(3))):
        with pytest.raises(ValueError, match=r"<Batch 1/8 12×8> went to <Batch 1/2 12×8>"):
            use()
    large.clear()
    large.add(frame(4))
    assert values(large.tensor) == [4, 0, 0, 0, 0, 0, 0, 0]


def test_the_outputs_of_a_batch_outlive_its_memory():
    some = batch(2)
    some.add(frame(1))
    some.finish((np.array([[1.0], [2.0]], np.float32),))
    some.sized(1).add(frame(2))
    assert some.output(0)[0].tolist() == [1.0]


def test_a_larger_batch_than_the_memory_is_refused():
    with pytest.raises(ValueError, match=r"\(5, 8, 12, 3\) or more rows, got \(4, 8, 12, 3\)"):
        batch(4).sized(5)


def test_each_filled_slot_gives_its_own_row_of_every_output():
    some = batch(3)
    some.add_at(0, frame(1))
    some.add_at(2, frame(2))
    first, second = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(3, dtype=np.float32)
    some.finish((first, second))
    row, number = some.output(2)
    assert (row.tolist(), float(number)) == ([4.0, 5.0], 2.0)
    with pytest.raises(LookupError, match="slot 1 holds no frame; filled: 0, 2"):
        some.output(1)


def test_an_output_before_the_run_or_of_changed_frames_is_refused():
    some = batch(2)
    some.add(frame(1))
    with pytest.raises(LookupError, match="finish"):
        some.output(0)
    some.finish((np.zeros((2, 1), np.float32),))
    some.add(frame(2))
    with pytest.raises(LookupError, match="finish"):
        some.output(0)


def test_outputs_of_another_number_of_rows_are_refused():
    some = batch(4)
    for output in (np.zeros((1, 7), np.float32), np.float32(3)):
        with pytest.raises(InferenceError, match=r"output 1 has shape .* expected 4 rows"):
            some.finish((np.zeros((4, 1), np.float32), output))


@pytest.mark.parametrize("index", [-1, 4, 100])
def test_a_slot_that_is_not_there_is_refused(index):
    some = batch(4)
    some.add(frame(1))
    with pytest.raises(IndexError, match=f"slot from 0 to 3, got {index}"):
        some.add_at(index, frame(2))
    with pytest.raises(IndexError, match=f"slot from 0 to 3, got {index}"):
        some.output(index)


@pytest.mark.parametrize("index", ["0", None, 1.0])
def test_a_slot_that_is_no_number_is_refused_and_the_frames_stay(index):
    some = batch(4)
    some.add(frame(1))
    before = some.tensor.copy()
    kind = type(index).__name__
    with pytest.raises(TypeError, match=f"slot as a whole number, got {kind}"):
        some.add_at(index, frame(2))
    with pytest.raises(TypeError, match=f"slot as a whole number, got {kind}"):
        some.output(index)
    assert (some.tensor == before).all()
    some.add_at(np.int64(0), frame(2))
    some.add_at(True, frame(2))  # as in a list, it is 1
    assert some.filled == 2


def test_a_frame_that_cannot_be_written_leaves_its_slot_empty_and_zero():
    some = batch(2)
    with pytest.raises(TypeError, match="uint8, got float64"):
        some.add(np.zeros((8, 12, 3)))
    with pytest.raises(ValueError, match=r"got \(8, 12\)"):
        some.add(np.zeros((8, 12), np.uint8))
    assert some.filled == 0
    some.add_at(0, frame(9))
    with pytest.raises(TypeError):
        some.add_at(0, np.zeros((8, 12, 3)))
    assert values(some.tensor) == [0, 0]


def test_a_frame_can_be_replaced():
    some = batch(2)
    some.add(frame(1))
    some.add_at(0, frame(2))
    assert values(some.tensor) == [2, 0]
    assert some.filled == 1


def test_memory_of_another_shape_or_dtype_is_refused():
    with pytest.raises(ValueError, match=r"got \(4, 12, 8, 3\)"):
        batch(4, np.zeros((4, 12, 8, 3), np.uint8))
    with pytest.raises(TypeError, match="memory of uint8, got float32"):
        batch(4, np.zeros((4, 8, 12, 3), np.float32))
    with pytest.raises(ValueError, match="1 or more, got 0"):
        batch(0)


def test_a_closed_batch_says_so():
    with batch() as some:
        some.add(frame(1))
        some.finish((np.zeros((4, 1), np.float32),))
    some.close()
    uses = [
        lambda: some.tensor,
        lambda: some.add(frame(1)),
        lambda: some.add_at(0, frame(1)),
        lambda: some.output(0),
        lambda: some.finish(()),
        lambda: some.sized(1),
        some.clear,
        some.run,
    ]
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
    assert repr(some) == "<Batch closed>"


def test_the_repr_tells_the_live_state():
    some = batch(8)
    assert repr(some) == "<Batch 0/8 12×8>"
    some.add(frame(1))
    assert repr(some) == "<Batch 1/8 12×8>"


def test_placements_stand_in_the_order_of_the_slots():
    some = batch(3)
    some.add_at(2, np.zeros((20, 20, 3), np.uint8))
    some.add_at(0, np.zeros((10, 10, 3), np.uint8))
    assert [place.frame_width for place in some.placements] == [10, 20]
