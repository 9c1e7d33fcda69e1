"""How long to wait before the next connection."""

from __future__ import annotations

import random

FIRST_S = 0.5
MAX_S = 20.0
STEADY_S = 30.0
"""A connection that lasted as long was a good one; the next wait is short again."""


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
        return ceiling * random.uniform(0.5, 1.0)

    def __repr__(self) -> str:
        return f"<Backoff {self.failures} failures>"
