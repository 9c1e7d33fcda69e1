"""The other side of the contract: send triggers, hear their acks, results and done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from framebuf.service.visitor import NoAnswerError, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framebuf.config import Mqtt
    from framebuf.contract import Topics
    from framebuf.service.message import Message

LEAVES = ("ack", "result", "done")


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
        self._status = topics.of_node("status")
        answers = (topics.of_camera(camera, leaf) for leaf in LEAVES)
        self._visitor = Visitor(mqtt, (self._status, *answers))

    def connect(self, timeout_s: float = 5.0) -> None:
        """Connect and subscribe.

        Raises:
            NoAnswerError: the broker is away, or refuses us.
        """
        self._visitor.connect(timeout_s)

    def send(self, document: dict[str, Any]) -> None:
        """Publish a trigger."""
        self._visitor.send(self.topic, document)

    def hear(self, timeout_s: float) -> Answer | None:
        """The next message about anybody's trigger; None: there was none in time.

        Raises:
            FramebufError: the caller was failed meanwhile.
        """
        end = time.monotonic() + timeout_s
        while (message := self._visitor.hear(end - time.monotonic())) is not None:
            if (answer := self._read(message)) is not None:
                return answer
        return None

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
        self._visitor.fail(error)

    def close(self) -> None:
        self._visitor.close()

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

    def __enter__(self) -> Caller:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Caller of {self.topic} on {self._visitor.where}>"
