"""One connection to an MQTT broker, from CONNECT to its end. The one door to paho."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from framebuf.service.complaints import log_that_tells
from framebuf.service.ears import End, Welcome
from framebuf.service.message import Message, Refusal
from framebuf.service.outbox import Outbox
from framebuf.service.sockets import acknowledge_at_once, send_at_once
from framebuf.service.tls import why
from framebuf.units import Moment

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from framebuf.config import Mqtt
    from framebuf.service.ears import Ears
    from framebuf.service.message import Session
    from framebuf.service.outbox import Outgoing

KEEPALIVE_S = 20
RESUMED_NS = 500 * 10**6
"""So long after a resumed session, a message may be one that the broker had kept."""

_VERSION_NOT_SUPPORTED = 0x84
_NOT_AUTHORIZED = 0x87
_TAKEN_OVER = 0x8E
_TOO_LARGE = 0x95
_QUOTA_EXCEEDED = 0x97


class Connection:
    """A connection belongs to the thread that opens and turns it; any other may publish.

    Nothing is kept when it ends: who published knows what was not acknowledged, and gives it to
    the next one. paho would send it again by itself, though the next broker may not take it.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        session: Session,
        level: int,
        *,
        password: str | None,
        tls: ssl.SSLContext | None,
        ears: Ears,
    ) -> None:
        """`level`: 5, or 4 for MQTT 3.1.1."""
        self.end: End | None = None
        self.opened_s: float | None = None
        """Monotonic, when the broker took it."""
        self._mqtt = mqtt
        self._session = session
        self._is_5 = level == 5
        self._ears = ears
        self._resumed_ns = -RESUMED_NS
        self._error: OSError | None = None
        self._subscribed: dict[int, tuple[str, ...]] = {}
        self._client = self._new_client(password, tls)

    def open(self) -> None:
        """Connect; the broker's answer comes in a `turn`.

        Raises:
            OSError: it cannot be reached.
        """
        more: dict[str, Any] = {}
        if self._is_5:
            more["clean_start"] = self._session.expiry_s == 0
            more["properties"] = _properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=self._session.expiry_s,
                ReceiveMaximum=Outbox.WINDOW,
                MaximumPacketSize=self._session.max_packet,
            )
        try:
            self._client.connect(self._mqtt.host, self._mqtt.port, KEEPALIVE_S, **more)
        except OSError:  # a certificate that is not trusted is a ValueError too
            raise
        except ValueError as error:  # so Python tells of a name too long, or with a NUL
            raise OSError(f"{self._mqtt.host!a} is no host's name") from error

    def turn(self) -> bool:
        """Wait up to a second for the network and serve it. False: the connection is over."""
        if self._client.loop(1.0) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            return True
        if self.end is None:
            self.end = End("lost", "without a word")
        return False

    def publish(self, message: Outgoing) -> int | None:
        """Hand a message over: its packet id; None: it was dropped (QoS 0). Any thread."""
        extra = None
        if message.correlation is not None and self._is_5:
            extra = _properties(PacketTypes.PUBLISH, CorrelationData=message.correlation)
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, extra
        )
        taken = info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS
        return info.mid if taken or message.qos else None

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is taken care of (PUBACK). Any thread."""
        self._client.ack(message.mid, message.qos)

    def subscribe(self, session: Session, topics: Sequence[str]) -> None:
        """Subscribe to topics which are new in `session`. Any thread."""
        self._session = session  # first: it may be opening at this moment
        if self.opened_s is not None:
            self._subscribe(topics)

    def close(self) -> None:
        """Say goodbye; the next turns end it. Any thread."""
        self._client.disconnect()

    def let_go(self) -> None:
        """After the last turn: its sockets close when nobody holds the connection any more.

        It and paho's client hold each other, and so does the traceback of what failed; only
        Python's garbage collector would end that, some time, and two open files with it.
        """
        self._error = None
        client = self._client
        client.disable_logger()
        client.on_connect = client.on_disconnect = client.on_subscribe = None
        client.on_message = client.on_publish = None

    def _new_client(self, password: str | None, tls: ssl.SSLContext | None) -> paho.Client:
        mqtt, session = self._mqtt, self._session
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            clean_session=None if self._is_5 else session.expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_5 else MQTTProtocolVersion.MQTTv311,
            transport=mqtt.transport,
            reconnect_on_failure=False,  # nor go down to MQTT 3.1 by itself
            manual_ack=True,
        )
        client.max_inflight_messages_set(0)  # the outbox has the window
        if mqtt.username is not None:
            client.username_pw_set(mqtt.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        if session.will is not None:
            delay = None
            if self._is_5:
                delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=session.will_delay_s)
            client.will_set(session.will.topic, session.will.payload, 1, True, delay)
        client.enable_logger(log_that_tells(self._complained))
        client.on_socket_open = lambda _client, _data, sock: send_at_once(sock)
        # Set, it keeps paho from writing to the socket on the thread that publishes
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscription_answered
        client.on_message = self._received
        client.on_publish = self._published
        return client

    def _subscribe(self, topics: Sequence[str]) -> None:
        """One by one, so that each denial has its topic."""
        for topic in topics:
            if self._is_5:
                handling = 0 if self._session.retained else 2
                options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=handling)
                _, mid = self._client.subscribe(topic, options=options)
            else:
                _, mid = self._client.subscribe(topic, 1)
            if mid is not None:
                self._subscribed[mid] = (topic,)

    # callbacks, in a turn -------------------------------------------------------------------

    def _connected(
        self, _client: paho.Client, _data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            too_new = reason.value == _VERSION_NOT_SUPPORTED
            self.end = End("version" if too_new else "refused", str(reason))
            return
        self.opened_s = time.monotonic()
        if flags.session_present:
            self._resumed_ns = time.monotonic_ns()
        self._subscribe(self._session.subscriptions)
        window = min(Outbox.WINDOW, getattr(properties, "ReceiveMaximum", Outbox.WINDOW))
        largest = getattr(properties, "MaximumPacketSize", None)
        self._ears.welcomed(self, Welcome(flags.session_present, largest, window))

    def _disconnected(
        self, _client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any
    ) -> None:
        if self.end is not None:
            return
        said = str(reason) if self._error is None else why(self._error)
        if flags.is_disconnect_packet_from_server:
            self.end = End("taken_over" if reason.value == _TAKEN_OVER else "lost", said)
        elif not reason.is_failure:
            self.end = End("left")
        elif self.opened_s is not None:
            self.end = End("garbled" if reason.getName() == "Protocol error" else "lost", said)
        elif self._error is None or isinstance(self._error, ConnectionError):
            # a time-out says nothing about the version
            silent = reason.getName() == "Keep alive timeout"
            self.end = End("unreachable" if silent else "closed", said)
        else:
            self.end = End("unreachable", said)

    def _subscription_answered(
        self, _client: paho.Client, _data: Any, mid: int, reasons: Any, _properties: Any
    ) -> None:
        for topic, reason in zip(self._subscribed.pop(mid, ()), reasons, strict=False):
            if reason.is_failure:
                self._ears.unsubscribed(topic, str(reason))

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        now = Moment(time.monotonic_ns(), time.time_ns())
        acknowledge_at_once(self._client.socket())
        told = message.properties
        self._ears.received(
            Message(
                message.topic,
                bytes(message.payload),
                now,
                retained=bool(message.retain),
                kept=bool(message.dup) or now.mono_ns - self._resumed_ns < RESUMED_NS,
                qos=message.qos,
                mid=message.mid,
                connection=self,
                response_topic=getattr(told, "ResponseTopic", None),
                correlation=getattr(told, "CorrelationData", None),
                expiry_s=getattr(told, "MessageExpiryInterval", None),
            )
        )

    def _published(
        self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any
    ) -> None:
        acknowledge_at_once(self._client.socket())
        refusal = None
        if reason.is_failure:
            refusal = Refusal(
                str(reason),
                denied=reason.value == _NOT_AUTHORIZED,
                too_large=reason.value == _TOO_LARGE,
                quota=reason.value == _QUOTA_EXCEEDED,
            )
        self._ears.published(mid, refusal)

    def _complained(self, error: OSError) -> None:
        self._error = error

    def __repr__(self) -> str:
        state = self.end.kind if self.end else "open" if self.opened_s else "opening"
        return f"<Connection {self._mqtt.host}:{self._mqtt.port} {state}>"


def _properties(packet: int, **values: Any) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
