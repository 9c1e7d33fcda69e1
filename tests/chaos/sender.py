"""Sends triggers at random, straight to the broker, and knows which of them it took."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

AGAIN = 0.05
"""How many ask again for what was asked before."""


def utc_now(ago_s: float = 0.0) -> str:
    """The time as a trigger's `at` has it."""
    then = datetime.now(UTC) - timedelta(seconds=ago_s)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Sent:
    """A trigger; times are monotonic seconds."""

    id: str
    document: dict[str, Any]
    first_s: float
    last_s: float
    """When it was last sent: some are sent again."""
    taken_s: float | None = None
    """When the broker had first said that it has it (PUBACK)."""


class Sender:
    """One thread sends on and on; any may send a trigger of its own, or pause it.

    `_lock` guards what was sent. paho sends again by itself what a broken connection left open,
    so that a trigger may reach the broker twice.
    """

    def __init__(self, port: int, topic: str, chance: random.Random, every_s: float) -> None:
        self.sent: dict[str, Sent] = {}
        self._topic = topic
        self._chance = chance
        self._every_s = every_s
        self._lock = threading.Lock()
        self._mids: dict[int, Sent] = {}
        self._early: set[int] = set()  # acknowledged before `publish` came back
        self._running = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender")
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"sender-{uuid.uuid4().hex}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )  # fmt: skip
        self._client.on_publish = self._published
        self._client.reconnect_delay_set(1, 1)
        self._client.max_queued_messages_set(0)
        self._client.connect_async("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._running.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._running.set()
        self._thread.join(60)
        self._client.disconnect()
        self._client.loop_stop()

    def pause(self) -> None:
        self._running.clear()

    def is_connected(self) -> bool:
        return self._client.is_connected()

    def send(self, document: dict[str, Any]) -> Sent:
        """Send a trigger with its id; the same again counts as one."""
        payload = json.dumps(document).encode()
        now = time.monotonic()
        with self._lock:
            sent = self.sent.setdefault(document["id"], Sent(document["id"], document, now, now))
            sent.last_s = now
        mid = self._client.publish(self._topic, payload, qos=1).mid
        with self._lock:
            if mid in self._early:
                self._early.remove(mid)
                sent.taken_s = sent.taken_s or time.monotonic()
            else:
                self._mids[mid] = sent
        return sent

    def taken(self) -> list[Sent]:
        """The triggers that the broker has."""
        with self._lock:
            return [sent for sent in self.sent.values() if sent.taken_s is not None]

    def under_way(self) -> int:
        """Triggers of which the broker has said nothing yet."""
        with self._lock:
            return len(self._mids)

    def _published(self, _: Client, __: Any, mid: int, reason: Any, ___: Any) -> None:
        with self._lock:
            sent = self._mids.pop(mid, None)
            if reason.is_failure:
                return
            if sent is None:
                self._early.add(mid)
            else:
                sent.taken_s = sent.taken_s or time.monotonic()

    def _run(self) -> None:
        recent: deque[dict[str, Any]] = deque(maxlen=4)
        number = 0
        while not self._closing.wait(self._chance.uniform(0, 2 * self._every_s)):
            self._running.wait()
            if self._closing.is_set() or not self.is_connected():
                continue
            if recent and self._chance.random() < AGAIN:
                self.send(self._chance.choice(recent))
                continue
            recent.append(self._trigger(number))
            self.send(recent[-1])
            number += 1

    def _trigger(self, number: int) -> dict[str, Any]:
        chance = self._chance
        trigger: dict[str, Any] = {
            "id": f"t-{number}",
            "mode": "drain" if chance.random() < 0.3 else "window",
            "before": chance.choice([0, 1, 3, 6, "300ms", "1.1s"]),
            "after": chance.choice([0, 0, 2, 5, "250ms", "800ms"]),
            "meta": {"number": number},
        }
        if trigger["before"] == trigger["after"] == 0:
            trigger["before"] = 1
        if chance.random() < 0.9:
            trigger["at"] = utc_now(chance.uniform(0, 0.4))
        return trigger

    def __repr__(self) -> str:
        return f"<Sender {len(self.sent)} sent, {len(self.taken())} taken>"
