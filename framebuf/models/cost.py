"""What the batches of a network cost: from its profile, else timed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from framebuf.errors import InferenceError
from framebuf.models import profile
from framebuf.models.plan import Cost, Plan
from framebuf.models.platforms import SERVERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.models.context import Context
    from framebuf.models.measured import Measured
    from framebuf.models.network import Network

TRIES = 3
PICTURE = (720, 1280)
"""Height, width of what is prepared for timing; grey."""


def costs_of(network: Network) -> tuple[Cost, ...]:
    """As the profile beside the model says, else timed here and now. Before its lane starts.

    Raises:
        InferenceError: the runtime failed.
    """
    known = None
    if network.platform != SERVERS:  # theirs hang on the network between, and on who else asks
        known = profile.load(network.path, network.platform, network.sizes)
    if known is None or not set(network.sizes) <= set(known):
        return timed(network)
    takes_all = {size: c.core is None for c in network.contexts for size in c.sizes}
    return tuple(Cost(size, round(known[size] * 1e6), takes_all[size]) for size in network.sizes)


def timed(
    network: Network, picture: NDArray[np.uint8] | None = None, *, whole: bool = False
) -> tuple[Cost, ...]:
    """The cost of each batch size, by a few runs each. Before its lane starts.

    `whole`: of preparing `picture`, running and reading, which go on side by side, the slowest;
    else running alone.

    Raises:
        InferenceError: the runtime failed three times.
    """
    picture = np.full((*PICTURE, 3), 114, np.uint8) if picture is None else picture
    costs: dict[int, Cost] = {}
    for context in network.contexts:
        for size in context.sizes:
            if size not in costs:
                measured = _measured(context, size, picture)
                ms = max(measured) if whole else measured.infer_ms
                costs[size] = Cost(size, round(ms * 1e6), takes_all=context.core is None)
    return tuple(costs[size] for size in sorted(costs))


def _measured(context: Context, size: int, picture: NDArray[np.uint8]) -> Measured:
    """One failed call is no reason not to start: the next may succeed."""
    for _ in range(TRIES - 1):
        with suppress(InferenceError):
            return context.measure(size, picture)
    return context.measure(size, picture)


def plan_of(network: Network, costs: tuple[Cost, ...]) -> Plan:
    """The planner of a network on its accelerator."""
    pinned = {context.core for context in network.contexts} - {None}
    return Plan(costs, network.cores, len(pinned))
