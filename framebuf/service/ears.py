"""What a connection tells, and whom: how it began, what came by it, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.service.connection import Connection
    from framebuf.service.message import Message, Refusal

EndKind = Literal[
    "unreachable", "closed", "version", "refused", "taken_over", "lost", "garbled", "left"
]


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended."""

    kind: EndKind
    """`closed` is before any CONNACK, without a reason; `garbled` over a packet that paho cannot
    read, such as mosquitto's "packet too large" to a publish, a code that MQTT has not there;
    `left` was our own wish."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the broker said when it took the connection."""

    resumed: bool
    max_packet: int | None
    """Bytes of the largest packet that it takes; None: it names no limit."""
    window: int
    """Messages that may be on their way to it at once."""


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told what. Called on the connection's thread; may not wait."""

    welcomed: Callable[[Connection, Welcome], None]
    received: Callable[[Message], None]
    published: Callable[[int, Refusal | None], None]
    """The broker has answered for packet `mid`; with its reason where it did not take it."""
    unsubscribed: Callable[[str, str], None]
    """The broker denies a topic: the topic, and why."""
