"""One frame's passage: to the servers of its model, and there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.models.backlog import Job


class Stage(Enum):
    """How far a frame has come."""

    HELD = auto()
    """There is no lane yet."""
    WAITING = auto()
    """On the lane's backlog, or just taken from it."""
    TAKEN = auto()
    """Its pixels are being put into a tensor."""
    SENT = auto()
    """They are in it."""


@dataclass(slots=True, eq=False)
class Passage:
    """Its detour's lock guards it."""

    job: Job
    own: Job
    """The same as the servers' lane has it."""
    due_ns: int
    """Monotonic: the servers' share of its time ends."""
    stage: Stage
    era: int
    """How often the servers had come back when it set out."""
    begun: bool = False
    overdue: bool = False
    withdrawn: bool = False
