"""One trigger to many nodes, and what each of their cameras has answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.service.message import Message
    from framebuf.service.visitor import Visitor

ANSWERS = ("ack", "+/ack", "+/done")
"""Below a node."""


@dataclass(slots=True)
class Answered:
    """One camera's ack and done."""

    ack: dict[str, Any] | None = None
    done: dict[str, Any] | None = None

    @property
    def is_rejected(self) -> bool:
        return self.ack is not None and self.ack.get("status") == "rejected"

    def is_over(self, *, wait: bool) -> bool:
        """Whether nothing more is waited for; with `wait` that is the done of what it accepted."""
        return self.done is not None or (self.ack is not None and (self.is_rejected or not wait))


@dataclass(slots=True)
class Target:
    """One node's answers. `ack` is its own: it rejects what it is asked for as a whole."""

    cameras: dict[str, Answered]
    ack: dict[str, Any] | None = None

    def is_over(self, *, wait: bool) -> bool:
        return all(camera.is_over(wait=wait) for camera in self.cameras.values())


@dataclass(slots=True)
class Volley:
    """One thread."""

    base: str
    id: str
    targets: dict[str, Target] = field(default_factory=dict)

    def fire(
        self, visitor: Visitor, document: dict[str, Any], cameras: Mapping[str, Sequence[str]]
    ) -> None:
        """Send the trigger to nodes, each for its cameras: one message a node."""
        self.targets = {name: Target({c: Answered() for c in its}) for name, its in cameras.items()}
        for name, its in cameras.items():
            visitor.send(f"{self.base}/{name}/trigger", {**document, "cameras": list(its)})

    def take(self, message: Message) -> str | None:
        """Whose answer it is; None: it is none, or somebody else's."""
        if not message.topic.startswith(f"{self.base}/"):
            return None
        name, *path = message.topic.removeprefix(f"{self.base}/").split("/")
        target = self.targets.get(name)
        try:
            document = msgspec.json.decode(message.payload) if target else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if target is None or not isinstance(document, dict) or document.get("id") != self.id:
            return None
        if path == ["ack"]:
            target.ack = document
        elif len(path) == 2 and path[0] in target.cameras:
            if path[1] == "ack":
                target.cameras[path[0]].ack = document
            elif path[1] == "done":
                target.cameras[path[0]].done = document
        return name
