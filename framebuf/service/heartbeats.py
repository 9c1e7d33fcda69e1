"""Heartbeats: which of the threads shows no life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Silence = Callable[[int], int]
    """How long a thread has been silent at a monotonic moment; both in nanoseconds."""


class Heartbeats:
    """Whom the watchdog listens to. Any thread asks; those asked answer at once."""

    def __init__(self, limit_ns: int) -> None:
        """`limit_ns`: who is silent for longer hangs."""
        self.limit_ns = limit_ns
        self._silences: dict[str, Silence] = {}

    def watch(self, thread: str, silence: Silence) -> None:
        """Listen to a thread, by the name that the log shows."""
        self._silences[thread] = silence

    def silent(self, now_ns: int) -> dict[str, int]:
        """The threads that hang at this monotonic moment, and for how many nanoseconds."""
        found = ((thread, silence(now_ns)) for thread, silence in tuple(self._silences.items()))
        return {thread: silent_ns for thread, silent_ns in found if silent_ns > self.limit_ns}

    def __repr__(self) -> str:
        return f"<Heartbeats of {len(self._silences)} threads, {self.limit_ns / 1e9:g} s>"
