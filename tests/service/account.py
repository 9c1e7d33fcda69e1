"""A client of one account of a broker: the broker's own answers say what it may do, on MQTT 5."""

from __future__ import annotations

import queue
import ssl
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PASSWORD = "of-the-test"


class Account:
    """Connected when it is made; `welcome` says whether it was let in."""

    def __init__(
        self,
        port: int,
        name: str,
        password: str = PASSWORD,
        *,
        client_id: str | None = None,
        tls: ssl.SSLContext | None = None,
        keepalive_s: int = 60,
    ) -> None:
        """`client_id`: default one that nobody else has."""
        self.name = name
        self.disconnected: queue.SimpleQueue[object] = queue.SimpleQueue()
        """The reason of each connection's end."""
        self._answers: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id or f"{name}-{uuid.uuid4().hex}",
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(name, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._connected
        self._client.on_disconnect = lambda *a: self.disconnected.put(a[3])
        self._client.on_publish = lambda *a: self._answers.put(("publish", a[3]))
        self._client.on_subscribe = lambda *a: self._answers.put(("subscribe", a[3][0]))
        self._client.on_message = lambda *a: self._answers.put(("message", a[2].topic))
        self._client.connect("127.0.0.1", port, keepalive_s)
        self.properties = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
        self._client.loop_start()
        self.welcome = self._next()

    def _connected(self, _client, _data, _flags, reason, properties):
        self.properties = properties
        self._answers.put(("connect", reason))

    def may_write(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> bool:
        self._client.publish(topic, payload, qos=1, retain=retain)
        return not self._next().is_failure

    def subscribe(self, topic: str) -> bool:
        self._client.subscribe(topic, qos=1)
        return not self._next().is_failure

    def received(self) -> str:
        found = self._next()
        assert isinstance(found, str)
        return found

    def _next(self):
        return self._answers.get(timeout=60)[1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
