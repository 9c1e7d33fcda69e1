"""Where else an answer goes: the Response Topic of MQTT 5, if it is one that is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf import contract
from framebuf.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.service.message import Message


@dataclass(frozen=True, slots=True)
class Response:
    """Where the sender of a trigger wants its answers, besides the camera's own topics."""

    topic: str
    correlation: bytes | None


# Brokers refuse these, and the client would then try for ever
_UNUSABLE = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Responses:
    """Judges Response Topics. Any thread."""

    def __init__(self, prefixes: Sequence[str], own: str) -> None:
        """`own` is the node's own topic, below which nobody may make it write."""
        self._prefixes = tuple(prefix.rstrip("/") for prefix in prefixes)
        self._own = own

    def of(self, message: Message) -> Response | None:
        """The one that a trigger asks for.

        Raises:
            ContractError: `bad_response_topic`.
        """
        topic = message.response_topic
        if topic is None:
            return None
        fault = self._fault(topic)
        if fault:
            raise ContractError("bad_response_topic", fault, contract.read_id(message.payload))
        return Response(topic, message.correlation)

    def _fault(self, topic: str) -> str:
        if not topic or _UNUSABLE.search(topic):
            return "a topic without wildcards and control characters is wanted"
        if topic.startswith("$"):
            return "topics that begin with $ are the broker's"
        if _is_below(topic, self._own) or topic.rpartition("/")[2] == "trigger":
            return "the node's own topics and triggers are none"
        if not any(_is_below(topic, prefix) for prefix in self._prefixes):
            return "it is not below a prefix of mqtt.response_prefix"
        return ""


def _is_below(topic: str, prefix: str) -> bool:
    """By whole levels; a topic is below itself."""
    return topic == prefix or topic.startswith(f"{prefix}/")
