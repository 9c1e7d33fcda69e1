"""What passes between the node and a connection to the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.service.connection import Connection
    from framebuf.service.outbox import Outgoing
    from framebuf.units import Moment


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message that came in."""

    topic: str
    payload: bytes
    received: Moment
    retained: bool = False
    kept: bool = False
    """The broker may have kept it while the node was away: DUP, or right after resuming."""
    qos: int = 1
    mid: int = 0
    connection: Connection | None = None
    """The one it came by, on which alone it may be acknowledged."""
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    """Message Expiry, what was left of it at receipt."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the broker did not take a message (MQTT 5 alone tells)."""

    why: str
    denied: bool = False
    too_large: bool = False
    quota: bool = False
    """It may take it later."""


@dataclass(frozen=True, slots=True)
class Session:
    """How the node presents itself."""

    client_id: str
    subscriptions: tuple[str, ...]
    retained: bool = False
    """Whether to be told what the broker keeps on them; MQTT 3.1.1 always tells."""
    expiry_s: int = 0
    """How long the broker keeps the session; 0: a clean one each time."""
    will: Outgoing | None = None
    will_delay_s: int = 10
    max_packet: int = 2**28 - 1
    """What the broker may send at most, bytes; the default is MQTT's own limit."""
