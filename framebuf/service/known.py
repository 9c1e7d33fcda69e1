"""The ids that are known, so that no trigger is answered twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.service.response import Response

AT_LEAST = 10_000
MAX_ASKERS = 8
AT_MOST_BYTES = 48 * 2**20
"""Of done documents, beyond the last 10,000: those are at most 10,000 times 4 KiB of meta."""


@dataclass(slots=True)
class Known:
    """What became of an id."""

    first_at_ns: int
    """UTC, when it was accepted."""
    ended_ns: int | None = None
    """Monotonic, when its done was made; None while it is open."""
    done: bytes | None = None
    askers: list[Response] = field(default_factory=list)
    """Where its done goes besides the camera's own topic; at most `MAX_ASKERS`."""

    def ask(self, response: Response) -> bool:
        """Note where its done is wanted too; False: it is wanted in too many places."""
        if response not in self.askers:
            if len(self.askers) >= MAX_ASKERS:
                return False
            self.askers.append(response)
        return True


class KnownIds:
    """Ids by camera, kept for `remember_ns` after their done, and at least the last 10,000.

    Only the requests' thread.
    """

    def __init__(self, remember_ns: int) -> None:
        self._remember_ns = remember_ns
        self._ended: dict[tuple[str, str], Known] = {}  # the oldest first
        self._open: dict[tuple[str, str], Known] = {}
        self._bytes = 0

    def find(self, camera: str, id: str) -> Known | None:
        key = (camera, id)
        return self._open.get(key) or self._ended.get(key)

    def accept(
        self, camera: str, id: str, at_utc_ns: int, response: Response | None = None
    ) -> None:
        self._open[camera, id] = Known(at_utc_ns, askers=[response] if response else [])

    def end(self, camera: str, id: str, done: bytes, now_ns: int) -> list[Response]:
        """Keep the done document, and forget what is old; where else that document is wanted."""
        known = self._open.pop((camera, id))
        known.done, known.ended_ns = done, now_ns
        askers, known.askers = known.askers, []
        self._ended[camera, id] = known
        self._bytes += len(done)
        while len(self._ended) > AT_LEAST:
            key, oldest = next(iter(self._ended.items()))
            old = oldest.ended_ns is not None and now_ns - oldest.ended_ns > self._remember_ns
            if not old and self._bytes <= AT_MOST_BYTES:
                break
            del self._ended[key]
            self._bytes -= len(oldest.done or b"")
        return askers

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)
