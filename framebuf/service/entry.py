"""Entry: an unfinished request as the journal has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from framebuf.buffer.history import Stamp
from framebuf.contract import Done
from framebuf.service.record import OrderRecord, Progress, load
from framebuf.units import Moment

if TYPE_CHECKING:
    import sqlite3

    from framebuf.buffer.window import Asked
    from framebuf.service.orders import Order

_DROPPED, _AFTER_GAP = 1, 2
"""Flags of a frame."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as the journal has it."""

    number: int
    boot: str
    order: Order
    progress: Progress
    frames: tuple[tuple[int, Stamp], ...]
    """Place in the window and stamp of each whose result the broker does not have."""
    done: bytes | None
    """The document, where it was made; the broker does not have it."""
    attempts: int
    strikes: int

    def check(self) -> None:
        """Whether its parts fit together.

        Raises:
            ValueError: they do not.
        """
        if self.done is not None:
            msgspec.json.decode(self.done, type=Done)
            return
        over = self.progress.over
        places = [place for place, _ in self.frames]
        if places != list(range(over, over + len(places))):
            raise ValueError(f"request {self.number} has frames {places}, expected all from {over}")
        if self.progress.window["asked"] != over + len(places):
            raise ValueError(f"request {self.number} has {len(places)} frames beyond {over}")


def read_entries(db: sqlite3.Connection) -> list[Entry]:
    """All unfinished requests, in the order of acceptance.

    Raises:
        sqlite3.Error, ValueError, KeyError: what is written is not what was.
    """
    frames: dict[int, list[tuple[int, Stamp]]] = {}
    for number, place, seq, mono_ns, utc_ns, flags in db.execute(
        "SELECT request, place, seq, mono_ns, utc_ns, flags FROM frame ORDER BY request, place"
    ):
        stamp = Stamp(
            seq,
            Moment(mono_ns, utc_ns),
            dropped=bool(flags & _DROPPED),
            after_gap=bool(flags & _AFTER_GAP),
        )
        frames.setdefault(number, []).append((place, stamp))
    entries = []
    for number, camera, id, boot, order, progress, done, attempts, strikes in db.execute(
        "SELECT number, camera, id, boot, orders, progress, done, attempts, strikes"
        " FROM request WHERE ended_ns IS NULL ORDER BY number"
    ):
        entry = Entry(
            number,
            boot,
            load(order, OrderRecord).order(camera, id),
            load(progress, Progress),
            tuple(frames.get(number, ())),
            done,
            attempts,
            strikes,
        )
        entry.check()
        entries.append(entry)
    return entries


def row_of(number: int, asked: Asked) -> tuple[int, int, int, int, int, int]:
    """A frame that request `number` asks for, as it is written."""
    stamp = asked.stamp
    flags = _DROPPED * stamp.dropped | _AFTER_GAP * stamp.after_gap
    moment = stamp.captured
    return number, asked.index, stamp.seq, moment.mono_ns, moment.utc_ns, flags
