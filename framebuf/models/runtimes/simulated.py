"""A simulated NPU: published times, exclusive cores, and faults on order. No figure is measured."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING, Literal

from framebuf.errors import InferenceError, ModelError
from framebuf.models.platforms import CORES, chip, is_simulated
from framebuf.models.runtimes.behaviour import Behaviour, published_ms
from framebuf.models.runtimes.simulated_npu import simulated_npu
from framebuf.models.runtimes.stand_in import StandIn

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.runtimes.simulated_npu import Claim, SimulatedNpu

log = logging.getLogger(__name__)


class SimulatedRuntime:
    """One context of a simulated NPU. Belongs to one thread at a time, and says so when it must.

    An inference of one picture holds its core, or where it has none any that is free; one of
    several pictures holds all cores. It lasts from when they are granted until the published time
    is over, outputs computed meanwhile included.
    """

    def __init__(
        self, path: Path, stand_in: StandIn, npu: SimulatedNpu, core: int | None,
        behaviour: Behaviour, number: int,
    ) -> None:  # fmt: skip
        self.path = path
        self.input = stand_in.input
        self.outputs = stand_in.outputs
        self.core = core
        self.behaviour = behaviour
        self.versions = (
            f"simulated {chip(npu.platform)}, published OSNet times × {behaviour.scale:g}, "
            f"outputs {stand_in.source}"
        )
        self.runs = 0
        """Inferences that had cores, failed ones too."""
        self._stand_in = stand_in
        self._npu = npu
        self._number = number
        # a context's name, not its time of opening: the same contexts play the same faults
        self._chance = random.Random(f"{behaviour.seed} {path.name} {core} {number}")
        self._busy = threading.Lock()
        self._late = False
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, platform: str, *,
        core: int | None = None,
        layout: Literal["nchw", "nhwc"] | None = None,
        behaviour: Behaviour | None = None,
        npu: SimulatedNpu | None = None,
    ) -> SimulatedRuntime:  # fmt: skip
        """Load a .rknn or .onnx file on `platform`, such as `sim:rk3588`.

        `behaviour` is what FRAMEBUF_SIM says where it is None, `npu` the one of this process;
        `layout` overrides what the shape of an .onnx input says.

        Raises:
            ModelError: the file is missing, broken or compiled for another chip; there is no such
                platform or core; or FRAMEBUF_SIM is wrong.
        """
        if not is_simulated(platform) or chip(platform) not in CORES:
            known = ", ".join(f"sim:{name}" for name in CORES)
            raise ModelError(f"expected a simulated platform ({known}), got {platform}")
        if behaviour is None:
            behaviour = Behaviour.of_environment()
        npu = npu or simulated_npu(platform)
        if core is not None and core not in npu.cores:
            raise ModelError(f"{platform} has cores 0 to {len(npu.cores) - 1}, got core {core}")
        stand_in = StandIn.open(path, platform, layout=layout, zeros=behaviour.zeros)
        return cls(path, stand_in, npu, core, behaviour, npu.enter(f"{path.name} {core}"))

    def infer(self, tensor: NDArray[np.generic]) -> Outputs:
        """Run once: (batch, …) of the input's dtype to (batch, …) float32, one per output.

        Raises:
            InferenceError: the tensor does not fit the input, or a fault is played.
            RuntimeError: another thread is in this context; the real one would mix their results.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"two threads at once in {self!r}: a context belongs to one thread")
        try:
            self._check(tensor)
            rows = tensor.shape[0]
            pinned = None if self.core is None else frozenset([self.core])
            claim = self._npu.take(pinned if rows == 1 else self._npu.cores)
            ended_ns = None
            try:
                outputs, ended_ns = self._run(tensor, rows, claim)
            finally:
                self._npu.give_back(claim, self._npu.now_ns() if ended_ns is None else ended_ns)
        finally:
            self._busy.release()
        if outputs is None:
            raise InferenceError(f"simulated {self.path.name}: its inference {self.runs} failed")
        return outputs

    def close(self) -> None:
        """Free the context. Safe to call twice.

        Raises:
            RuntimeError: a thread is in it.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"closed while a thread is in {self!r}")
        if not self._closed:
            self._closed = True
            self._npu.leave(f"{self.path.name} {self.core}", self._number)
            self._stand_in.close()
        self._busy.release()

    def _check(self, tensor: NDArray[np.generic]) -> None:
        if self._closed:
            raise InferenceError(f"simulated {self.path.name} is closed; open it again")
        self.input.require(tensor, f"simulated {self.path.name}")

    def _run(
        self, tensor: NDArray[np.generic], rows: int, claim: Claim
    ) -> tuple[Outputs | None, int]:
        """The outputs, None where it failed, and when the cores had ended."""
        how = self.behaviour
        # both are drawn every time, so that a rate changes which calls fail and nothing else
        jitter, fault = self._chance.uniform(-how.jitter, how.jitter), self._chance.random()
        self.runs += 1
        if fault < how.hangs:
            log.warning("simulated %s hangs in its inference %d", self.path.name, self.runs)
            self._npu.hang()
        ms = published_ms(chip(self._npu.platform), rows) * how.scale * (1 + jitter)
        end_ns = claim.since_ns + round(ms * 1e6)
        failed = fault < how.hangs + how.errors or (
            how.fails_after is not None and self.runs > how.fails_after
        )
        outputs = None if failed else self._stand_in.infer(tensor)
        if self._stand_in.computes and (computed_ns := self._npu.now_ns()) > end_ns:
            end_ns = computed_ns
            self._tell_late(ms)
        self._npu.sleep_until(end_ns)
        return outputs, end_ns

    def _tell_late(self, ms: float) -> None:
        """Once: with a scale of 0 nobody asked for the times."""
        if self.behaviour.scale and not self._late:
            self._late = True
            log.warning(
                "simulated %s: its outputs took longer than the %.1f ms of its inference; "
                "times are the processor's. zeros=1 in FRAMEBUF_SIM leaves them out",
                self.path.name, ms,
            )  # fmt: skip

    def __repr__(self) -> str:
        core = "" if self.core is None else f" core {self.core}"
        state = ", closed" if self._closed else ""
        return (
            f"<SimulatedRuntime {self.path.name} {self._npu.platform}{core}, "
            f"{self.runs} runs{state}>"
        )
