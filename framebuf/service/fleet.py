"""Every node below a base topic, as seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.service.sighting import Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from framebuf.service.message import Message
    from framebuf.service.visitor import Visitor

STILL_S = 0.25
STILL = 4
"""So many times in a row nothing came in STILL_S: the broker has told what it keeps. One longer
wait would end early where this process alone stood still."""

RETAINED = ("status", "info", "+/availability")
"""Below a node."""


class Fleet:
    """Nodes by name. One thread."""

    def __init__(self, base: str) -> None:
        self._prefix = f"{base}/"
        self._nodes: dict[str, Sighting] = {}

    @property
    def nodes(self) -> list[Sighting]:
        """Those that the broker knows, by name; one whose retained topics were cleared is none."""
        found = sorted(self._nodes.items())
        return [node for _, node in found if node.status is not None or node.info is not None]

    def node(self, name: str) -> Sighting:
        """What is known of a node, however little."""
        return self._nodes.setdefault(name, Sighting(name))

    def take(self, messages: Iterable[Message]) -> None:
        """Read messages; what is not below the base topic is passed over."""
        for message in messages:
            name, _, path = message.topic.removeprefix(self._prefix).partition("/")
            if message.topic.startswith(self._prefix) and path:
                self.node(name).take(path.split("/"), message.payload)

    def look(self, visitor: Visitor, timeout_s: float, whole: Callable[[Sighting], bool]) -> None:
        """Hear until the broker has told what it keeps, `timeout_s` at most.

        No broker says when that is: no more of it comes, and every node that was seen is `whole`.
        """
        still = 0
        for _ in range(max(1, round(timeout_s / STILL_S))):
            heard = visitor.hear_all(STILL_S)
            self.take(heard)
            kept = any(message.retained for message in heard)
            still = 0 if kept else still + 1
            if still >= STILL and self.nodes and all(map(whole, self.nodes)):
                return

    def __repr__(self) -> str:
        online = sum(node.is_online for node in self.nodes)
        return f"<Fleet {self._prefix} {online} of {len(self.nodes)} nodes online>"
