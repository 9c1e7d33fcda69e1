"""A configuration read again while the node runs: SIGHUP, as `systemctl reload` sends it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from framebuf.config import load
from framebuf.errors import ConfigError
from framebuf.service.systemd import set_log_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Camera, Config, Loaded
    from framebuf.service.discovery import Discovery
    from framebuf.service.feed import Feed
    from framebuf.service.systemd import Notifier

_log = logging.getLogger(__name__)


class Tunable(Protocol):
    """A model, here or on servers."""

    @property
    def name(self) -> str: ...

    def retune(self, threshold: float, iou: float) -> None: ...


class Reload:
    """Applies what can be: log level, thresholds, trigger defaults, what Home Assistant is told.

    The main thread, but for `ask`.

    Requests that are accepted keep what they were accepted with; a batch that is being read keeps
    its thresholds. Cameras, buffers, models and the broker's connection are not touched, so no
    frame is lost, and a file that is wrong changes nothing.
    """

    def __init__(self, loaded: Loaded, notifier: Notifier, *, fixed_level: bool = False) -> None:
        """`fixed_level`: the command line says it, and goes before the file."""
        self._file = Path(loaded.file)
        self._config = loaded.config
        self._notifier = notifier
        self._fixed_level = fixed_level
        self._is_asked = False

    def ask(self) -> None:
        """Read the file again as soon as may be. Any thread, and signal handlers."""
        self._is_asked = True

    def serve(
        self, feeds: Sequence[Feed], networks: Sequence[Tunable], discovery: Discovery
    ) -> None:
        """Do what was asked meanwhile, if anything was."""
        if not self._is_asked:
            return
        self._is_asked = False
        self._notifier.tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
        try:
            loaded = load(self._file)
        except ConfigError as error:
            _log.error(
                "not reloaded, nothing changed: %s", error, extra={"EVENT": "reload_refused"}
            )
        else:
            discovery.apply(self._apply(loaded.config, feeds, networks).homeassistant)
        self._notifier.tell(READY="1")

    def _apply(self, new: Config, feeds: Sequence[Feed], networks: Sequence[Tunable]) -> Config:
        applied = self._applicable(new)
        if not self._fixed_level:
            set_log_level(applied.node.log_level)
        cameras = {camera.name: camera for camera in applied.camera}
        for feed in feeds:  # one reference for the next trigger to be read by
            feed.camera = cameras[feed.camera.name]
        models = {model.name: model for model in applied.model}
        for network in networks:
            model = models[network.name]
            network.retune(model.threshold, model.iou)
        done = differences(self._config, applied)
        left = differences(applied, new)
        self._config = applied
        said = f"reloaded: {', '.join(done)} applied" if done else "reloaded: nothing to apply"
        if left:
            said += f"; a restart is needed for {', '.join(left)}"
        _log.log(logging.WARNING if left else logging.INFO, said, extra={"EVENT": "node_reloaded"})
        return applied

    def _applicable(self, new: Config) -> Config:
        """The configuration that runs, with what of the new one needs no restart."""
        replace = msgspec.structs.replace
        cameras = {camera.name: camera for camera in new.camera}
        models = {model.name: model for model in new.model}

        def camera(old: Camera) -> Camera:
            fresh = cameras.get(old.name)
            # before may reach back no further than the buffer does, and that stays
            if fresh is None or fresh.buffer != old.buffer:
                return old
            return replace(old, trigger=fresh.trigger)

        return replace(
            self._config,
            node=replace(self._config.node, log_level=new.node.log_level),
            homeassistant=new.homeassistant,
            camera=tuple(camera(old) for old in self._config.camera),
            model=tuple(
                replace(old, threshold=fresh.threshold, iou=fresh.iou)
                if (fresh := models.get(old.name))
                else old
                for old in self._config.model
            ),
        )

    def __repr__(self) -> str:
        return f"<Reload {self._file}{', asked' if self._is_asked else ''}>"


def differences(old: Config, new: Config) -> list[str]:
    """The keys that differ, such as `camera.gate.fps`; `camera.gate` or `web` that came or went."""
    one, other = _flat(old), _flat(new)
    keys = [key for key in {**one, **other} if one.get(key, _NONE) != other.get(key, _NONE)]
    tables = [key for key in keys if key == "web" or key.startswith(("camera.", "model."))]
    whole = [k for k in tables if k.count(".") < 2 and (k in one) != (k in other)]
    return [
        key for key in keys if key in whole or not key.startswith(tuple(f"{w}." for w in whole))
    ]


_NONE = object()


def _flat(config: Config) -> dict[str, Any]:
    """Each key and its value; tables of a list by their names, which also stand alone."""
    found: dict[str, Any] = {}
    for name in ("node", "mqtt", "homeassistant"):
        found |= _keys(name, getattr(config, name))
    if config.web is not None:
        found |= {"web": True, **_keys("web", config.web)}
    for kind, tables in (("camera", config.camera), ("model", config.model)):
        for table in tables:
            found[f"{kind}.{table.name}"] = True
            found |= _keys(f"{kind}.{table.name}", table)
    return found


def _keys(prefix: str, table: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if name == "trigger":
            found |= _keys(f"{prefix}.trigger", value)
        else:
            found[f"{prefix}.{name}"] = value
    return found
