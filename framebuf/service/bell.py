"""A bell: wakes a thread that waits."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """One thread waits for it; any rings, and so may signal handlers.

    A lock and nothing more. Waiting for a threading.Event is ten calls, which is much in a process
    that does nothing else; and a signal handler that sets one while the thread it interrupts is
    about to wait for it never returns.
    """

    def __init__(self) -> None:
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def ring(self) -> None:
        """End the wait that is under way, or the next one."""
        with suppress(RuntimeError):  # it rings already
            self._quiet.release()

    def wait(self, seconds: float) -> bool:
        """Return when it rings; False: after so many seconds it has not."""
        return self._quiet.acquire(timeout=max(0.0, seconds))

    def __repr__(self) -> str:
        return f"<Bell {'quiet' if self._quiet.locked() else 'rings'}>"
