"""The slot-parity self-check: whether every slot of a batch answers as its picture would alone.

Compiled batches are known that answer otherwise: all slots as slot 0, a second slot that is wrong
now and then, a core that disagrees with the others. So before a model is used, structured pictures,
another in each slot, are compared with what batch 1 says of them; then each moves on by one slot,
three times; then half of the slots are left empty. Without a file of batch 1 every picture goes
through every slot, and must be answered there as it was in slot 0, while its neighbours differ.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from framebuf.errors import InferenceError, ModelError
from framebuf.models.agreement import Yardstick, deviation
from framebuf.models.patterns import patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from framebuf.models.agreement import Rows
    from framebuf.models.runtimes import Runtime

_log = logging.getLogger(__name__)

ROTATIONS = 3
CORE_SHOWN = [0, 1, 2]
"""The pictures with which two cores are compared."""


class Member(NamedTuple):
    """One loaded context of a network, and the batch size to try it with."""

    name: str
    runtime: Runtime
    batch: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A context that does not answer as it should."""

    member: str
    slots: tuple[int, ...]
    """Those that are wrong, ascending."""
    reference: str
    """What it was compared with."""
    deviation: str
    """The worst of it: output, by how much, how much is allowed."""

    def __str__(self) -> str:
        slots = f"slot{'s' * (len(self.slots) > 1)} {', '.join(map(str, self.slots))}"
        answer = "answer" if len(self.slots) > 1 else "answers"
        return f"{self.member}: {slots} {answer} otherwise than {self.reference}: {self.deviation}"


def enforce(
    model: str, members: Sequence[Member], parity: Literal["refuse", "warn", "off"]
) -> Fault | None:
    """Check as the configuration wants it. What is found is logged, or refused.

    Raises:
        ModelError: a slot is wrong, and `parity` is `refuse`.
        InferenceError: as `check`.
    """
    fault = None if parity == "off" else check(members)
    if fault is not None and parity == "refuse":
        raise ModelError(
            f"model {model}: {fault}; compile it again, or without that batch size; "
            'parity = "warn" uses it all the same'
        )
    if fault is not None:
        _log.warning("model %s: %s; its answers are not to be relied on", model, fault)
    return fault


def check(members: Sequence[Member]) -> Fault | None:
    """Try all contexts of one network, which nobody else may be running; the first fault found.

    Takes as many single runs as the largest batch has slots, and five runs of each batch; without
    batch 1, as many runs of each batch as it has slots.

    Raises:
        InferenceError: a context failed a run.
    """
    singles = [member for member in members if member.batch == 1]
    batches = [member for member in members if member.batch > 1]
    if len(members) < 2 and not batches:
        return None
    count = max(len(CORE_SHOWN), *(member.batch for member in members))
    pictures = patterns(count, members[0].runtime.input)
    if not singles:
        return _first(_try_all_slots(batch, pictures) for batch in batches)
    alone = _alone(singles[0], pictures)
    _warn_if_blind(singles[0], alone)
    cores = (_try_core(single, pictures, alone, singles[0].name) for single in singles[1:])
    return _first(chain(cores, (_try(batch, pictures, alone) for batch in batches)))


def _first(faults: Iterable[Fault | None]) -> Fault | None:
    """The first that is one; what comes after it is not tried."""
    return next((fault for fault in faults if fault is not None), None)


def _try_core(member: Member, pictures: NDArray[Any], alone: Rows, name: str) -> Fault | None:
    """Against another context of batch 1, which may have another core."""
    said = _alone(member, pictures[CORE_SHOWN])
    return _Reference(member, alone, name).against(said, CORE_SHOWN)


def _try(member: Member, pictures: NDArray[Any], alone: Rows) -> Fault | None:
    """Against the answers that the pictures got alone."""
    count = member.batch
    reference = _Reference(member, alone, "the same picture alone")
    for turn in range(1 + ROTATIONS):
        shown = _rotated(count, turn)
        if fault := reference.against(_run(member, pictures[shown]), shown):
            return fault
    part = count // 2
    tensor = pictures[:count].copy()
    tensor[part:] = 0  # as empty slots are
    said = tuple(rows[:part] for rows in _run(member, tensor))
    return reference.against(said, list(range(part)))


def _try_all_slots(member: Member, pictures: NDArray[Any]) -> Fault | None:
    """Against the answers that the pictures got in slot 0."""
    count = member.batch
    shown = [_rotated(count, turn) for turn in range(count)]
    said = [_run(member, pictures[each]) for each in shown]
    outputs = range(len(member.runtime.outputs))
    first = tuple(np.stack([run[at][0] for run in said]) for at in outputs)
    _warn_if_blind(member, first)
    reference = _Reference(member, first, "the same picture in slot 0")
    for run, each in zip(said, shown, strict=True):
        if fault := reference.against(run, each):
            return fault
    return None


def _rotated(count: int, turn: int) -> list[int]:
    """Which picture stands in each slot."""
    return [(slot + turn) % count for slot in range(count)]


class _Reference:
    """The right answers, a row a picture, and the context that they are held against."""

    def __init__(self, member: Member, right: Rows, name: str) -> None:
        self._member = member
        self._specs = member.runtime.outputs
        self._right = right
        self._name = name
        self._yardsticks = tuple(map(Yardstick.of, self._specs, right))

    def against(self, said: Rows, shown: list[int]) -> Fault | None:
        """The answers of slots 0, 1 …, in which stood the pictures `shown`."""
        right = tuple(rows[shown] for rows in self._right)
        found = deviation(self._specs, said, right, self._yardsticks)
        if found is None:
            return None
        slots = found.rows if self._member.batch > 1 else (0,)
        return Fault(self._member.name, slots, self._name, found.text)


def _warn_if_blind(member: Member, right: Rows) -> None:
    """Say so where the network answers all pictures alike: an exchange would not show."""
    specs = member.runtime.outputs
    before, after = tuple(rows[:-1] for rows in right), tuple(rows[1:] for rows in right)
    if deviation(specs, before, after, tuple(map(Yardstick.of, specs, right))) is None:
        _log.warning(
            "%s: answers all pictures of the parity check alike, so that it proves little",
            member.name,
        )


def _alone(member: Member, pictures: NDArray[Any]) -> Rows:
    """What a context of batch 1 says of each picture."""
    said = [_run(member, pictures[at : at + 1]) for at in range(len(pictures))]
    return tuple(np.concatenate(rows) for rows in zip(*said, strict=True))


def _run(member: Member, tensor: NDArray[Any]) -> Rows:
    """Copies: a runtime may use its arrays again."""
    said = member.runtime.infer(np.ascontiguousarray(tensor))
    for spec, rows in zip(member.runtime.outputs, said, strict=True):
        if rows.shape[:1] != (member.batch,):
            raise InferenceError(
                f"{member.name}: output {spec.name} has shape {rows.shape}, expected "
                f"{member.batch} rows, one a slot"
            )
    return tuple(rows.copy() for rows in said)
