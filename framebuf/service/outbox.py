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
    """Called once the broker has answered for it, or will never have it. The publisher's thread."""
    correlation: bytes | None = None
    """The Correlation Data of the trigger that it answers."""
    smaller: Callable[[bytes, int], bytes] | None = None
    """What to send in place of a payload that does not fit into so many bytes; the result may still
    not fit. None: nothing can be left out."""
    tries: int = 0
    """How often the broker has refused it for quota."""

    def size(self) -> int:
        """Bytes of its packet (MQTT 5.0, section 3.3)."""
        properties = 3 + len(self.correlation) if self.correlation is not None else 0
        rest = 2 + len(self.topic.encode()) + 2 + _with_length(properties) + len(self.payload)
        return 1 + _with_length(rest)


def _with_length(count: int) -> int:
    """So many bytes, behind their number as a variable byte integer."""
    return count + 1 + sum(count >= limit for limit in (1 << 7, 1 << 14, 1 << 21))


class Outbox:
    """Messages in order, at most `window` of them on their way. Only the publisher's thread.

    The client is given no more than the window. Bounded by the senders: the requests that may be
    open, and `Broker.answer_stranger` for what strangers cause. A retained message takes the place
    of one for the same topic that still waits.
    """

    WINDOW = 20
    """The most: brokers stop there."""
    MAX_LOSSES = 4
    """So many connections in a row may end over one message; then it is given up."""

    def __init__(self) -> None:
        self.window = self.WINDOW
        self._singly = 0  # messages that go one by one, to find the one that ends connections
        self._suspect = ""  # the topic of the last message that was alone when one ended
        self._losses = 0
        self._held: list[Outgoing] = []
        self._waiting: deque[Outgoing] = deque()
        self._under_way: dict[int, Outgoing] = {}

    def add(self, message: Outgoing) -> None:
        if message.retain:
            self._drop_retained({message.topic})
        self._waiting.append(message)

    def add_first(self, messages: list[Outgoing]) -> None:
        self._drop_retained({message.topic for message in messages if message.retain})
        self._waiting.extendleft(reversed(messages))

    def next(self) -> Outgoing | None:
        """The next that may be published now."""
        if (
            self._held
            or not self._waiting
            or len(self._under_way) >= (1 if self._singly else self.window)
        ):
            return None
        return self._waiting.popleft()

    @property
    def is_held(self) -> bool:
        """Whether nothing is on its way, and what was refused is held back: until `release`."""
        return bool(self._held) and not self._under_way

    def hold(self, message: Outgoing) -> None:
        """It was refused, and may be taken later; until then nothing overtakes it."""
        self._held.append(message)

    def release(self) -> None:
        """What was held goes first, in its order, and one by one: the next may be refused too."""
        self._waiting.extendleft(reversed(self._held))
        self._held.clear()
        self._singly = 2 * self.WINDOW

    def sent(self, mid: int, message: Outgoing) -> None:
        """The client has it, as packet `mid`; QoS 1."""
        self._under_way[mid] = message

    def acknowledge(self, mid: int) -> Outgoing | None:
        """The broker has answered for packet `mid`."""
        message = self._under_way.pop(mid, None)
        if message is not None:
            self._singly = max(0, self._singly - 1)
            if message.topic == self._suspect:
                self._suspect, self._losses = "", 0
        return message

    def recall(self, max_losses: int = MAX_LOSSES) -> Outgoing | None:
        """The connection is gone: what was under way goes first on the next one, in its order.

        Returns a message that has ended too many connections, which is given up: some brokers
        close on what they do not take, and would do so for ever.
        """
        lost = list(self._under_way.values())
        self._under_way.clear()
        if lost:
            self._singly = 2 * self.WINDOW
        poison = None
        if len(lost) == 1:
            self._losses = self._losses + 1 if lost[0].topic == self._suspect else 1
            self._suspect = lost[0].topic
            if self._losses >= max_losses:
                self._suspect, self._losses = "", 0
                poison = lost.pop()
        self._waiting.extendleft(reversed(lost))
        if self._held:  # it was sent before those
            self.release()
        return poison

    def _drop_retained(self, topics: set[str]) -> None:
        if any(message.retain and message.topic in topics for message in self._waiting):
            kept = (m for m in self._waiting if not (m.retain and m.topic in topics))
            self._waiting = deque(kept)

    def __len__(self) -> int:
        return len(self._held) + len(self._waiting) + len(self._under_way)

    def __repr__(self) -> str:
        waiting = len(self._held) + len(self._waiting)
        return f"<Outbox {waiting} waiting, {len(self._under_way)} under way>"
