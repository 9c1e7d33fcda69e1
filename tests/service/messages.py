"""Messages as they arrived, and all that was said about one id."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived."""

    order: int
    topic: str
    document: Any
    """Parsed JSON; None where the payload is none."""
    payload: bytes = b""
    retain: bool = False
    """As published."""
    qos: int | None = 1
    """None: it was subscribed to with 0, and how it was published is not to be seen."""
    arrived_s: float = 0.0
    """Monotonic seconds."""
    correlation: bytes | None = None
    """Its Correlation Data."""

    @property
    def leaf(self) -> str:
        """`ack`, `result`, `done`, `trigger`, `availability` …; pictures are `image`."""
        parts = self.topic.split("/")
        return "image" if parts[-3:-2] == ["image"] else parts[-1]

    @property
    def camera(self) -> str:
        """The level above the leaf; the node's name for the node's own topics."""
        return self.topic.split("/")[-2]

    @property
    def id(self) -> str | None:
        found = self.document.get("id") if isinstance(self.document, dict) else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Request:
    """All that was said about one id on one camera."""

    id: str
    acks: tuple[Message, ...]
    results: tuple[Message, ...]
    dones: tuple[Message, ...]

    @classmethod
    def of(cls, messages: Iterable[Message], id: str, camera: str | None = None) -> Request:
        """Pick out an id; it may serve several cameras, then `camera` says which is meant."""
        mine = [m for m in messages if m.id == id and (camera is None or m.camera == camera)]
        acks, results, dones = (
            tuple(m for m in mine if m.leaf == leaf) for leaf in ("ack", "result", "done")
        )
        return cls(id, acks, results, dones)

    @property
    def done(self) -> Document:
        found: Document = self.dones[0].document
        return found

    @property
    def by_index(self) -> dict[int, Document]:
        """Results by index; of one that came again after a crash, the first."""
        found: dict[int, Document] = {}
        for message in self.results:
            found.setdefault(message.document["index"], message.document)
        return found

    def newest_before(self, done: Message) -> dict[int, Document]:
        """Results by index that came before a done; of one that came again, the last of those."""
        return {
            message.document["index"]: message.document
            for message in self.results
            if message.order < done.order
        }


def parse(payload: bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, no name twice; None for anything else."""
    try:
        return json.loads(payload, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice in one object")
    return found
