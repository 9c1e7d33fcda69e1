"""Post: what goes out, held until the journal has what it is about."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.service.broker import Broker
    from framebuf.service.message import Message
    from framebuf.service.outbox import Outgoing


class Post:
    """In front of the broker, in order. Only the requests' thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._held: list[Callable[[], None]] = []  # bounded by the events of one turn

    @property
    def max_packet(self) -> int | None:
        """As the broker's."""
        return self._broker.max_packet

    def publish(self, message: Outgoing) -> None:
        self._held.append(partial(self._broker.publish, message))

    def answer_stranger(self, message: Outgoing) -> None:
        self._held.append(partial(self._broker.answer_stranger, message))

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is taken care of (PUBACK)."""
        self._held.append(partial(self._broker.acknowledge, message))

    def send(self) -> None:
        """Let go of all that is held."""
        held, self._held = self._held, []
        for call in held:
            call()

    def __repr__(self) -> str:
        return f"<Post {len(self._held)} held>"
