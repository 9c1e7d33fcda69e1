"""The slot-parity self-check, on fakes with the vices that compiled batches are known to have."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from framebuf.errors import InferenceError, ModelError
from framebuf.models.parity import Fault, Member, check, enforce
from framebuf.models.tensor import TensorSpec

STEP = 0.02


class Net:
    """Means over stretches of each slot's pixels, in steps of the scale; `vice` bends them."""

    versions = "fake"

    def __init__(self, batch, vice=None, *, scale=STEP, dtype="uint8", layout="NHWC"):
        shape = (batch, 24, 16, 3) if layout == "NHWC" else (batch, 3, 24, 16)
        self.input = TensorSpec("images", shape, dtype, layout)
        self.outputs = (
            TensorSpec("scores", (batch, 9), "float32", scale=scale),
            TensorSpec("boxes", (batch, 4, 2), "float32", scale=scale),
        )
        self.vice = vice
        self.runs = 0

    def infer(self, tensor):
        assert tensor.shape == self.input.shape
        assert tensor.dtype == self.input.dtype
        self.runs += 1
        rows = tensor.reshape(len(tensor), -1).astype(np.float32)
        if self.vice:
            rows = self.vice(rows.copy(), self.runs)
        said = []
        for spec in self.outputs:
            size = int(np.prod(spec.shape[1:]))
            means = np.stack([part.mean(1) for part in np.array_split(rows, size, axis=1)], axis=1)
            said.append(np.round(means).reshape(spec.shape) * np.float32(STEP))
        return tuple(said)

    def close(self):
        pass


def only_slot_0_is_right(rows, run):
    rows[1:] = 0
    return rows


def all_slots_as_slot_0(rows, run):
    rows[1:] = rows[0]
    return rows


def two_slots_exchanged(rows, run):
    rows[[1, 2]] = rows[[2, 1]]
    return rows


def second_slot_wrong_every_third_run(rows, run):
    if run % 3 == 0:
        rows[1] = rows[0]
    return rows


def one_step_off(rows, run):
    return rows + 1


def three_steps_off(rows, run):
    return rows + 3


def last_slot_is_kept_from_the_run_before(rows, run, kept=[]):  # noqa: B006 - the vice itself
    kept.append(rows[-1].copy())
    if len(kept) > 1:
        rows[-1] = kept[-2]
    return rows


def bad_where_slots_are_empty(rows, run):
    if not rows[-1].any():
        rows[0] = 7
    return rows


def nan_in_slot_3(rows, run):
    rows[3] = np.nan
    return rows


SINGLE = Member("net-b1-0", Net(1), 1)


@pytest.mark.parametrize("batch", [2, 4, 8, 16])
@pytest.mark.parametrize("alone", [True, False])
def test_a_network_whose_slots_answer_alike_passes(batch, alone, caplog):
    members = [Member("net-b", Net(batch), batch)]
    assert check([SINGLE, *members] if alone else members) is None
    assert not caplog.records


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("vice", "slots"),
    [
        (only_slot_0_is_right, (1, 2, 3)),
        (all_slots_as_slot_0, (1, 2, 3)),
        (two_slots_exchanged, (1, 2)),
        (second_slot_wrong_every_third_run, (1,)),
        (nan_in_slot_3, (3,)),
    ],
)
def test_wrong_slots_are_named_with_and_without_a_single(vice, slots, alone):
    members = [Member("net-b4-0", Net(4, vice), 4)]
    fault = check([SINGLE, *members] if alone else members)
    assert fault is not None
    assert fault.slots == slots
    assert fault.member == "net-b4-0"


def test_a_slot_that_lags_by_a_run_is_seen_when_the_pictures_have_moved():
    fault = check([SINGLE, Member("net-b4-0", Net(4, last_slot_is_kept_from_the_run_before), 4)])
    assert fault is not None
    assert fault.slots == (3,)


def test_a_batch_that_errs_only_when_slots_are_empty_is_seen():
    fault = check([SINGLE, Member("net-b4-0", Net(4, bad_where_slots_are_empty), 4)])
    assert fault is not None
    assert fault.slots == (0,)


def test_one_core_that_differs_from_the_others_is_named():
    cores = [Member(f"net-b1-{core}", Net(1, three_steps_off if core == 2 else None), 1)
             for core in range(3)]  # fmt: skip
    fault = check(cores)
    assert fault == Fault(
        "net-b1-2", (0,), "net-b1-0", "output scores by 3 steps of 0.02, allowed are 2"
    )
    assert str(fault) == (
        "net-b1-2: slot 0 answers otherwise than net-b1-0: "
        "output scores by 3 steps of 0.02, allowed are 2"
    )


def test_two_steps_of_a_quantised_output_are_allowed_three_are_not():
    assert check([SINGLE, Member("net-b4-0", Net(4, one_step_off), 4)]) is None
    assert check([SINGLE, Member("net-b4-0", Net(4, three_steps_off), 4)]) is not None


def test_an_output_without_a_scale_may_be_off_by_a_part_of_its_range():
    single = Member("net-b1-0", Net(1, scale=None), 1)
    assert check([single, Member("net-b4-0", Net(4, one_step_off, scale=None), 4)]) is None
    fault = check([single, Member("net-b4-0", Net(4, lambda r, _: r + 9, scale=None), 4)])
    assert fault is not None
    assert "its largest value" in fault.deviation


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "NCHW"), ("float32", "NHWC")])
def test_networks_that_take_floats_get_pictures_of_floats(dtype, layout):
    like = {"dtype": dtype, "layout": layout, "scale": 1e-4}
    members = [Member("a", Net(1, **like), 1), Member("b", Net(4, **like), 4)]
    assert check(members) is None


def test_a_network_that_answers_all_pictures_alike_is_told_of(caplog):
    blind = [Member(f"net-b{n}-0", Net(n, lambda rows, _: rows * 0), n) for n in (1, 4)]
    with caplog.at_level(logging.WARNING):
        assert check(blind) is None
    assert "answers all pictures of the parity check alike" in caplog.text


def test_one_single_alone_has_nothing_to_be_compared_with():
    single = Net(1)
    assert check([Member("net-b1-0", single, 1)]) is None
    assert single.runs == 0


def test_refuse_names_the_slots_and_what_to_do():
    members = [SINGLE, Member("net-b4-0", Net(4, two_slots_exchanged), 4)]
    with pytest.raises(ModelError, match=r"model net: net-b4-0: slots 1, 2 answer .*parity"):
        enforce("net", members, "refuse")


def test_warn_logs_the_fault_and_uses_the_model(caplog):
    members = [SINGLE, Member("net-b4-0", Net(4, two_slots_exchanged), 4)]
    with caplog.at_level(logging.WARNING):
        fault = enforce("net", members, "warn")
    assert fault is not None
    assert "slots 1, 2" in caplog.text


def test_off_runs_nothing():
    batch = Net(4, two_slots_exchanged)
    assert enforce("net", [SINGLE, Member("net-b4-0", batch, 4)], "off") is None
    assert batch.runs == 0


def test_outputs_with_too_few_rows_are_an_error_of_the_run():
    short = Net(4)
    short.infer = lambda _: tuple(np.zeros((3, *s.shape[1:]), np.float32) for s in short.outputs)
    with pytest.raises(InferenceError, match=r"scores has shape \(3, 9\), expected 4 rows"):
        check([SINGLE, Member("net-b4-0", short, 4)])
