"""Census: everything that is counted, at one moment; `B/stats` and `/metrics` are made of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.contract import LaneStats, ModelStats, Stats, encode, smaller_stats, utc_text
from framebuf.histogram import together
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.camera import Camera
    from framebuf.contract import Topics
    from framebuf.histogram import Distribution
    from framebuf.models.context import Context
    from framebuf.models.lane import Lane
    from framebuf.models.network import Network
    from framebuf.models.remote import Remote
    from framebuf.models.work import Work
    from framebuf.service.health import Counters
    from framebuf.service.requests import Requests

Figures = dict[str, int | float | bool | None]
_STATUS = Path("/proc/self/status")


class Census:
    """Reads the parts, and changes nothing. Any thread takes one, as often as once a second."""

    def __init__(
        self,
        topics: Topics,
        buffers: Mapping[str, Buffer],
        cameras: Mapping[str, Camera],
        networks: Sequence[Network],
        lanes: Mapping[str, Lane],
        requests: Requests,
        counters: Counters,
        remotes: Sequence[Remote] = (),
    ) -> None:
        """`lanes` by platform; `remotes` are the models on servers."""
        self._topics = topics
        self._buffers = buffers
        self._cameras = cameras
        self._networks = networks
        self._lanes = lanes
        self._requests = requests
        self._counters = counters
        self._remotes = remotes
        self._started = time.monotonic()

    def take(self) -> Stats:
        networks, lanes = list(self._networks), dict(self._lanes)
        for remote in self._remotes:  # once a server has answered
            if remote.network is not None and remote.lane is not None:
                networks.append(remote.network)
                lanes[remote.lane.name] = remote.lane
        return Stats(
            at=utc_text(time.time_ns()),
            uptime_s=round(time.monotonic() - self._started, 1),
            counters=self._counters.snapshot(),
            cameras={name: self._camera(name) for name in self._buffers},
            requests_open=self._requests.open_count(),
            models={network.name: _model(network.contexts) for network in networks},
            lanes={name: _lane(lane) for name, lane in lanes.items()},
            publish=self._counters.publish.read(),
            total=self._counters.total.read(),
            known_ids=self._requests.known_count(),
            memory=_memory(),
        )

    def message(self) -> Outgoing:
        """One taken now, as `B/stats`."""
        return Outgoing(
            self._topics.of_node("stats"), encode(self.take()), qos=0, smaller=smaller_stats
        )

    def _camera(self, name: str) -> Figures:
        buffer, camera = self._buffers[name], self._cameras[name]
        period_ns = buffer.period_ns()
        return {
            "online": buffer.online(time.monotonic_ns()),
            "held": buffer.held(),
            "fps": round(1e9 / period_ns, 2) if period_ns else None,
            "held_s": round(buffer.held_ns() / 1e9, 3),
            "leased": buffer.leased(),
            "kept": buffer.kept,
            "dropped": buffer.dropped,
            "evicted": buffer.evicted(),
            "bytes": buffer.bytes(),
            "reopened": camera.reopened,
            "decimated": camera.recorder.decimated,
            "undecodable": camera.recorder.undecodable,
            "outdated": camera.recorder.outdated,
            "oversized": camera.recorder.oversized,
        }

    def __repr__(self) -> str:
        return f"<Census of {len(self._buffers)} cameras, {len(self._networks)} models>"


def _model(contexts: Iterable[Context]) -> ModelStats:
    done: list[Work] = [context.work for context in contexts]

    def of(name: str) -> Distribution:
        return together(getattr(work, name).read() for work in done)

    return ModelStats(
        filled=of("filled"),
        padded=sum(work.padded for work in done),
        failed=sum(work.failed for work in done),
        wait=of("wait"),
        prepare=of("prepare"),
        infer=of("infer"),
        post=of("post"),
    )


def _lane(lane: Lane) -> LaneStats:
    busy_ns = sum(context.work.busy_ns for context in lane.contexts)
    return LaneStats(cores=lane.cores, busy_s=round(busy_ns / 1e9, 3), waiting=lane.waiting())


def _memory() -> dict[str, int]:
    """Of this process, in bytes; proc(5), where VmRSS is all and RssAnon what is its own."""
    found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE))
    names = {"resident": "VmRSS", "anonymous": "RssAnon"}
    return {name: 1024 * int(found[line]) for name, line in names.items() if line in found}
