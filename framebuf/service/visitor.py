"""A connection of its own, as a user's program would have: says something, and hears."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from framebuf.errors import FramebufError
from framebuf.service.broker import Broker
from framebuf.service.health import Counters
from framebuf.service.message import Session
from framebuf.service.orders import made_up_id
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from framebuf.config import Mqtt
    from framebuf.service.message import Message


class NoAnswerError(FramebufError):
    """The broker or the node did not answer in time."""


class Visitor:
    """Kept up as the daemon's connection is. One thread calls it; any thread may `fail` it."""

    def __init__(self, mqtt: Mqtt, topics: tuple[str, ...], *, retained: bool = False) -> None:
        """Nothing is connected yet. `topics` may have wildcards.

        `retained`: hear what the broker keeps below them, at once and after each reconnect.

        Raises:
            ConfigError: a file of `mqtt` cannot be used.
        """
        self.where = f"{mqtt.host}:{mqtt.port}"
        # what comes in, and why to stop; unbounded: a person's few messages a second
        self._heard: SimpleQueue[Message | BaseException] = SimpleQueue()
        session = Session(
            client_id=f"framebuf-caller-{made_up_id()[2:]}",
            subscriptions=topics,
            retained=retained,
        )
        self._broker = Broker(mqtt, session, Counters(), on_message=self._hear)

    @property
    def trouble(self) -> str | None:
        """What keeps us from the broker, or from a topic, in words."""
        if self._broker.connected.is_set():
            return self._broker.trouble
        return f"{self._broker.trouble or 'no broker yet'}; what stands here is old"

    def connect(self, timeout_s: float = 5.0) -> None:
        """Connect and subscribe.

        Raises:
            NoAnswerError: the broker is away, or refuses us.
        """
        self._broker.start()
        if not self._broker.connected.wait(timeout_s):
            why = self._broker.trouble or f"no answer from the broker {self.where}"
            raise NoAnswerError(f"{why}; is it running, and are host, port and credentials right?")

    def send(self, topic: str, document: dict[str, Any]) -> None:
        """Publish a document."""
        self._broker.publish(Outgoing(topic, msgspec.json.encode(document)))

    def hear(self, timeout_s: float) -> Message | None:
        """The next message; None: there was none in time.

        Raises:
            FramebufError: the visitor was failed meanwhile.
        """
        try:
            message = self._heard.get(timeout=max(0.0, timeout_s))
        except Empty:
            return None
        if isinstance(message, FramebufError):
            raise message
        if isinstance(message, BaseException):
            what = f"{type(message).__name__}: {message}"
            raise FramebufError(f"the daemon failed: {what}") from message
        return message

    def hear_all(self, timeout_s: float) -> list[Message]:
        """What comes in so many seconds."""
        end = time.monotonic() + timeout_s
        heard = []
        while (left := end - time.monotonic()) > 0:
            message = self.hear(left)
            if message is None:
                break
            heard.append(message)
        return heard

    def fail(self, error: BaseException) -> None:
        """Why there is nothing more to hear: whoever hears gets it, behind what has come."""
        self._heard.put(error)

    def close(self) -> None:
        self._broker.stop()

    def _hear(self, message: Message) -> None:
        self._broker.acknowledge(message)
        self._heard.put(message)

    def __enter__(self) -> Visitor:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Visitor of {self.where}>"
