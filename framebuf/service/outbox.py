"""What goes out: the node's own queue in front of the MQTT client's."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """One message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    acknowledged: Callable[[], None] | None = None
    """Called once the broker has it (QoS 1). On the publisher's thread."""


class Outbox:
    """Messages in order, at most `WINDOW` of them on their way. Only the publisher's thread.

    The client keeps what it was given over a lost connection and sends it again by itself, so it
    is given no more than the window. Bounded by the senders: the requests that may be open, and
    `Broker.publish` for what strangers cause.
    """

    WINDOW = 20
    """paho slows down beyond (it scans a list on each PUBACK), and brokers stop there."""

    def __init__(self) -> None:
        self._waiting: deque[Outgoing] = deque()
        self._under_way: dict[int, Outgoing] = {}

    def add(self, message: Outgoing) -> None:
        self._waiting.append(message)

    def add_first(self, messages: list[Outgoing]) -> None:
        self._waiting.extendleft(reversed(messages))

    def drop_retained(self) -> None:
        """Forget states that wait; a newer one will be told."""
        self._waiting = deque(message for message in self._waiting if not message.retain)

    def next(self) -> Outgoing | None:
        """The next that may be published now."""
        if not self._waiting or len(self._under_way) >= self.WINDOW:
            return None
        return self._waiting.popleft()

    def sent(self, mid: int, message: Outgoing) -> None:
        """The client has it, as packet `mid`; QoS 1."""
        self._under_way[mid] = message

    def acknowledge(self, mid: int) -> Outgoing | None:
        """The broker has packet `mid`."""
        return self._under_way.pop(mid, None)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def __repr__(self) -> str:
        return f"<Outbox {len(self._waiting)} waiting, {len(self._under_way)} under way>"
