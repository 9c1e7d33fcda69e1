"""The other side of the contract: send triggers, hear their acks, results and done."""

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

    from framebuf.config import Mqtt
    from framebuf.contract import Topics
    from framebuf.service.message import Message

LEAVES = ("ack", "result", "done")


class NoAnswerError(FramebufError):
    """The broker or the node did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One message about a trigger, whoever sent that."""

    leaf: str
    """`ack`, `result` or `done`; `status` is the node's own, as `{"status": "online"}`."""
    document: dict[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether nothing more comes about its trigger."""
        return self.leaf == "done" or self.document.get("status") == "rejected"


class Caller:
    """A connection of its own, as a user's program would have, to one camera of a node.

    One thread calls it; any thread may `fail` it.
    """

    def __init__(self, mqtt: Mqtt, topics: Topics, camera: str) -> None:
        """Nothing is connected yet.

        Raises:
            ConfigError: a file of `mqtt` cannot be used.
        """
        self.topic = topics.of_camera(camera, "trigger")
        self._where = f"{mqtt.host}:{mqtt.port}"
        self._status = topics.of_node("status")
        # what comes in, and why to stop; unbounded: a person's few messages a second
        self._heard: SimpleQueue[Message | BaseException] = SimpleQueue()
        answers = (topics.of_camera(camera, leaf) for leaf in LEAVES)
        session = Session(
            client_id=f"framebuf-caller-{made_up_id()[2:]}",
            subscriptions=(self._status, *answers),
        )
        self._broker = Broker(mqtt, session, Counters(), on_message=self._hear)

    def connect(self, timeout_s: float = 5.0) -> None:
        """Connect and subscribe.

        Raises:
            NoAnswerError: the broker is away, or refuses us.
        """
        self._broker.start()
        if not self._broker.connected.wait(timeout_s):
            why = self._broker.trouble or f"no answer from the broker {self._where}"
            raise NoAnswerError(f"{why}; is it running, and are host, port and credentials right?")

    def send(self, document: dict[str, Any]) -> None:
        """Publish a trigger."""
        self._broker.publish(Outgoing(self.topic, msgspec.json.encode(document)))

    def hear(self, timeout_s: float) -> Answer | None:
        """The next message about anybody's trigger; None: there was none in time.

        Raises:
            FramebufError: the caller was failed meanwhile.
        """
        end = time.monotonic() + timeout_s
        while True:
            try:
                message = self._heard.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                return None
            if isinstance(message, FramebufError):
                raise message
            if isinstance(message, BaseException):
                what = f"{type(message).__name__}: {message}"
                raise FramebufError(f"the daemon failed: {what}") from message
            if (answer := self._read(message)) is not None:
                return answer

    def trigger(self, document: dict[str, Any], timeout_s: float) -> Iterator[Answer]:
        """Send a trigger with an id, and yield what comes back, until done or a rejecting ack.

        Raises:
            NoAnswerError: nothing more came for `timeout_s`.
        """
        self.send(document)
        while (answer := self.hear(timeout_s)) is not None:
            if answer.document.get("id") != document["id"]:
                continue
            yield answer
            if answer.is_last:
                return
        raise NoAnswerError(
            f"no answer from {self.topic} within {timeout_s:g} s; "
            "is the node running, and is that its name?"
        )

    def fail(self, error: BaseException) -> None:
        """Why there is nothing more to hear: whoever hears gets it, behind what has come."""
        self._heard.put(error)

    def close(self) -> None:
        self._broker.stop()

    def _read(self, message: Message) -> Answer | None:
        """None: somebody else's message on our topic."""
        if message.topic == self._status:
            return Answer("status", {"status": message.payload.decode(errors="replace")})
        try:
            document = msgspec.json.decode(message.payload)
        except (msgspec.DecodeError, RecursionError):
            return None
        leaf = message.topic.rpartition("/")[2]
        return Answer(leaf, document) if isinstance(document, dict) else None

    def _hear(self, message: Message) -> None:
        self._broker.acknowledge(message)
        self._heard.put(message)

    def __enter__(self) -> Caller:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Caller of {self.topic} on {self._where}>"
