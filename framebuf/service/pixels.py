"""Allowance: how much memory decoded frames take, until all who read them have let go."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 96 * 2**20
"""Of decoded frames for one model: fifteen of 1920×1080."""
MOST_FRAMES = 24
"""More fill no batch sooner."""


class Allowance:
    """Any thread. `_lock` guards the counts; `freed` is called outside it."""

    def __init__(
        self, freed: Callable[[], None], most_bytes: int = MOST_BYTES, most: int = MOST_FRAMES
    ) -> None:
        self._freed = freed
        self._most_bytes = most_bytes
        self._most = most
        self._lock = threading.Lock()
        self._bytes = 0
        self._frames = 0

    def take(self, size: int) -> Pixels | None:
        """Room for a frame of so many bytes; None: there is none now. One frame always has some."""
        with self._lock:
            full = self._frames >= self._most or self._bytes + size > self._most_bytes
            if self._frames and full:
                return None
            self._frames += 1
            self._bytes += size
        return Pixels(size, self._give_back)

    @property
    def frames(self) -> int:
        """That are held."""
        return self._frames

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._frames -= 1
            self._bytes -= size
        self._freed()

    def __repr__(self) -> str:
        return f"<Allowance {self._frames} frames, {self._bytes >> 20} MiB>"


class Pixels:
    """The room that one decoded frame takes. Any thread; `_lock` guards who needs it."""

    def __init__(self, size: int, freed: Callable[[int], None]) -> None:
        self._size = size
        self._freed = freed
        self._lock = threading.Lock()
        self._users: set[int] = set()
        self._count = 0

    def user(self) -> Callable[[], None]:
        """One more who needs it; to be called when it does no more. Safe to call twice.

        The first is to let go last but for those that were made meanwhile.
        """
        with self._lock:
            self._count += 1
            self._users.add(self._count)
            return partial(self._let_go, self._count)

    def _let_go(self, user: int) -> None:
        with self._lock:
            last = user in self._users and len(self._users) == 1
            self._users.discard(user)
        if last:
            self._freed(self._size)

    def __repr__(self) -> str:
        return f"<Pixels {self._size} bytes, {len(self._users)} users>"
