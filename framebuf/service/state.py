"""What the node says about itself: the retained topics, and a line for the service manager."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from framebuf import __version__
from framebuf.capture.source import without_credentials
from framebuf.contract import CameraInfo, Info, ModelInfo, encode, utc_text
from framebuf.models.platforms import SERVERS, is_simulated
from framebuf.service.outbox import Outgoing
from framebuf.service.wallclock import clock_synchronised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.camera import Camera
    from framebuf.config import Config
    from framebuf.contract import Topics
    from framebuf.models.network import Network
    from framebuf.models.remote import Remote
    from framebuf.service.broker import Broker
    from framebuf.service.discovery import Discovery
    from framebuf.service.health import Counters
    from framebuf.service.last_image import LastImages

_log = logging.getLogger(__name__)


MAX_WHY = 150
"""Characters of why a camera is away, in the one line of the status."""


class State:
    """Reads the parts; changes nothing but its memory of what it said last.

    `changes` belongs to the main thread, `greeting` to the publisher's; both only read the parts.
    """

    def __init__(
        self,
        config: Config,
        topics: Topics,
        boot_id: str,
        buffers: Mapping[str, Buffer],
        cameras: Mapping[str, Camera],
        networks: Sequence[Network],
        counters: Counters,
        last_images: LastImages | None = None,
        discovery: Discovery | None = None,
        remotes: Sequence[Remote] = (),
    ) -> None:
        """`remotes` are the models on servers, whose networks come when a server answers."""
        self._config = config
        self._topics = topics
        self._boot_id = boot_id
        self._buffers = buffers
        self._cameras = cameras
        self._networks = networks
        self._remotes = remotes
        self._counters = counters
        self._last_images = last_images
        self._discovery = discovery
        self._online = dict.fromkeys(buffers, False)
        self._told: object = None

    def greeting(self) -> list[Outgoing]:
        """What goes out first on each connection, retained."""
        status = Outgoing(self._topics.of_node("status"), b"online", retain=True)
        pictures = self._last_images.greeting() if self._last_images else []
        availability = (self._availability(name) for name in self._buffers)
        discovery = self._discovery.greeting() if self._discovery else []
        return [status, self._info(), *availability, *discovery, *pictures]

    def farewell(self) -> list[Outgoing]:
        """What goes out last."""
        gone = [
            Outgoing(self._topics.of_camera(name, "availability"), b"offline", retain=True)
            for name in self._buffers
        ]
        return [*gone, Outgoing(self._topics.of_node("status"), b"offline", retain=True)]

    def changes(self) -> list[Outgoing]:
        """What has changed since the last call: availability, what cameras turned out to be.

        And what Home Assistant is to be told.
        """
        now = time.monotonic_ns()
        out = []
        for name, buffer in self._buffers.items():
            online = buffer.online(now)
            if online != self._online[name]:
                self._online[name] = online
                event = "camera_online" if online else "camera_offline"
                self._counters.add(event)
                _log.log(
                    logging.INFO if online else logging.WARNING,
                    "camera %s is %s", name, "online" if online else "offline",
                    extra={"CAMERA": name, "EVENT": event},
                )  # fmt: skip
                out.append(self._availability(name))
        facts: list[object] = [
            (buffer.size, buffer.rate, buffer.extent, _stamps(self._cameras[name]))
            for name, buffer in self._buffers.items()
        ]
        facts += [(remote.network is None, remote.detour.up) for remote in self._remotes]
        if facts != self._told:
            self._told = facts
            out.append(self._info())
        return out + self._discovery.changes() if self._discovery else out

    def pictures(self) -> list[Outgoing]:
        """The newest annotated pictures, where they have changed since the last call."""
        return self._last_images.changes() if self._last_images else []

    def text(self, broker: Broker) -> str:
        """One line for `systemctl status`."""
        now = time.monotonic_ns()
        away = [name for name, buffer in self._buffers.items() if not buffer.online(now)]
        parts = [f"{len(self._buffers) - len(away)} of {len(self._buffers)} cameras online"]
        if away:
            parts.append(f"away: {', '.join(map(self._away, away))}")
        parts += [
            f"no server answers for {remote.name} ({why[:MAX_WHY]})"
            for remote in self._remotes
            if (why := remote.away) is not None
        ]
        if broker.trouble or not broker.connected.is_set():
            parts.append(broker.trouble or "no broker yet")
        return "; ".join(parts)

    def unanswered(self) -> dict[str, str]:
        """The models that nobody answers for now, and why. Any thread."""
        return {
            remote.name: why[:MAX_WHY]
            for remote in self._remotes
            if (why := remote.away) is not None and remote.model.fallback is None
        }

    def _away(self, name: str) -> str:
        """A camera that is away, and why, as far as its thread knows."""
        why = self._cameras[name].last_error
        return f"{name} ({why[:MAX_WHY]})" if why else name

    def _availability(self, name: str) -> Outgoing:
        online = self._buffers[name].online(time.monotonic_ns())
        topic = self._topics.of_camera(name, "availability")
        return Outgoing(topic, b"online" if online else b"offline", retain=True)

    def _info(self) -> Outgoing:
        return Outgoing(self._topics.of_node("info"), encode(self.info()), retain=True)

    def info(self) -> Info:
        """What the node is. Any thread."""
        cameras = {}
        for camera in self._config.camera:
            buffer = self._buffers[camera.name]
            width, height = buffer.size or (None, None)
            clock = self._cameras[camera.name].clock
            offset_ns = clock.offset_ns if clock else None
            cameras[camera.name] = CameraInfo(
                source=without_credentials(camera.source),
                width=width,
                height=height,
                rate=buffer.rate,
                history=buffer.extent.history if buffer.extent else None,
                models=camera.models,
                stamps=_stamps(self._cameras[camera.name]),
                offset_ms=None if offset_ns is None else round(offset_ns / 1e6, 1),
                lag_ms=round(clock.lag_ns / 1e6, 1) if clock else None,
                lateness_ms=round(buffer.lateness_ns / 1e6, 1),
            )
        models = {
            network.name: ModelInfo(
                task=network.task,
                platform=network.platform,
                simulated=is_simulated(network.platform),
                batch_sizes=network.sizes,
                inputs=network.largest,
                runtimes=len(network.contexts),
                lane=network.lane,
            )
            for network in self._networks
        }
        models |= {remote.name: _remote_info(remote) for remote in self._remotes}
        return Info(
            version=__version__,
            boot_id=self._boot_id,
            at=utc_text(time.time_ns()),
            cameras=cameras,
            models=models,
            limits={"max_pending": self._config.node.max_pending},
            clock_synchronised=clock_synchronised(),
        )


def _remote_info(remote: Remote) -> ModelInfo:
    """Of a model on servers; what no server has told yet is empty."""
    network = remote.network
    return ModelInfo(
        task=remote.model.task,
        platform=SERVERS,
        batch_sizes=network.sizes if network else (),
        inputs=network.largest if network else (),
        runtimes=len(network.contexts) if network else 0,
        away=not remote.detour.up,
        fallback=remote.model.fallback,
        lane=network.lane if network else None,
    )


def _stamps(camera: Camera) -> Literal["stream", "arrival"] | None:
    """Whose clock stamps the camera's frames; None while it has not been open."""
    if camera.clock is not None:
        return camera.clock.kind
    return "arrival" if camera.has_opened else None
