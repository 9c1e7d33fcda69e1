"""Engines: what infers for a node, here and on servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.config.endpoints import is_url
from framebuf.errors import ModelError
from framebuf.models.fallback import Fallback, check_fallback
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.platforms import SERVERS, shown
from framebuf.models.remote import Remote
from framebuf.models.second import REMEDY, unfit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from framebuf.config import Loaded
    from framebuf.models.backlog import Entrance
    from framebuf.models.lane import Lane
    from framebuf.models.network import Network
    from framebuf.service.health import Counters
    from framebuf.service.reload import Tunable
    from framebuf.service.watchdog import Watchdog

LOAD_S = 90
"""How long one model may take to load, and all of them to be timed: as long as systemd gives a
start (DefaultTimeoutStartSec). A start that hangs ends so late, and no later."""


class Engines:
    """A node's models: networks in their lanes, and those on servers, which may be away."""

    def __init__(
        self, networks: Sequence[Network], lanes: Mapping[str, Lane], remotes: Sequence[Remote]
    ) -> None:
        """`lanes` by their names."""
        self.networks = networks
        self.lanes = lanes
        self.remotes = remotes

    @classmethod
    def open(
        cls, loaded: Loaded, counters: Counters, watchdog: Watchdog, stack: ExitStack
    ) -> Engines:
        """Load the models, time them, and start their threads; `stack` ends them.

        Raises:
            ConfigError: a model that no restart can mend.
            ModelError: there was no memory for one.
        """
        networks = open_networks(loaded, watchdog)
        watchdog.wait(LOAD_S, "timing the models")
        lanes = open_lanes(networks)
        for lane in lanes.values():
            lane.start()
            stack.callback(lane.close)
        here = {network.name: lanes[network.lane] for network in networks}
        remotes = _open_remotes(loaded, here, counters, watchdog, stack)
        return cls(networks, lanes, remotes)

    @property
    def entrances(self) -> dict[str, Entrance]:
        """By model: where its frames are put."""
        found: dict[str, Entrance] = {n.name: self.lanes[n.lane] for n in self.networks}
        return found | {remote.name: remote.detour for remote in self.remotes}

    @property
    def watched(self) -> list[Lane | Remote]:
        """Whatever an inference may hang in."""
        return [*self.lanes.values(), *self.remotes]

    @property
    def tunable(self) -> list[Tunable]:
        """All models, for a reload."""
        return [*self.networks, *self.remotes]

    def __str__(self) -> str:
        """For the log."""
        return ", ".join(
            [
                *(f"{n.name} {list(n.sizes)} on {shown(n.platform)}" for n in self.networks),
                *(f"{r.name} on {shown(SERVERS)}{' (away)' * bool(r.away)}" for r in self.remotes),
            ]
        )

    def __repr__(self) -> str:
        return f"<Engines {self}>"


def open_networks(loaded: Loaded, watchdog: Watchdog) -> list[Network]:
    """The models of this machine.

    Raises:
        ConfigError, ModelError: as `Engines.open`.
    """
    for at, wrong in unfit_rows(loaded.config):
        raise loaded.error(f"camera[{at}].models", wrong, REMEDY)
    networks = []
    for at, model in enumerate(loaded.config.model):
        if is_url(model.path):
            continue
        watchdog.wait(LOAD_S, f"loading model {model.name}")
        try:
            networks.append(open_network(model))
        except ModelError as error:
            where = f"model[{at}].{error.key}"
            raise loaded.error(where, str(error), "mend the model's file or its keys") from error
        except MemoryError as error:
            raise ModelError(f"model {model.name}: no memory to load it") from error
    return networks


def _open_remotes(
    loaded: Loaded,
    lanes: Mapping[str, Lane],
    counters: Counters,
    watchdog: Watchdog,
    stack: ExitStack,
) -> list[Remote]:
    """The models on servers, whether those answer or not; `lanes` of the others by model."""
    models = {model.name: model for model in loaded.config.model}
    remotes = []
    for at, model in enumerate(loaded.config.model):
        if not is_url(model.path):
            continue
        watchdog.wait(LOAD_S, f"asking for model {model.name}")
        fallback = None
        try:
            if model.fallback is not None:
                check_fallback(model, models[model.fallback])
                fallback = Fallback(lanes[model.fallback], model.fallback)
            remote = Remote(model, fallback, counters.add)
            remote.start()
        except ModelError as error:
            where = f"model[{at}].{error.key}"
            raise loaded.error(where, str(error), "mend the model or its keys") from error
        stack.callback(remote.close)
        remotes.append(remote)
    return remotes
