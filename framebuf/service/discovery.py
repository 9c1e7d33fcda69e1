"""Discovery: when Home Assistant is told of the node, and when to forget it."""

from __future__ import annotations

import logging
import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from framebuf.service.announced import Announced, AnnouncedFile
from framebuf.service.home_assistant import device, identity
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.config import Config, HomeAssistant
    from framebuf.contract import Topics
    from framebuf.service.message import Message

_log = logging.getLogger(__name__)

SPREAD_S = 1.0
"""All nodes hear Home Assistant's birth at once, and answer within this time."""
MOST_FORMER = 200
"""Entities that are told to be no more; of more, the oldest are left to the user."""


class Discovery:
    """One retained message, said again with each greeting and each birth of Home Assistant.

    The main thread builds it and calls `apply` and `changes`; the publisher's calls `greeting` and
    tells what the broker has; paho's calls `heard`. `_lock` guards what is told and when.
    """

    def __init__(self, config: Config, topics: Topics, folder: Path) -> None:
        """`folder` keeps what was told, so that it can be taken back by a later start."""
        self._config = config
        self._topics = topics
        self._file = AnnouncedFile(folder)
        self._told: list[Announced] = []  # the main thread's; as in the file
        self._lock = threading.Lock()
        self._message: Outgoing | None = None  # None: it is switched off
        self._to_clear: set[str] = set()
        self._cleared: set[str] = set()  # since the file was written
        self._due_s: float | None = None  # monotonic, to say all of it again
        self._birth_topics: tuple[str, ...] = ()

    @property
    def birth_topics(self) -> tuple[str, ...]:
        """Where Home Assistant says that it has started; those of before a reload with them."""
        return self._birth_topics

    def open(self) -> None:
        """Read what was told before, and make up what is to be told now."""
        self._told = self._file.read()
        self._prepare()

    def apply(self, settings: HomeAssistant) -> None:
        """A reload has these; what changes is said with the next `changes`."""
        if settings == self._config.homeassistant:
            return
        self._config = msgspec.structs.replace(self._config, homeassistant=settings)
        self._prepare()
        with self._lock:
            self._due_s = time.monotonic()

    @property
    def due_s(self) -> float | None:
        """When there may be `changes`; monotonic. Any thread."""
        return self._due_s

    def heard(self, message: Message) -> bool:
        """Whether it is about Home Assistant. Its birth is answered a little later."""
        if message.topic not in self._birth_topics:
            return False
        if message.payload == b"online":
            with self._lock:
                self._due_s = time.monotonic() + random.uniform(0.0, SPREAD_S)
        return True

    def greeting(self) -> list[Outgoing]:
        """What goes out on each connection."""
        with self._lock:
            cleared = [
                Outgoing(topic, b"", retain=True, acknowledged=partial(self._forget, topic))
                for topic in sorted(self._to_clear)
            ]
            return cleared if self._message is None else [*cleared, self._message]

    def changes(self) -> list[Outgoing]:
        """What is due: after a birth, or a reload."""
        with self._lock:
            due = self._due_s is not None and time.monotonic() >= self._due_s
            if due:
                self._due_s = None
            cleared, self._cleared = self._cleared, set()
        if cleared:
            self._remember([one for one in self._told if one.topic not in cleared])
        return self.greeting() if due else []

    def _prepare(self) -> None:
        settings = self._config.homeassistant
        topic = f"{settings.prefix}/device/{identity(self._topics)}/config"
        others = [one for one in self._told if one.topic != topic or not settings.discovery]
        message = None
        if settings.discovery:
            document = device(self._config, self._topics)
            now = {key: one["platform"] for key, one in document["cmps"].items()}
            before = next((one.components for one in self._told if one.topic == topic), {})
            gone = [(key, kind) for key, kind in before.items() if key not in now]
            former = dict(gone[-MOST_FORMER:])
            # an entity with nothing but its platform is removed
            document["cmps"] |= {key: {"platform": kind} for key, kind in former.items()}
            message = Outgoing(topic, msgspec.json.encode(document), retain=True)
            self._listen(f"{settings.prefix}/status")
            self._remember([*others, Announced(topic, former | now)])
            _log.info("Home Assistant is told of the node on %s", topic)
        with self._lock:
            self._message = message
            self._to_clear = {one.topic for one in others} - self._cleared
            if message is not None:
                self._cleared.discard(topic)  # cleared or not, it is told again

    def _remember(self, told: list[Announced]) -> None:
        """Before it is told: a crash must not forget it."""
        if told != self._told:
            self._told = told
            self._file.write(told)

    def _listen(self, topic: str) -> None:
        if topic not in self._birth_topics:
            self._birth_topics = (*self._birth_topics, topic)

    def _forget(self, topic: str) -> None:
        """The broker has cleared it. The publisher's thread, which writes no files."""
        with self._lock:
            if topic in self._to_clear:  # else it was switched on again meanwhile
                self._to_clear.remove(topic)
                self._cleared.add(topic)

    def __repr__(self) -> str:
        state = "off" if self._message is None else f"on {self._message.topic}"
        return f"<Discovery {state}, {len(self._to_clear)} to clear>"
