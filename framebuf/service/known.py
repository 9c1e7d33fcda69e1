"""The ids that are known, so that no trigger is answered twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.service.journal import Journal
    from framebuf.service.orders import Order
    from framebuf.service.request import Request
    from framebuf.service.response import Response

MAX_ASKERS = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What became of an id."""

    first_at_ns: int
    """UTC, when it was accepted."""
    done: bytes | None = None
    """None while it is open."""


class KnownIds:
    """Ids by camera: those of unfinished requests, and those that the journal remembers.

    Only the requests' thread.
    """

    def __init__(self, journal: Journal, touch: Callable[[Request], None]) -> None:
        """`touch` hears which request is to be written down."""
        self._journal = journal
        self._touch = touch
        self._unfinished: dict[tuple[str, str], Request] = {}  # bounded by max_pending

    def find(self, camera: str, id: str) -> Known | None:
        request = self._unfinished.get((camera, id))
        if request is not None:
            # of one that an earlier start had ended, the results that got lost come again before it
            done = request.done_payload if request.ended else None
            return Known(request.order.received.utc_ns, done)
        ended = self._journal.find(camera, id)
        return Known(*ended) if ended is not None else None

    def ask(self, camera: str, id: str, response: Response) -> bool:
        """Note where the done of an open request is wanted too; False: in too many places."""
        request = self._unfinished[camera, id]
        if response not in request.askers:
            if len(request.askers) >= MAX_ASKERS:
                return False
            request.askers.append(response)
            self._touch(request)
        return True

    def add(self, request: Request) -> None:
        """It was accepted, or comes from an earlier start."""
        self._unfinished[request.order.camera, request.order.id] = request

    def remove(self, order: Order) -> None:
        """The journal remembers it from now on, or it was not accepted after all."""
        del self._unfinished[order.camera, order.id]

    def __len__(self) -> int:
        return len(self._unfinished) + len(self._journal)
