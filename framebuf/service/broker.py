"""The MQTT broker: messages in, messages out, reconnecting for ever."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from framebuf.errors import ConfigError
from framebuf.service import password, tls
from framebuf.service.backoff import STEADY_S, Backoff
from framebuf.service.connection import Connection
from framebuf.service.ears import Ears, End
from framebuf.service.publisher import Publisher
from framebuf.service.pulse import Pulse
from framebuf.service.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.config import Mqtt
    from framebuf.service.ears import Welcome
    from framebuf.service.health import Counters
    from framebuf.service.message import Message, Session
    from framebuf.service.outbox import Outgoing

_log = logging.getLogger(__name__)

OFTEN = 3
"""Connections in a row that were soon lost."""
WITHOUT_5 = (
    "Response Topics, no expiry and no word about denied or oversized messages, "
    "and cannot tell a trigger that is published or cleared as a retained one"
)
"""What an operator misses with MQTT 3.1.1."""


class Broker:
    """A connection that is kept up. Any thread may publish and acknowledge.

    The thread `mqtt` connects, receives and calls `on_message`; the publisher's thread hands
    messages to the connection and calls `greeting` for each, whose messages go out first. Neither
    may wait for the other.
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
        """Nothing is connected yet.

        Raises:
            ConfigError: a file of `mqtt` cannot be used.
        """
        self.trouble: str | None = None
        """What keeps the node from its broker, or from a topic, in words; any thread may read."""
        self._mqtt = mqtt
        self._session = session
        self._counters = counters
        self._publisher = Publisher(greeting, counters)
        self._ears = Ears(
            self._welcomed, on_message, self._publisher.acknowledge, self._unsubscribed
        )
        self._password = password.read(mqtt.password_file)
        self._tls = tls.context(mqtt)
        self._version = Version()
        self._backoff = Backoff()
        self._connection: Connection | None = None  # a reference: set by `mqtt`, read by all
        self._told: set[str] = set()  # troubles in the log, until a connection is steady
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._pulse = Pulse(self._thread)

    def start(self) -> None:
        """Begin to connect; returns at once, whether the broker is there or not."""
        self._publisher.start()
        self._thread.start()

    @property
    def connected(self) -> threading.Event:
        """Set while the broker is there and was greeted."""
        return self._publisher.connected

    @property
    def max_packet(self) -> int | None:
        """Bytes of the largest packet that the broker takes, as far as known. Any thread."""
        return self._publisher.max_packet

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Of its threads. Any thread."""
        return self._pulse, self._publisher.pulse

    def publish(self, message: Outgoing) -> None:
        """Send in order; kept while the broker is away, but for QoS 0."""
        self._publisher.publish(message)

    def answer_stranger(self, message: Outgoing) -> None:
        """As `publish`, for what anybody can cause; dropped and counted where too many wait."""
        self._publisher.answer_stranger(message)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Hear these too, now and on each connection to come. One thread."""
        fresh = [topic for topic in topics if topic not in self._session.subscriptions]
        if not fresh:
            return
        every = (*self._session.subscriptions, *fresh)
        self._session = replace(self._session, subscriptions=every)
        connection = self._connection
        if connection is not None:
            connection.subscribe(self._session, fresh)

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is taken care of (PUBACK).

        Over another connection than the message's own its packet id could be another message's;
        the broker sends it again.
        """
        connection = self._connection
        if message.qos and connection is not None and message.connection is connection:
            connection.acknowledge(message)

    def stop(self, last: Sequence[Outgoing] = (), timeout_s: float = 3.0) -> None:
        """Send `last`, wait for what is under way, disconnect."""
        self._stopping.set()
        self._publisher.stop(last, timeout_s)
        connection = self._connection
        if connection is not None:
            connection.close()
        self._thread.join(timeout_s)

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = self._new_connection()
            try:
                connection.open()
            except OSError as error:
                end, lasted_s = End("unreachable", tls.why(error)), 0.0
            else:
                end = self._serve(connection)
                lasted_s = time.monotonic() - (connection.opened_s or time.monotonic())
            connection.let_go()
            self._stopping.wait(self._wait_s(end, lasted_s))

    def _serve(self, connection: Connection) -> End:
        """Until the connection ends."""
        self._connection = connection
        connection.subscribe(self._session, ())  # more topics since it was made
        leaving = False
        self._pulse.beat()
        while connection.turn():
            self._pulse.beat()
            if not leaving and self._version.is_due(time.monotonic()):
                _log.info("trying MQTT 5 on the broker again")
                leaving = True
                connection.close()
        self._connection = None
        end = connection.end or End("lost")
        self._publisher.disconnect(garbled=end.kind == "garbled")
        self._pulse.rest()  # names may take minutes to be looked up, which is no fault of ours
        return end

    def _wait_s(self, end: End, lasted_s: float) -> float:
        """What the end of a connection means: how long to wait for the next."""
        if lasted_s >= STEADY_S:
            self._told.clear()
        if end.kind == "left" or self._stopping.is_set():
            return 0.0
        if end.kind in ("version", "closed"):
            turned_down = self._version.turned_down(time.monotonic(), said=end.kind == "version")
            if turned_down:
                return 0.0
        where = f"{self._mqtt.host}:{self._mqtt.port}"
        twin = f"is a second node named {self._session.client_id}?"
        if end.kind == "taken_over":
            self._counters.add("taken_over")
            self._tell(f"taken over by another client: {twin}")
        elif end.kind in ("lost", "garbled"):
            self.trouble = f"lost the broker {where}: {end.why}"
            _log.warning("%s; reconnecting", self.trouble, extra={"EVENT": "broker_trouble"})
            if lasted_s < STEADY_S and self._backoff.failures >= OFTEN:
                # not every broker says so when another client takes the id
                self._tell(f"lost the broker {where} again and again: {twin}")
        elif end.kind == "unreachable":
            self._tell(f"no broker at {where}: {end.why}")
        elif end.kind == "closed":
            self._tell(f"the broker {where} closes the connection before a word")
        else:
            self._tell(f"the broker {where} refuses the node: {end.why}")
        return self._backoff.next_s(lasted_s)

    def _tell(self, trouble: str) -> None:
        """Into the status at once, and once into the log."""
        self.trouble = trouble
        if trouble not in self._told:
            self._told.add(trouble)
            _log.warning("%s; trying on", trouble, extra={"EVENT": "broker_trouble"})

    # callbacks of the connection, on the thread ---------------------------------------------

    def _welcomed(self, connection: Connection, welcome: Welcome) -> None:
        self.trouble = None
        self._version.welcomed()
        self._counters.add("connects")
        said = ", session resumed" if welcome.resumed else ""
        if self._version.level != 5:
            said += f" with MQTT 3.1.1, which has no {WITHOUT_5}"
        _log.info(
            "connected to the broker %s:%d%s", self._mqtt.host, self._mqtt.port, said,
            extra={"EVENT": "broker_connected"},
        )  # fmt: skip
        self._publisher.connect(connection, welcome)

    def _unsubscribed(self, topic: str, reason: str) -> None:
        self._counters.add("subscriptions_denied")
        self._tell(f"the broker denies us the topic {topic}: {reason}")

    def _new_connection(self) -> Connection:
        try:
            self._tls = tls.context(self._mqtt)  # certificates are renewed in their files
        except ConfigError as error:
            self._tell(f"{error.where}: {error.what}")
        return Connection(
            self._mqtt,
            self._session,
            self._version.next(time.monotonic()),
            password=self._password,
            tls=self._tls,
            ears=self._ears,
        )
