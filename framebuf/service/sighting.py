"""What can be seen of a node from outside: its retained topics and stats, read with tolerance.

Nodes of other versions may say more or less than this one would, and anybody may write on topics.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class SeenCamera(msgspec.Struct, frozen=True):
    """Of `B/info`."""

    width: int | None = None
    height: int | None = None
    rate: float | None = None
    history: int | None = None
    models: tuple[str, ...] = ()


class SeenModel(msgspec.Struct, frozen=True):
    """Of `B/info`."""

    task: str = "?"
    platform: str = "?"
    batch_sizes: tuple[int, ...] = ()
    runtimes: int = 0
    simulated: bool = False
    away: bool | None = None
    fallback: str | None = None
    lane: str | None = None


class SeenInfo(msgspec.Struct, frozen=True):
    """`B/info`."""

    version: str = "?"
    cameras: dict[str, SeenCamera] = {}
    models: dict[str, SeenModel] = {}
    limits: dict[str, int] = {}
    clock_synchronised: bool | None = None


class SeenBuffer(msgspec.Struct, frozen=True):
    """Of `B/stats`."""

    held: int | None = None
    leased: int | None = None
    dropped: int | None = None
    fps: float | None = None
    held_s: float | None = None


class SeenStats(msgspec.Struct, frozen=True):
    """`B/stats`."""

    at: str = "?"
    uptime_s: float = 0.0
    counters: dict[str, int] = {}
    cameras: dict[str, SeenBuffer] = {}
    lanes: dict[str, dict[str, Any]] = {}
    requests_open: int = 0


class Sighting:
    """A node, as its messages say. One thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status: str | None = None
        """`online` or `offline`; None: it has not been heard of."""
        self.info: SeenInfo | None = None
        self.stats: SeenStats | None = None
        self._documents: dict[str, Any] = {"info": None, "stats": None}
        self._availability: dict[str, str] = {}
        self._before: SeenStats | None = None  # the stats before the last

    def take(self, path: list[str], payload: bytes) -> None:
        """A message on `B/<path>`; what means nothing is passed over."""
        if path == ["status"]:
            self.status = _state(payload)
        elif path == ["info"]:
            self._documents["info"] = None  # it is replaced, or cleared
            self.info = self._read("info", payload, SeenInfo)
        elif path == ["stats"]:
            stats = self._read("stats", payload, SeenStats)
            if stats is not None:
                self._before, self.stats = self.stats, stats
        elif len(path) == 2 and path[1] == "availability":
            state = _state(payload)
            if state is None:
                self._availability.pop(path[0], None)
            else:
                self._availability[path[0]] = state

    @property
    def is_online(self) -> bool:
        return self.status == "online"

    @property
    def cameras(self) -> dict[str, str]:
        """`online` or `offline`, by name; none that the node has no more, where that is known.

        A node that was killed could not say so of its cameras.
        """
        names = self._availability if self.info is None else self.info.cameras
        return {
            name: self._availability.get(name, "offline") if self.is_online else "offline"
            for name in sorted(names)
        }

    @property
    def is_whole(self) -> bool:
        """Whether all has come that the broker keeps of a node which is running."""
        if self.status is None or self.info is None:
            return False
        return all(name in self._availability for name in self.info.cameras)

    def rates(self) -> dict[str, float]:
        """How much a minute each counter has grown between the last two stats of one process."""
        now, before = self.stats, self._before
        if now is None or before is None or now.uptime_s <= before.uptime_s:
            return {}
        minutes = (now.uptime_s - before.uptime_s) / 60
        return {
            name: (count - before.counters.get(name, 0)) / minutes
            for name, count in now.counters.items()
        }

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        head = {"node": self.name, "status": self.status, "cameras": self.cameras}
        return {**head, **self._documents}

    def _read(self, leaf: str, payload: bytes, kind: type[T]) -> T | None:
        """None: it is none that can be read."""
        try:
            document = msgspec.json.decode(payload)
            found = msgspec.convert(document, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        self._documents[leaf] = document
        return found

    def __repr__(self) -> str:
        seen = [leaf for leaf, document in self._documents.items() if document is not None]
        return f"<Sighting of {self.name}: {self.status}, {', '.join(seen) or 'nothing more'}>"


def _state(payload: bytes) -> str | None:
    """None: a retained message was cleared, or says neither."""
    text = payload.decode("ascii", "replace")
    return text if text in ("online", "offline") else None
