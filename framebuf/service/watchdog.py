"""The watchdog: fed while every thread shows life; our own where no service manager has one."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from framebuf.service import crash
from framebuf.service.heartbeats import Heartbeats
from framebuf.service.pulse import DEAD_NS
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.service.systemd import Notifier

_log = logging.getLogger(__name__)

OWN_S = 30.0
"""Where no service manager watches, as WatchdogSec of systemd/framebuf.service."""
SHARE = 3
"""A thread hangs that is silent for this part of the watchdog's time …"""
MEALS = 10
"""So often in its time it is fed, for each meal costs a datagram or a thread."""
LEAST_S = 2.0
"""… but for no less than this: a quiet thread turns once a second."""


class Watchdog:
    """Ends the process when a thread hangs, or this one. The main thread's, but for `hanging`.

    The service manager's is no longer fed then (WatchdogSec), and what it starts next goes on from
    the journal. A thread that comes back in time is forgiven.
    """

    def __init__(self, notifier: Notifier, *, own: bool) -> None:
        """`own`: have one where the service manager has none; it ends the process with 1."""
        self._notifier = notifier
        self._own = own and notifier.watchdog_s is None
        self.limit_s = notifier.watchdog_s or OWN_S
        """Unfed for so long, it bites."""
        limit_s = max(LEAST_S, self.limit_s / SHARE)
        self.heartbeats = Heartbeats(round(limit_s * SECOND_NS))
        self._silent: frozenset[str] = frozenset()
        self._turned_ns: int | None = None  # monotonic, the main thread; None: it need not now
        self._fed_s: float | None = None  # monotonic; None: hungry, whenever that was

    @property
    def interval_s(self) -> float:
        """How often to `feed`, at least; sd_watchdog_enabled(3) asks for twice in its time."""
        return self.limit_s / MEALS

    def wait(self, seconds: int, status: str) -> None:
        """At the start: something begins that may take so long, and cannot feed."""
        self._fed_s = None
        self._notifier.tell(EXTEND_TIMEOUT_USEC=str(seconds * 10**6), STATUS=status)
        if self._own:
            crash.end_process_later(seconds)

    def feed(self) -> None:
        """Feed it when it is time, unless a thread hangs; the log says which, once."""
        self._turned_ns = time.monotonic_ns()
        silent = self.heartbeats.silent(self._turned_ns)
        for who in sorted(silent.keys() - self._silent):
            how = f"hangs for {silent[who] / 1e9:.1f} s now"
            _log.error(
                "thread %s %s; the watchdog ends the process in %.1f s",
                who, "has ended" if silent[who] >= DEAD_NS else how, self.limit_s,
            )  # fmt: skip
        if self._silent and not silent:
            _log.warning("thread %s goes on after all", ", ".join(sorted(self._silent)))
            self._fed_s = None
        self._silent = frozenset(silent)
        if silent:
            return
        now_s = time.monotonic()
        if self._fed_s is not None and now_s - self._fed_s < self.limit_s / MEALS:
            return
        self._fed_s = now_s
        self._notifier.tell(WATCHDOG="1")
        if self._own:
            crash.end_process_later(self.limit_s)

    def hanging(self, now_ns: int) -> dict[str, int]:
        """The threads that hang, the main one too, and for how many nanoseconds. Any thread."""
        silent, turned_ns = self.heartbeats.silent(now_ns), self._turned_ns
        if turned_ns is not None and now_ns - turned_ns > self.heartbeats.limit_ns:
            silent["main"] = now_ns - turned_ns
        return silent

    def close(self) -> None:
        """Watch no longer: what comes next has its own time-outs."""
        self._turned_ns = None
        if self._own:
            crash.end_process_never()

    def __repr__(self) -> str:
        whose = "own" if self._own else "the service manager's"
        return f"<Watchdog {whose}, {self.limit_s:g} s, {len(self._silent)} silent>"
