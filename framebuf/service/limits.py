"""What the broker takes: told on connecting, or learned from what it refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.service.outbox import Outgoing


class Limits:
    """Only the publisher's thread; any may read `max_packet`."""

    def __init__(self) -> None:
        self.max_packet: int | None = None
        """Bytes of the largest packet that the broker takes, as far as known."""
        self._learned: int | None = None  # as max_packet, from refusals; kept over connections
        self._given_up: set[str] = set()  # retained topics of the node, on which the broker closes

    def told(self, max_packet: int | None) -> None:
        """The broker took a connection, and named this limit or none."""
        self.max_packet = min(filter(None, (max_packet, self._learned)), default=None)

    def learn(self, refused: Outgoing) -> None:
        """The broker has a limit that it did not tell before."""
        self._learned = min(self._learned or refused.size(), refused.size() - 1)
        self.max_packet = min(self.max_packet or self._learned, self._learned)

    def give_up(self, message: Outgoing) -> None:
        """Connections end over it; a retained one would be in the next greeting."""
        if message.retain:
            self._given_up.add(message.topic)

    def fitting(self, message: Outgoing) -> Outgoing | None:
        """The message, or what is left of it, so that the broker takes it; None: it never will.

        Sent as it is, it would end the connection, and the next one, and so on for ever.
        """
        limit = self.max_packet
        if message.retain and message.topic in self._given_up:
            return None
        if limit is None or (size := message.size()) <= limit:
            return message
        if message.smaller is None:
            return None
        room = limit - (size - len(message.payload))
        less = replace(message, payload=message.smaller(message.payload, room), smaller=None)
        return less if less.size() <= limit else None

    def __repr__(self) -> str:
        return f"<Limits {self.max_packet or 'no'} bytes, {len(self._given_up)} topics given up>"
