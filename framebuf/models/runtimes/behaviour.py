"""How a simulated NPU behaves: its times, and the faults that it plays."""

from __future__ import annotations

import difflib
import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framebuf.errors import ModelError
from framebuf.models.platforms import npu_of

VARIABLE = "FRAMEBUF_SIM"
"""The environment variable that says how, where the program does not."""

PUBLISHED_MS = {
    "rk3588": {1: 8.806, 4: 21.555, 8: 22.336, 16: 40.253},
    "rk3576": {1: 8.987, 4: 18.836, 8: 31.703, 16: 63.802},
    "rk3566": {1: 18.659, 4: 74.717, 8: 155.374, 16: 294.969},
}
"""Milliseconds of one inference by batch size: OSNet, one context (go-rknnlite's batch page)."""

SINGLE_CORE = "rk3566"
"""Whose times stand for an NPU of one core without published ones."""


def _switch(text: str) -> bool:
    return {"0": False, "1": True}[text]


KINDS: dict[str, Callable[[str], float]] = {
    "scale": float, "jitter": float, "errors": float, "hangs": float,
    "fails_after": int, "zeros": _switch, "seed": int,
}  # fmt: skip
"""What `FRAMEBUF_SIM` may hold."""

SHOWN = {float: "a number", int: "a whole number", _switch: "0 or 1"}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a simulated NPU does beside its published times."""

    scale: float = 1.0
    """Times this is how long an inference takes; 0: no time at all."""

    jitter: float = 0.0
    """A fraction: each inference takes up to so much more or less, evenly spread."""

    errors: float = 0.0
    """The probability that an inference takes its time and then fails."""

    hangs: float = 0.0
    """The probability that an inference never comes back, and never gives its cores back."""

    fails_after: int | None = None
    """From this many inferences of a context on, every one fails."""

    zeros: bool = False
    """Outputs are zeros though a model could compute them: its time is not in the figures."""

    seed: int = 0
    """The same seed plays the same jitter and faults to the same contexts."""

    def __post_init__(self) -> None:
        for name, most in (("scale", math.inf), ("jitter", 1), ("errors", 1), ("hangs", 1)):
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                wanted = "a finite number from 0" if most == math.inf else f"from 0 to {most}"
                raise ModelError(f"simulated NPU: expected {name} {wanted}, got {value}")
        if self.errors + self.hangs > 1:
            both = f"errors {self.errors} and hangs {self.hangs}"
            raise ModelError(f"simulated NPU: expected at most 1 of both together, got {both}")
        if self.fails_after is not None and self.fails_after < 0:
            raise ModelError(f"simulated NPU: expected fails_after from 0, got {self.fails_after}")

    @classmethod
    def parse(cls, text: str) -> Behaviour:
        """Read `scale=0.5,jitter=0.3,errors=0.01,hangs=0.001,seed=7`; what is left out is default.

        Raises:
            ModelError: a name is unknown or given twice, or a value is no number in its range.
        """
        given: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (side.strip() for side in part.partition("="))
            if name not in KINDS:
                near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KINDS)}"
                raise ModelError(f"{VARIABLE}: there is no {name!r}; {hint}")
            if name in given:
                raise ModelError(f"{VARIABLE}: {name} stands twice; give it once")
            try:
                given[name] = KINDS[name](value)
            except (ValueError, KeyError):
                kind = SHOWN[KINDS[name]]
                raise ModelError(f"{VARIABLE}: expected {name}={kind}, got {part!r}") from None
        return cls(**given)

    @classmethod
    def of_environment(cls) -> Behaviour:
        """What `FRAMEBUF_SIM` says, as `parse`."""
        return cls.parse(os.environ.get(VARIABLE, ""))


def published_ms(chip: str, batch: int) -> float:
    """Milliseconds of one inference of `batch` pictures on a chip.

    Between the published sizes on a straight line; above the largest on with the last one. A chip
    without figures of its own has those of its NPU's kin.
    """
    times = PUBLISHED_MS.get(npu_of(chip), PUBLISHED_MS[SINGLE_CORE])
    steps = list(itertools.pairwise(sorted(times)))
    low, high = next((step for step in steps if batch <= step[1]), steps[-1])
    slope = (times[high] - times[low]) / (high - low)
    return times[low] + slope * (batch - low)
