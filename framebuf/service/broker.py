"""The MQTT broker: messages in, messages out, reconnecting for ever. The one door to paho."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from framebuf.errors import ConfigError
from framebuf.service.outbox import Outbox, Outgoing
from framebuf.service.publisher import Publisher
from framebuf.units import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.config import Mqtt
    from framebuf.service.health import Counters

_log = logging.getLogger(__name__)

RESUMED_NS = 500 * 10**6
"""So long after a resumed session, a message may be one that the broker had kept."""
MAX_BACKOFF_S = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message that came in."""

    topic: str
    payload: bytes
    received: Moment
    retained: bool
    kept: bool
    """The broker may have kept it while the node was away: DUP, or right after resuming."""
    qos: int
    mid: int


@dataclass(frozen=True, slots=True)
class Session:
    """How the node presents itself."""

    client_id: str
    subscriptions: tuple[str, ...]
    expiry_s: int = 0
    """How long the broker keeps the session; 0: a clean one each time."""
    will: Outgoing | None = None
    will_delay_s: int = 10
    max_packet: int | None = None
    """What the broker may send at most, bytes; None: as large as MQTT has it."""


class Broker:
    """A connection that is kept up. Any thread may publish and acknowledge.

    paho's thread receives and calls `on_message`; the publisher's thread hands messages to paho and
    calls `greeting` on each connection, whose messages go out first. Neither may wait for the
    other. An unexpected exception in a callback ends the process: paho's thread would be gone.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        session: Session,
        counters: Counters,
        *,
        on_message: Callable[[Message], None],
        greeting: Callable[[], Sequence[Outgoing]] = lambda: (),
    ) -> None:
        self.refused: str | None = None
        """Why the broker turned the node away, if it did."""
        self._mqtt = mqtt
        self._session = session
        self._counters = counters
        self._on_message = on_message
        self._publisher = Publisher(self._hand_over, greeting, counters)
        self._resumed_ns = -RESUMED_NS
        self._failures = 0
        self._stopping = False
        self._client = self._new_client()

    def start(self) -> None:
        """Begin to connect; returns at once, whether the broker is there or not."""
        self._publisher.start()
        self._backoff()
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session.expiry_s
        properties.ReceiveMaximum = Outbox.WINDOW
        if self._session.max_packet is not None:
            properties.MaximumPacketSize = self._session.max_packet
        self._client.connect_async(
            self._mqtt.host,
            self._mqtt.port,
            keepalive=20,
            clean_start=self._session.expiry_s == 0,
            properties=properties,
        )
        self._client.loop_start()

    @property
    def connected(self) -> threading.Event:
        """Set while the broker is there and was greeted."""
        return self._publisher.connected

    def publish(self, message: Outgoing) -> None:
        """Send in order; kept while the broker is away, but for QoS 0."""
        self._publisher.publish(message)

    def answer_stranger(self, message: Outgoing) -> None:
        """As `publish`, for what anybody can cause; dropped and counted where too many wait."""
        self._publisher.answer_stranger(message)

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is taken care of (PUBACK)."""
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def stop(self, last: Sequence[Outgoing] = (), timeout_s: float = 3.0) -> None:
        """Send `last`, wait for what is under way, disconnect."""
        self._stopping = True
        self._publisher.stop(last, timeout_s)
        self._client.disconnect()
        self._client.loop_stop()

    def _new_client(self) -> paho.Client:
        mqtt, session = self._mqtt, self._session
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            protocol=paho.MQTTv5,
            transport=mqtt.transport,
            manual_ack=True,
        )
        client.max_inflight_messages_set(Outbox.WINDOW)
        if mqtt.username is not None:
            client.username_pw_set(mqtt.username, _secret(mqtt.password_file))
        if mqtt.ca_file or mqtt.cert_file:
            try:
                client.tls_set(mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
            except OSError as error:
                raise ConfigError(
                    "mqtt.ca_file", f"cannot be used: {error}", "name readable PEM files"
                ) from error
        if session.will is not None:
            properties: Any = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            properties.WillDelayInterval = session.will_delay_s
            client.will_set(session.will.topic, session.will.payload, 1, True, properties)
        client.on_socket_open = _without_delay
        client.on_connect = self._connected
        client.on_connect_fail = self._unreachable
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._published
        return client

    # paho's thread ------------------------------------------------------------------------

    def _connected(
        self, client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._refuse(str(reason))
            return
        self._failures = 0
        self.refused = None
        if flags.session_present:
            self._resumed_ns = time.monotonic_ns()
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2)
        if self._session.subscriptions:
            client.subscribe([(topic, options) for topic in self._session.subscriptions])
        self._counters.add("connects")
        _log.info(
            "connected to the broker %s:%d%s",
            self._mqtt.host,
            self._mqtt.port,
            ", session resumed" if flags.session_present else "",
        )
        self._publisher.connect()

    def _refuse(self, reason: str) -> None:
        if self.refused != reason:
            _log.warning("the broker %s refuses the node: %s", self._mqtt.host, reason)
        self.refused = reason

    def _unreachable(self, _client: paho.Client, _data: Any) -> None:
        if self._failures == 1:
            _log.warning("no broker at %s:%d; trying on", self._mqtt.host, self._mqtt.port)
        self._backoff()

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if self.connected.is_set() and not self._stopping:
            _log.warning("lost the broker: %s; reconnecting", reason)
        self._publisher.disconnect()
        self._backoff()

    def _backoff(self) -> None:
        """Set paho's next wait: doubling, with jitter, which paho has not."""
        ceiling = min(MAX_BACKOFF_S, 0.5 * 2**self._failures)
        self._failures += 1
        delay: Any = ceiling * random.uniform(0.5, 1.0)
        self._client.reconnect_delay_set(delay, delay)

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        now = Moment(time.monotonic_ns(), time.time_ns())
        self._acknowledge_at_once()
        kept = bool(message.dup) or now.mono_ns - self._resumed_ns < RESUMED_NS
        self._on_message(
            Message(
                message.topic, bytes(message.payload), now, bool(message.retain), kept,
                message.qos, message.mid,
            )
        )  # fmt: skip

    def _published(
        self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any
    ) -> None:
        self._acknowledge_at_once()
        if reason.is_failure:
            self._counters.add("publishes_refused")
            _log.warning("the broker refused a message: %s", reason)
        self._publisher.acknowledge(mid)

    def _acknowledge_at_once(self) -> None:
        """Ask TCP not to sit on its next ACK for 40 ms, as a PUBACK alone would let it.

        Brokers leave Nagle's algorithm on and hold the next trigger back until that ACK. The
        option is spent with each use (tcp(7)).
        """
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    # the publisher's thread ---------------------------------------------------------------

    def _hand_over(self, message: Outgoing) -> int | None:
        """Give a message to paho: its packet id, or None where it was not taken."""
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if message.qos:
            return info.mid  # kept by paho, whatever info.rc says
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def __repr__(self) -> str:
        return f"<Broker {self._mqtt.host}:{self._mqtt.port} {self._publisher!r}>"


def _without_delay(_client: paho.Client, _data: Any, sock: Any) -> None:
    """Send small messages at once: Nagle's algorithm and delayed ACKs cost 40 ms each."""
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _secret(path: str | None) -> str | None:
    """A password from its file, without the line's end.

    Raises:
        ConfigError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            "mqtt.password_file", f"{path}: {why}", "make it a text that the service can read"
        ) from error
