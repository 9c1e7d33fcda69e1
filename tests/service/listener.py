"""Hears everything that is published below some topics, and waits for what is to come."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.service.messages import Message, parse

T = TypeVar("T")
TIMEOUT_S = 100.0


class BooksError(AssertionError):
    """The node broke its contract, or said nothing in time."""


class Listener:
    """An MQTT 5 client that keeps what it hears, in the order of arrival.

    Any thread may call; paho's thread only appends. `_changed` guards `_messages` and `_failure`.
    A dropped connection loses nothing while the broker lives: the session is kept. mosquitto
    keeps 1000 messages for a client that lags; where more are asked for, raise its limit.
    """

    published: ClassVar[set[tuple[str, bytes]]] = set()
    """What tests have said themselves, topic and payload."""

    def __init__(self, host: str, port: int, filters: Sequence[str], qos: int = 1) -> None:
        """`qos`: 0 hears all at once, where 1 waits for its own acknowledgements."""
        self._qos = qos
        self._where = f"{host}:{port}"
        self._filters = tuple(filters)
        self._messages: list[Message] = []
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            f"books-{uuid.uuid4().hex}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = lambda client, *_: _at_once(client.socket())
        self._client.on_socket_open = lambda _client, _data, sock: _at_once(sock)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async(host, port, properties=session)

    def start(self, timeout_s: float = TIMEOUT_S) -> None:
        """Connect and subscribe; a broker that is not up yet is waited for.

        Raises:
            BooksError: none came, or it refused.
        """
        self._client.loop_start()
        if not self._subscribed.wait(timeout_s) or self._failure:
            self.close()
            raise BooksError(f"no broker on {self._where}") from self._failure

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # Holding each other, client and listener are left to Python's garbage collector, which may
        # find the client's sockets open, and warns
        client = self._client
        client.on_connect = client.on_subscribe = client.on_message = None
        client.on_publish = client.on_socket_open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All so far."""
        with self._changed:
            return tuple(self._messages)

    @property
    def newest(self) -> int:
        """The order of the newest message, for `after`; -1 before the first."""
        with self._changed:
            return len(self._messages) - 1

    def is_connected(self) -> bool:
        return self._client.is_connected()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Publish with QoS 1; back when the broker has it.

        `properties` are those of MQTT 5, as `{"ResponseTopic": …, "MessageExpiryInterval": 2}`.
        """
        extra = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in (properties or {}).items():
            setattr(extra, name, value)
        self.published.add((topic, payload))
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=extra)
        info.wait_for_publish(TIMEOUT_S)
        if not info.is_published():
            raise BooksError(f"the broker did not take {topic}")

    def wait_for(
        self,
        predicate: Callable[[Sequence[Message]], T | None],
        timeout_s: float = TIMEOUT_S,
        what: str = "what was waited for",
    ) -> T:
        """The predicate's first true answer over all messages so far, asked at each arrival.

        It runs under the lock: quick, and no call back into the listener.

        Raises:
            BooksError: it stayed false; with the last messages.
        """
        end = time.monotonic() + timeout_s
        with self._changed:
            while not (answer := predicate(self._messages)):
                if self._failure is not None:
                    raise BooksError("the listener failed") from self._failure
                left = end - time.monotonic()
                if left <= 0:
                    last = [f"{m.topic} {m.payload[:200]!r}" for m in self._messages[-8:]]
                    heard = "\n  ".join([f"{len(self._messages)} messages, at last:", *last])
                    raise BooksError(f"{what} did not come in {timeout_s} s; {heard}")
                self._changed.wait(left)
            return answer

    def wait_message(
        self,
        matches: Callable[[Message], bool],
        timeout_s: float = TIMEOUT_S,
        what: str = "a message",
        after: int = -1,
    ) -> Message:
        """The first message that matches, come or to come, whose order is above `after`."""
        start = after + 1

        def look(messages: Sequence[Message]) -> Message | None:
            nonlocal start  # each message is looked at once, however many come
            fresh, start = messages[start:], max(start, len(messages))
            return next((message for message in fresh if matches(message)), None)

        return self.wait_for(look, timeout_s, what)

    def _on_connect(self, client: Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self._fail(ConnectionError(f"{self._where} refused: {reason}"))
            self._subscribed.set()
            return
        options = SubscribeOptions(
            qos=self._qos,
            retainAsPublished=True,
            retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
        )
        client.subscribe([(topic, options) for topic in self._filters])

    def _on_subscribe(self, _: Client, __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fail(PermissionError(f"{self._where} refused {self._filters}: {reasons}"))
        self._subscribed.set()

    def _on_message(self, _: Client, __: Any, heard: MQTTMessage) -> None:
        arrived_s = time.monotonic()
        try:
            with self._changed:
                message = Message(
                    order=len(self._messages),
                    topic=heard.topic,
                    document=parse(bytes(heard.payload)),
                    payload=bytes(heard.payload),
                    retain=heard.retain,
                    qos=heard.qos if self._qos else None,
                    arrived_s=arrived_s,
                    correlation=getattr(heard.properties, "CorrelationData", None),
                )
                self._messages.append(message)
                self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - paho's thread would die in silence
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()


def _at_once(sock: Any) -> None:
    """Neither send nor acknowledge late: between Nagle's algorithm and delayed ACKs, 40 ms each.

    The second option is spent with each use, tcp(7).
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
