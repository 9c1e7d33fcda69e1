"""One batch that a context is to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.context import Context
    from framebuf.models.filling import Filling


@dataclass(slots=True, eq=False)
class Run:
    """Decided, prepared, begun, ended. Its lane's lock guards it."""

    context: Context
    size: int
    """Rows of the tensor."""
    cores: Sequence[int]
    ns: int
    """Nanoseconds that it is expected to take."""
    reserved: int = 0
    """Frames of the backlog that are meant for it and not taken yet."""
    filling: Filling | None = None
    """Its tensor, from when it may be filled."""
    hands: int = 0
    """Threads that fill it."""
    taken: int = 0
    """Frames that are in its tensor, or on the way there."""
    closed: bool = False
    """Its context takes no more frames for it."""
    turn: str | None = None
    """It runs alone, for this request only."""
    prepared: bool = False
    """Its tensor is."""
    number: int = 0
    """Counts the runs of a lane, from 1; 0 while it has not begun."""
    since_ns: int = 0
    """Monotonic, when it began."""

    @property
    def room(self) -> int:
        """Rows that no frame is meant for yet."""
        return 0 if self.closed else self.size - self.taken - self.reserved

    def may_be_helped(self, context: Context) -> bool:
        """Whether it has frames left for the thread of this other context."""
        return bool(self.hands and self.reserved) and self.context.model == context.model
