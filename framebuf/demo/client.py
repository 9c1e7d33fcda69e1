"""The demo's MQTT client: sends triggers, and hears what comes back for anybody's."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from framebuf.errors import FramebufError
from framebuf.service.broker import Broker
from framebuf.service.caller import LEAVES, Answer
from framebuf.service.health import Counters
from framebuf.service.message import Message, Session
from framebuf.service.orders import made_up_id
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from framebuf.config import Mqtt
    from framebuf.contract import Topics

_CONNECT_S = 10.0

Inbox = SimpleQueue[Message | BaseException]
"""What comes in, and why a thread of the demo ended. Unbounded: a demo's few messages a second."""


class Client:
    """A connection of its own, as a user's program would have. One thread calls it."""

    def __init__(self, mqtt: Mqtt, topics: Topics, camera: str, inbox: Inbox) -> None:
        self.topic = topics.of_camera(camera, "trigger")
        self._inbox = inbox
        self._status = topics.of_node("status")
        answers = (topics.of_camera(camera, leaf) for leaf in LEAVES)
        session = Session(
            client_id=f"framebuf-demo-{made_up_id()[2:]}",
            subscriptions=(self._status, *answers),
        )
        self._broker = Broker(mqtt, session, Counters(), on_message=self._hear)

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            FramebufError: the broker does not answer.
        """
        self._broker.start()
        if not self._broker.connected.wait(_CONNECT_S):
            raise FramebufError(f"the demo's broker did not answer within {_CONNECT_S:g} s")

    def send(self, trigger: dict[str, Any]) -> None:
        """Publish a trigger."""
        self._broker.publish(Outgoing(self.topic, msgspec.json.encode(trigger)))

    def hear(self, timeout_s: float) -> Answer | None:
        """The next message; None: there was none in time. The node's status has the leaf `status`.

        Raises:
            FramebufError: the daemon failed meanwhile.
        """
        try:
            message = self._inbox.get(timeout=max(0.0, timeout_s))
        except Empty:
            return None
        if isinstance(message, FramebufError):
            raise message
        if isinstance(message, BaseException):
            what = f"{type(message).__name__}: {message}"
            raise FramebufError(f"the daemon failed: {what}") from message
        if message.topic == self._status:
            return Answer("status", {"status": message.payload.decode()})
        return Answer(message.topic.rpartition("/")[2], msgspec.json.decode(message.payload))

    def close(self) -> None:
        self._broker.stop()

    def _hear(self, message: Message) -> None:
        self._broker.acknowledge(message)
        self._inbox.put(message)
