"""Counts what a fleet publishes, by topic."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.service.account import PASSWORD

BASE = "framebuf"


class Census:
    """An MQTT 5 client of an account; its session outlives the broker's restarts.

    paho's thread writes, under `_lock`; any thread asks.
    """

    def __init__(self, port: int, account: str, filters: Sequence[str]) -> None:
        """`filters` below the base topic, such as `+/status`."""
        self._lock = threading.Lock()
        self._heard: defaultdict[str, list[tuple[float, bytes, bool]]] = defaultdict(list)
        self._answers: dict[str, dict[str, Counter[str]]] = {}  # by id, by leaf: nodes
        self._filters = [(f"{BASE}/{each}", 1) for each in filters]
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            f"{account}-{uuid.uuid4().hex}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self._client.username_pw_set(account, PASSWORD)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 600
        self._client.connect("127.0.0.1", port, properties=session)
        self._client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, _data: object, flags: Any, *_: object) -> None:
        if not flags.session_present:  # else what is retained would come again
            client.subscribe(self._filters)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        at_s, payload = time.monotonic(), bytes(message.payload)
        node, *_, leaf = message.topic.removeprefix(f"{BASE}/").split("/")
        with self._lock:
            self._heard[message.topic].append((at_s, payload, message.retain))
            if leaf in ("ack", "result", "done"):
                document = json.loads(payload)
                what = document.get("event_type") or document.get("status") or "result"
                by_leaf = self._answers.setdefault(document["id"], defaultdict(Counter))
                by_leaf[leaf][f"{node} {what}"] += 1

    def publish(self, topics: Sequence[str], document: dict[str, Any]) -> None:
        """To each of the topics; back when the broker has all."""
        payload = json.dumps(document)
        sent = [self._client.publish(f"{BASE}/{topic}", payload, qos=1) for topic in topics]
        for info in sent:
            info.wait_for_publish(60)
            assert info.is_published(), "the broker did not take a trigger"

    def retained(self, leaf: str) -> dict[str, bytes]:
        """By node: what the broker had of `<node>/<leaf>` when we came."""
        with self._lock:
            return {
                topic.split("/")[1]: heard[0][1]
                for topic, heard in self._heard.items()
                if topic.partition("/")[2].partition("/")[2] == leaf and heard[0][2]
            }

    def newest(self, leaf: str) -> dict[str, bytes]:
        """By node: what `<node>/<leaf>` says now."""
        with self._lock:
            return {
                topic.split("/")[1]: heard[-1][1]
                for topic, heard in self._heard.items()
                if topic.partition("/")[2].partition("/")[2] == leaf
            }

    def heard_since(
        self, leaf: str, since_s: float, payload: bytes | None = None
    ) -> dict[str, float]:
        """By node: when it first said anything, or `payload`, on `<node>/<leaf>` since then."""
        with self._lock:
            found = {}
            for topic, heard in self._heard.items():
                if topic.partition("/")[2].partition("/")[2] == leaf:
                    late = [
                        at_s
                        for at_s, said, _ in heard
                        if at_s >= since_s and payload in (None, said)
                    ]
                    if late:
                        found[topic.split("/")[1]] = late[0]
            return found

    def answers(self, id: str, leaf: str) -> Counter[str]:
        """How often each node said what of a request: `{"n-0001 complete": 1}`."""
        with self._lock:
            return Counter(self._answers.get(id, {}).get(leaf, {}))

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Until it is so, looked at twenty times a second; False: not in time."""
        until = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True
