"""When: a file's frames paced, a camera's measured and thinned, a lost camera tried again."""

from __future__ import annotations

import random
import time
from time import sleep
from typing import TYPE_CHECKING

from framebuf.capture.source import now
from framebuf.errors import SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    import threading

    from framebuf.units import Moment

_BEHIND_NS = SECOND_NS
_SHORT_S = 0.035
"""From frame to frame at 30 a second; whoever stops a file can wait for so long."""


class Pacer:
    """Makes frames of a file or a folder arrive at their own pace."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._due_ns: int | None = None

    def wait(self, step_ns: int) -> Moment:
        """Wait until `step_ns` after the frame before was due; the first is due at once.

        More than a second behind, the pace starts anew from here: no burst makes up for it.

        Raises:
            SourceError: the stop event is set.
        """
        now_ns = time.monotonic_ns()
        due_ns = now_ns if self._due_ns is None else self._due_ns + step_ns
        if now_ns - due_ns > _BEHIND_NS:
            due_ns = now_ns
        self._due_ns = due_ns
        left_s = max(0.0, (due_ns - now_ns) / SECOND_NS)
        if 0 < left_s <= _SHORT_S:  # waiting for an event costs a quarter of what a packet does
            sleep(left_s)
            stopped = self._stop.is_set()
        else:
            stopped = self._stop.wait(left_s)
        if stopped:
            raise SourceError("stopped")
        return now()


class Decimator:
    """Which frames to keep of those that come, by their stamps: `fps` a second on average.

    A frame is kept when it is not earlier than `due`; `due` then moves on by one period from
    where it was, so that lateness does not add up: one frame may follow sooner to make up for it.
    More than one and a half periods late (frames were away), it starts anew from the frame, so
    that a pause causes no burst; less would lose frames to jitter near the source's own rate. The
    start is a quarter period early: at the source's own rate jitter then costs nothing.
    """

    def __init__(self, fps: float | None) -> None:
        self._period_ns = round(SECOND_NS / fps) if fps else 0
        self._due_ns: int | None = None

    def keeps(self, stamp_ns: int) -> bool:
        """Whether the frame of this monotonic stamp is kept."""
        if not self._period_ns:
            return True
        if self._due_ns is not None and stamp_ns < self._due_ns:
            return False
        if self._due_ns is None or 2 * (stamp_ns - self._due_ns) > 3 * self._period_ns:
            self._due_ns = stamp_ns - self._period_ns // 4
        self._due_ns += self._period_ns
        return True


class Meter:
    """Measures the rate at which frames arrive, for a second or two of them.

    What arrives at first without a pause was held back while the source was opened, and says
    nothing.
    """

    _PAUSE_NS = 2 * 10**6
    _LONG_NS = SECOND_NS
    _STEPS = 12

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._from_ns: int | None = None  # the last of those that came without a pause
        self._steps = 0

    def count(self, arrived_ns: int) -> None:
        """A frame has arrived; monotonic."""
        if self._from_ns is None and self._last_ns is not None:
            paused = arrived_ns - self._last_ns >= self._PAUSE_NS
            self._from_ns = self._last_ns if paused else None
        self._last_ns = arrived_ns
        self._steps += self._from_ns is not None

    @property
    def enough(self) -> bool:
        """Whether more frames would say little more."""
        return self._steps >= self._STEPS or self._passed_ns() >= self._LONG_NS

    @property
    def rate(self) -> float | None:
        """Frames a second; None before the first pause."""
        passed_ns = self._passed_ns()
        return round(self._steps * SECOND_NS / passed_ns, 2) if passed_ns else None

    def _passed_ns(self) -> int:
        if self._from_ns is None or self._last_ns is None:
            return 0
        return self._last_ns - self._from_ns


class BackOff:
    """Seconds to wait before opening again: 0.25 doubling to 2, each ±25 %."""

    FIRST_S, LONGEST_S, JITTER = 0.25, 2.0, 0.25

    def __init__(self) -> None:
        self._next_s = self.FIRST_S

    def next_s(self) -> float:
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self.LONGEST_S)
        # so that cameras that went away together do not all come back at once
        return wait_s * random.uniform(1 - self.JITTER, 1 + self.JITTER)

    def reset(self) -> None:
        self._next_s = self.FIRST_S
