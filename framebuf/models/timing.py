"""What a family's batch sizes took, and which of them is best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from framebuf.models.platforms import is_simulated
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.models.family import Source
    from framebuf.models.tensor import TensorSpec

GOOD = 1.15
"""A batch size is good that costs at most so many times the best one's milliseconds an image."""
FEWEST = 3
"""Runs of a slow batch, whatever the time: one alone has no spread."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long each batch size is timed, as Go's -benchtime: a time of inference, or runs."""

    ns: int = SECOND_NS
    runs: int | None = None

    def shared(self, pool: int) -> Length:
        """Each runtime's part: the time is the same for all, runs are shared."""
        return self if self.runs is None else replace(self, runs=-(-self.runs // pool))

    def over(self, spent_ns: int, runs: int) -> bool:
        """Whether that is enough."""
        if self.runs is not None:
            return runs >= self.runs
        return spent_ns >= self.ns and runs >= FEWEST


@dataclass(frozen=True, slots=True)
class Timing:
    """What one batch size took; milliseconds a batch."""

    batch: int
    runs: int
    ms: float
    """Of one runtime the inference's median; of several, the time from one batch to the next."""
    spread_pct: float
    """Half the range in which nine of ten inferences lie, in percent of their median."""
    prepare_ms: float
    read_ms: float
    cores: int
    """Cores of the accelerator that one inference takes."""
    file: Source

    @property
    def ms_per_image(self) -> float:
        return self.ms / self.batch


@dataclass(frozen=True, slots=True)
class Bench:
    """All batch sizes of a family on one platform, ascending."""

    platform: str
    runtime: str
    """What ran it, and its version."""
    input: TensorSpec
    pool: int
    picture: tuple[int, int]
    """Width and height of the pictures that were prepared."""
    timings: tuple[Timing, ...]

    @property
    def simulated(self) -> bool:
        return is_simulated(self.platform)

    @property
    def best(self) -> Timing:
        """The fewest milliseconds an image."""
        return min(self.timings, key=lambda timing: timing.ms_per_image)

    @property
    def smallest_good(self) -> Timing:
        """The smallest that is nearly as good as the best: its batches fill and end sooner."""
        bound = GOOD * self.best.ms_per_image
        return next(timing for timing in self.timings if timing.ms_per_image <= bound)
