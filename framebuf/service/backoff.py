"""How long to wait: before the next connection, and before sending again what was refused."""

from __future__ import annotations

import random
import time

FIRST_S = 0.5
MAX_S = 20.0
STEADY_S = 30.0
"""A connection that lasted as long was a good one; the next wait is short again."""


LEAST = 0.1
"""The shortest wait, of the longest that it could be: a broker that restarts loses all nodes of a
fleet in one moment, and is to have them back over as long a time as can be."""


class Backoff:
    """Doubling waits with jitter. Only the thread that connects.

    A connection that is soon lost again counts as a failure: two nodes that take one client id
    from each other would otherwise do nothing else.
    """

    def __init__(self) -> None:
        self.failures = 0

    def next_s(self, lasted_s: float = 0.0) -> float:
        """Seconds to wait, after a connection that lasted so long; 0: there was none."""
        if lasted_s >= STEADY_S:
            self.failures = 0
        ceiling = min(MAX_S, FIRST_S * (1 << min(self.failures, 16)))
        self.failures += 1
        return ceiling * random.uniform(LEAST, 1.0)

    def __repr__(self) -> str:
        return f"<Backoff {self.failures} failures>"


class Pause:
    """How long to hold back what the broker refused: a quarter of a second, doubling to eight."""

    FIRST_S, LONGEST_S = 0.25, 8.0

    def __init__(self) -> None:
        self._next_s = self.FIRST_S
        self._until_s = 0.0

    def begin(self) -> None:
        """A refusal; one that comes while a pause lasts belongs to it."""
        if self.left_s() <= 0:
            self._until_s = time.monotonic() + self._next_s
            self._next_s = min(2 * self._next_s, self.LONGEST_S)

    def reset(self) -> None:
        """The broker takes messages: the next pause is short again."""
        self._next_s = self.FIRST_S

    def left_s(self) -> float:
        """How long it still lasts; not above 0: it is over."""
        return self._until_s - time.monotonic()

    def __repr__(self) -> str:
        return f"<Pause {max(0.0, self.left_s()):.1f} s left>"
