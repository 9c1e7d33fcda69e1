"""Post: what goes out, held until the journal has what it is about."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from framebuf.service.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.service.broker import Broker
    from framebuf.service.message import Message
    from framebuf.service.outbox import Outgoing


WAITING = 8
"""Answers to strangers on whose way to the broker a trigger's PUBACK waits: less than half of what
a broker has under way by default. One that confirms nothing must not keep other triggers back."""


class Post:
    """In front of the broker, in order. Only the requests' thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._held: list[Callable[[], None]] = []  # bounded by the events of one turn
        self._receipts: list[Receipt] = []  # of the triggers of this turn
        self._may_wait = threading.Semaphore(WAITING)

    @property
    def max_packet(self) -> int | None:
        """As the broker's."""
        return self._broker.max_packet

    def publish(self, message: Outgoing) -> None:
        self._held.append(partial(self._broker.publish, message))

    def answer_stranger(self, message: Outgoing) -> None:
        """Part of the answer to the trigger that was taken last."""
        if self._receipts and self._may_wait.acquire(blocking=False):
            confirmed = partial(self._confirm, self._receipts[-1].wait())
            message = replace(message, acknowledged=confirmed)
        self._held.append(partial(self._broker.answer_stranger, message))

    def take(self, message: Message) -> None:
        """Begin with a trigger."""
        self._receipts.append(Receipt(partial(self._broker.acknowledge, message)))

    def acknowledge(self) -> None:
        """Have the broker told that what was taken is taken care of (PUBACK).

        That is now; of a trigger that strangers were answered for, once the broker has the answer,
        unless too many wait for that.
        """
        self._held += [receipt.settle for receipt in self._receipts]
        self._receipts.clear()

    def send(self) -> None:
        """Let go of all that is held."""
        held, self._held = self._held, []
        for call in held:
            call()

    def _confirm(self, settle: Callable[[], None]) -> None:
        """The broker has an answer. On any thread."""
        self._may_wait.release()
        settle()

    def __repr__(self) -> str:
        return f"<Post {len(self._held)} held>"
