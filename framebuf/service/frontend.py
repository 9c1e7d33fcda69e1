"""Front end: triggers in, answers out, and what the node says about itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.errors import ConfigError
from framebuf.service.broker import Broker
from framebuf.service.census import Census
from framebuf.service.discovery import Discovery
from framebuf.service.last_image import LastImages
from framebuf.service.message import Session
from framebuf.service.outbox import Outgoing
from framebuf.service.requests import Requests
from framebuf.service.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack

    from framebuf.capture.camera import Camera
    from framebuf.config import Config, Loaded
    from framebuf.contract import Topics
    from framebuf.service.bell import Bell
    from framebuf.service.encoder import Encoder
    from framebuf.service.engines import Engines
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.message import Message
    from framebuf.service.replies import Onlooker
    from framebuf.service.storage import Storage

STATS_S = 60.0
MAX_PACKET = 2**20
"""Bytes. Triggers beyond 64 KiB are rejected; beyond this the broker keeps them to itself, so that
nobody fills the node's memory with one message."""
FINISH_S = 5.0
"""How long a stop waits for frames that are asked for; what is open then is the next start's."""


class FrontEnd:
    """Belongs to the main thread; its parts have threads of their own."""

    def __init__(
        self, feeds: Sequence[Feed], discovery: Discovery, state: State, broker: Broker,
        requests: Requests, census: Census,
    ) -> None:  # fmt: skip
        self.feeds = feeds
        self.discovery = discovery
        self.state = state
        self.broker = broker
        self.requests = requests
        self.census = census
        self._stats_s = STATS_S
        self._stats_due_s = 0.0  # monotonic

    @classmethod
    def open(
        cls, loaded: Loaded, topics: Topics, boot_id: str, storage: Storage,
        cameras: Mapping[str, Camera], engines: Engines, feeds: Sequence[Feed], encoder: Encoder,
        counters: Counters, onlooker: Onlooker | None, bell: Bell,
    ) -> FrontEnd:  # fmt: skip
        """All parts, none of them started. `onlooker` hears of each answer.

        The `bell` rings when there is something to `tell` that nobody foresaw.

        Raises:
            ConfigError: a file of the broker's cannot be used.
        """
        config = loaded.config
        last_images = None
        if config.mqtt.last_image:
            last_images = LastImages(topics, encoder, counters, bell.ring)
        discovery = Discovery(config, topics, Path(config.node.state_dir))
        discovery.open()
        state = State(
            config, topics, boot_id, storage.buffers, cameras, engines.networks,
            counters, last_images, discovery, engines.remotes,
        )  # fmt: skip

        def receive(message: Message) -> None:
            if discovery.heard(message):
                broker.acknowledge(message)
                bell.ring()
            else:
                requests.receive(message)

        broker = _broker(loaded, _session(config, topics, discovery), counters, receive, state)
        requests = Requests(
            config.node, config.mqtt.response_prefix, topics, feeds, broker,
            counters, boot_id, encoder, last_images, onlooker,
            journal=storage.journal, marks=storage.marks, lost=storage.restored.lost,
        )  # fmt: skip
        census = Census(
            topics, storage.buffers, cameras, engines.networks, engines.lanes, requests,
            counters, engines.remotes,
        )  # fmt: skip
        return cls(feeds, discovery, state, broker, requests, census)

    def start(self, stack: ExitStack) -> None:
        """Work on what is open, and connect; `stack` stops it."""
        self.requests.start()
        self.broker.start()
        stack.callback(self.requests.settle)
        stack.callback(self.broker.stop, self.state.farewell())
        stack.callback(self.requests.stop, FINISH_S)
        self._stats_s = float(os.environ.get("FRAMEBUF_STATS_S", STATS_S))  # for tests
        self._stats_due_s = time.monotonic() + self._stats_s

    def rest_s(self) -> float:
        """Seconds until there is something to tell that is foreseen; not above 0: there is."""
        birth_s = self.discovery.due_s
        due_s = self._stats_due_s if birth_s is None else min(self._stats_due_s, birth_s)
        return due_s - time.monotonic()

    def tell(self) -> None:
        """Tell what has changed: availability, pictures, and now and then statistics."""
        self.broker.subscribe(self.discovery.birth_topics)
        for message in self.state.changes():
            self.broker.publish(message)
        if self.broker.connected.is_set():  # else the greeting tells, and only the newest
            for message in self.state.pictures():
                self.broker.publish(message)
        if time.monotonic() >= self._stats_due_s:
            self._stats_due_s += self._stats_s
            self.broker.publish(self.census.message())

    def __repr__(self) -> str:
        there = "connected" if self.broker.connected.is_set() else "not connected"
        return f"<FrontEnd {there}, {self.requests!r}>"


def _broker(
    loaded: Loaded, session: Session, counters: Counters, receive: Callable[[Message], None],
    state: State,
) -> Broker:  # fmt: skip
    mqtt = loaded.config.mqtt
    try:
        return Broker(mqtt, session, counters, on_message=receive, greeting=state.greeting)
    except ConfigError as error:
        raise loaded.located(error) from error


def _session(config: Config, topics: Topics, discovery: Discovery) -> Session:
    triggers = [topics.of_camera(camera.name, "trigger") for camera in config.camera]
    ages = [camera.trigger.max_age.ns for camera in config.camera]
    return Session(
        client_id=f"framebuf-{config.node.name}",
        subscriptions=(*triggers, topics.of_node("trigger"), *discovery.birth_topics),
        expiry_s=max(1, -(-max(ages) // 10**9)),
        max_packet=MAX_PACKET,
        will=Outgoing(topics.of_node("status"), b"offline", retain=True),
    )
