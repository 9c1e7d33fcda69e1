"""The lanes of a node: one an accelerator, its models together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.models.cost import costs_of, plan_of
from framebuf.models.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.network import Network


def open_lanes(networks: Sequence[Network]) -> dict[str, Lane]:
    """Lanes by the name that their networks have for them, not started.

    Each plans by what its batches cost.

    Raises:
        InferenceError: a runtime failed its first batch.
    """
    plans = {network.name: plan_of(network, costs_of(network)) for network in networks}
    lanes = {}
    for name in dict.fromkeys(network.lane for network in networks):
        together = [network for network in networks if network.lane == name]
        lanes[name] = Lane(
            name,
            [context for network in together for context in network.contexts],
            {network.name: plans[network.name] for network in together},
            max(network.cores for network in together),
        )
    return lanes
