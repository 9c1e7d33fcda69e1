"""The other side of the contract: send a trigger, hear its ack, results and done."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
    from collections.abc import Iterator
    from types import TracebackType

    from framebuf.config import Mqtt
    from framebuf.contract import Topics
    from framebuf.service.message import Message

LEAVES = ("ack", "result", "done")


class NoAnswerError(FramebufError):
    """The broker or the node did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One message about a trigger."""

    leaf: str
    """`ack`, `result` or `done`."""
    document: dict[str, Any]


class Caller:
    """A connection for triggers to one camera. One thread."""

    def __init__(self, mqtt: Mqtt, topics: Topics, camera: str) -> None:
        self._mqtt = mqtt
        self._camera = camera
        self._topics = topics
        self._heard: SimpleQueue[Message] = SimpleQueue()
        session = Session(
            client_id=f"framebuf-caller-{made_up_id()[2:]}",
            subscriptions=tuple(topics.of_camera(camera, leaf) for leaf in LEAVES),
        )
        self._broker = Broker(mqtt, session, Counters(), on_message=self._hear)

    def connect(self, timeout_s: float = 5.0) -> None:
        """Connect and subscribe.

        Raises:
            NoAnswerError: the broker is away, or refuses us.
        """
        self._broker.start()
        if not self._broker.connected.wait(timeout_s):
            where = f"{self._mqtt.host}:{self._mqtt.port}"
            why = self._broker.trouble or f"no answer from the broker {where}"
            raise NoAnswerError(f"{why}; is it running, and are host, port and credentials right?")

    def trigger(self, document: dict[str, Any], timeout_s: float) -> Iterator[Answer]:
        """Send a trigger with an id, and yield what comes back, until done or a rejecting ack.

        Raises:
            NoAnswerError: nothing more came for `timeout_s`.
        """
        payload = msgspec.json.encode(document)
        self._broker.publish(Outgoing(self._topics.of_camera(self._camera, "trigger"), payload))
        while True:
            answer = self._next(timeout_s)
            if answer.document.get("id") != document["id"]:
                continue
            yield answer
            rejected = answer.leaf == "ack" and answer.document.get("status") == "rejected"
            if answer.leaf == "done" or rejected:
                return

    def close(self) -> None:
        self._broker.stop()

    def _next(self, timeout_s: float) -> Answer:
        end = time.monotonic() + timeout_s
        while True:
            try:
                message = self._heard.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                raise NoAnswerError(
                    f"no answer from {self._topics.of_camera(self._camera, 'trigger')} within "
                    f"{timeout_s:g} s; is the node running, and is that its name?"
                ) from None
            try:
                document = msgspec.json.decode(message.payload)
            except msgspec.DecodeError:
                continue  # somebody else's message on our topic
            if isinstance(document, dict):
                return Answer(message.topic.rpartition("/")[2], document)

    def _hear(self, message: Message) -> None:
        self._broker.acknowledge(message)
        self._heard.put(message)

    def __enter__(self) -> Caller:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
