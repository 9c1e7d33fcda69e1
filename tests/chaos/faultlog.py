"""The faults that a storm injected, and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Fault:
    """Monotonic seconds; one that has not ended goes on."""

    kind: str
    from_s: float
    until_s: float = float("inf")


class FaultLog:
    """Any thread adds and asks; `_lock` guards the list."""

    KINDS = (
        "kill", "hang", "broker_restarted", "broker_lost", "withheld", "cut", "stalled",
        "camera_frozen", "camera_killed",
    )  # fmt: skip
    """`hang` is a life that the watchdog ended; `broker_lost` began anew without its state."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    @contextmanager
    def during(self, kind: str) -> Iterator[Fault]:
        fault = Fault(kind, time.monotonic())
        self.add(fault)
        try:
            yield fault
        finally:
            fault.until_s = time.monotonic()

    def add(self, fault: Fault) -> None:
        assert fault.kind in self.KINDS
        with self._lock:
            self._faults.append(fault)

    def between(self, from_s: float, until_s: float, *kinds: str) -> list[Fault]:
        """Those of some kinds (none named: of all) that overlap with a time."""
        with self._lock:
            return [
                fault
                for fault in self._faults
                if fault.kind in (kinds or self.KINDS)
                and fault.from_s <= until_s
                and fault.until_s >= from_s
            ]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(Counter(fault.kind for fault in self._faults))

    def __repr__(self) -> str:
        return f"<FaultLog {', '.join(f'{n} {kind}' for kind, n in self.counts().items())}>"
