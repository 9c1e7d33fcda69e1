"""A thread's sign of life."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading

DEAD_NS = 3600 * SECOND_NS
"""How long a thread that has ended counts as silent: longer than anybody waits."""


class Pulse:
    """What a thread does: it is at work since its last beat, or rests until there is work.

    The thread itself beats and rests; any thread asks.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        self._since_ns: int | None = None  # monotonic; a reference, set by the thread, read by all

    @property
    def name(self) -> str:
        """The thread's, as the log shows it."""
        return self._thread.name

    def beat(self) -> None:
        """A piece of work begins, or gets on."""
        self._since_ns = time.monotonic_ns()

    def rest(self) -> None:
        """Nothing is to be done until something comes, however long that takes."""
        self._since_ns = None

    def silent_ns(self, now_ns: int) -> int:
        """How long the thread has been at one piece of work; 0 while it rests or has not begun.

        One that has ended is silent for ever: it should not have, though no exception tells.
        """
        if self._thread.ident is not None and not self._thread.is_alive():
            return DEAD_NS
        since_ns = self._since_ns
        return 0 if since_ns is None else now_ns - since_ns

    def __repr__(self) -> str:
        if self._thread.ident is not None and not self._thread.is_alive():
            return f"<Pulse {self._thread.name} ended>"
        return f"<Pulse {self._thread.name} {'rests' if self._since_ns is None else 'works'}>"
