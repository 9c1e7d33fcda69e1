"""Lease: one reader's hold on one frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from framebuf.errors import FrameLostError
from framebuf.frames import NOT_DECODED

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.frames import Frame


class Holder(Protocol):
    """The ring that a lease is of."""

    name: str

    def holds(self, seq: int) -> bool: ...

    def hold(self, lease: Lease, strong: int, weak: int) -> None: ...


class Lease:
    """One reader's hold on one frame: strong, then weak, then released. Any thread."""

    __slots__ = ("_frame", "_freed", "_held", "_ring")

    def __init__(self, ring: Holder, frame: Frame) -> None:
        self._ring = ring
        self._frame = frame
        self._held = (1, 0)  # strong, weak; guarded by the ring's lock
        self._freed: Callable[[], None] | None = None

    @property
    def frame(self) -> Frame:
        """The frame; its pixels are safe to read while the lease is strong.

        Raises:
            FrameLostError: the lease is weak, and the slot was needed for a newer frame.
        """
        if not self._held[0] and not self._ring.holds(self._frame.seq):
            raise FrameLostError(f"frame {self._frame.seq} of {self._ring.name} was overwritten")
        return self._frame

    @property
    def seq(self) -> int:
        return self._frame.seq

    def weaken(self) -> None:
        """The frame is in a tensor: keep the slot for a second try, if none other is free."""
        self._ring.hold(self, 0, 1)

    def release(self) -> None:
        """The frame is answered. Safe to call twice."""
        self._ring.hold(self, 0, 0)
        self._let_go()

    def develop(self, frame: Frame, freed: Callable[[], None]) -> None:
        """Hold the frame's pixels too, where its ring has none; `freed` is called at the end."""
        self._frame, self._freed = frame, freed
        if self._held == (0, 0):  # released meanwhile, by another thread
            self._let_go()

    def _let_go(self) -> None:
        freed, self._freed = self._freed, None
        if freed is not None:
            self._frame = replace(self._frame, pixels=NOT_DECODED)
            freed()

    def turn(self, strong: int, weak: int) -> tuple[int, int] | None:
        """Become this; how many strong and weak holds that adds. Under the ring's lock.

        None: a lease that is released does not become weak again.
        """
        was_strong, was_weak = self._held
        if weak and not was_strong:
            return None  # released meanwhile, by another thread
        self._held = (strong, weak)
        return strong - was_strong, weak - was_weak

    def __repr__(self) -> str:
        state = "strong" if self._held[0] else "weak" if self._held[1] else "released"
        return f"<Lease of {self._ring.name} {self.seq}, {state}>"
