"""Up to which moment it is certain that no more frames appear, though some arrive late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.units import Moment


class Arrivals:
    """What a camera's frames say by arriving. Not locked: its buffer's lock guards it.

    Frames come in the order of their stamps. Those of a stream arrive later than they are stamped,
    so time is certain only up to the newest stamp, or as far back as `lateness_ns`; and while the
    camera is late by more than three frames, not beyond them, for then they may all come at once.
    What was told is kept: a frame of a stream that is later still is let go, for with another stamp
    it would be the answer to another moment.
    """

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._lateness_ns = 0
        self._is_away = True
        self._newest_ns: int | None = None  # of all frames, those that are not kept included
        self._now_ns: int | None = None  # the stamp of the one being read, decoded or written
        self._told_ns = -1

    def opened(self, lateness_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._is_away = False

    def interrupted(self) -> None:
        self._is_away = True
        self._now_ns = None

    def arrived(self, captured: Moment) -> Moment | None:
        """The frame's stamp, after all that was told; None: it is of a time that was told."""
        early_ns = self._told_ns + 1 - captured.mono_ns
        if early_ns > 0:
            if self._lateness_ns:
                return None
            captured = captured.shifted(early_ns)  # it met the question: by microseconds
        self._now_ns = captured.mono_ns
        return captured

    def begun(self, stamp_ns: int) -> None:
        self._now_ns = stamp_ns

    def ended(self) -> None:
        """The frame is in the history, or never will be."""
        if self._now_ns is not None:
            self._newest_ns = self._now_ns
        self._now_ns = None

    def certain_until(self, now_ns: int, period_ns: int | None) -> int:
        """Up to this moment no frame can still appear, for all that is known."""
        if self._now_ns is not None:
            return min(now_ns, self._now_ns - 1)
        newest_ns = self._newest_ns
        if not self._lateness_ns or self._is_away or newest_ns is None:
            return now_ns
        if now_ns - newest_ns > self._stale_ns:
            return now_ns
        limit_ns = now_ns if period_ns is None else newest_ns + 3 * period_ns
        return min(now_ns, limit_ns, max(newest_ns, now_ns - self._lateness_ns))

    def told(self, until_ns: int) -> int:
        """Remember that this moment was told to be certain, and return it."""
        self._told_ns = max(self._told_ns, until_ns)
        return until_ns

    def __repr__(self) -> str:
        return f"<Arrivals {'away' if self._is_away else 'live'}, told {self._told_ns}>"
