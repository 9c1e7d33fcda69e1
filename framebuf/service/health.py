"""What is counted, for `B/stats`."""

from __future__ import annotations

import threading
from collections import Counter

from framebuf.histogram import Histogram


class Counters:
    """Counts since the process started. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.publish = Histogram()
        """Seconds from a result on its way to the broker's word. The publisher's thread adds."""
        self.total = Histogram()
        """Seconds from a trigger's receipt to its done. The requests' thread adds."""

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(sorted(self._counts.items()))

    def __repr__(self) -> str:
        return f"<Counters {self.snapshot()}>"
