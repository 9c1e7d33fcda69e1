"""Journal: accepted requests, their claims and done documents, in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from framebuf.errors import JournalError
from framebuf.service import journal_file
from framebuf.service.entry import read_entries, row_of
from framebuf.service.record import OrderRecord, Progress, dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from framebuf.buffer.window import Asked
    from framebuf.service.entry import Entry
    from framebuf.service.orders import Order

AT_LEAST = 10_000
"""Ids that are known, however old."""
AT_MOST_BYTES = 48 * 2**20
"""Of done documents, beyond the last 10,000: those are at most 10,000 times 4 KiB of meta."""


class Journal:
    """One thread at a time: the main thread until the requests' starts, and after it has ended.

    Writing belongs into `transaction`. A result is never written, only that it is acknowledged.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, boot_id: str, remember_ns: int) -> None:
        self.path = path
        self._db = db
        self._boot_id = boot_id
        self._remember_ns = remember_ns
        self._synchronous = ""
        self._ended = self._ended_bytes = 0

    @classmethod
    def open(cls, path: Path, boot_id: str, remember_ns: int) -> tuple[Journal, list[Entry]]:
        """The journal in the folder `path`, which is locked, and the requests that are unfinished.

        One that cannot be read is set aside, with a warning, and a new one made.

        Raises:
            ConfigError: a newer framebuf wrote it, or it may not be written.
            JournalError: the disk is full or fails, or another program holds the file.
        """
        file = path / journal_file.NAME
        try:
            return cls._open(file, boot_id, remember_ns)
        except (sqlite3.Error, ValueError, KeyError, OverflowError) as error:
            journal_file.set_aside(file, error)
        try:
            return cls._open(file, boot_id, remember_ns)
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(f"{file}: a new journal cannot be made: {error}") from error

    @classmethod
    def _open(cls, file: Path, boot_id: str, remember_ns: int) -> tuple[Journal, list[Entry]]:
        db = journal_file.connect(file)
        journal = cls(db, file, boot_id, remember_ns)
        try:
            with journal.transaction(durable=False):
                journal._arrive()
            return journal, read_entries(db)
        except JournalError as error:
            db.close()
            raise error.__cause__ or error from None
        except BaseException:
            db.close()
            raise

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """All or nothing. `durable`: on the disk once it is over, so that no power cut takes it.

        Raises:
            JournalError: nothing was written: the disk is full, or fails; it may work later.
        """
        level = "FULL" if durable else "NORMAL"
        try:
            if level != self._synchronous:
                self._db.execute(f"PRAGMA synchronous = {level}")
                self._synchronous = level
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error) and journal_file.is_passing(error):
                raise JournalError(f"{self.path}: {error}") from error
            raise

    # in a transaction -----------------------------------------------------------------------

    def accept(self, order: Order, progress: Progress) -> int:
        """A new request; returns its number."""
        done = self._db.execute(
            "INSERT INTO request (camera, id, first_at_ns, boot, orders, progress)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                order.camera,
                order.id,
                order.received.utc_ns,
                self._boot_id,
                dump(OrderRecord.of(order)),
                dump(progress),
            ),
        )
        return done.lastrowid or 0

    def advance(
        self,
        number: int,
        progress: Progress,
        asked: Sequence[Asked] = (),
        done: bytes | None = None,
        missing: Iterable[int] = (),
    ) -> None:
        """How far it has come, and the frames that it asked for since.

        `done` is its done document once that is made, and `missing` the places without a result.
        """
        self._db.execute(
            "UPDATE request SET progress = ?, done = coalesce(?, done) WHERE number = ?",
            (dump(progress), done, number),
        )
        if asked:
            self._db.executemany(
                "INSERT INTO frame VALUES (?, ?, ?, ?, ?, ?)",
                [row_of(number, one) for one in asked],
            )
        if progress.over:
            self._db.execute(
                "DELETE FROM frame WHERE request = ? AND place < ?", (number, progress.over)
            )
        for place in missing:
            self._db.execute("DELETE FROM frame WHERE request = ? AND place = ?", (number, place))

    def finish(self, number: int, done: bytes, now_ns: int) -> None:
        """The broker has all of it: what is left is a known id, for as long as it is remembered."""
        self._db.execute(
            "UPDATE request SET orders = NULL, progress = NULL, done = ?, ended_ns = ?"
            " WHERE number = ?",
            (done, now_ns, number),
        )
        self._db.execute("DELETE FROM frame WHERE request = ?", (number,))
        self._ended += 1
        self._ended_bytes += len(done)
        self._forget(now_ns)

    def claim(self, camera: str, ranges: Iterable[tuple[int, int]], oldest: int) -> None:
        """Frames that drains have claimed, first to last; what is older than `oldest` is over."""
        self._db.executemany(
            "INSERT OR REPLACE INTO claim VALUES (?, ?, ?)",
            [(camera, first, last) for first, last in ranges],
        )
        self._db.execute("DELETE FROM claim WHERE camera = ? AND last < ?", (camera, oldest))

    def attempt(self, number: int, attempts: int, strikes: int) -> None:
        """A start that works on it."""
        self._db.execute(
            "UPDATE request SET attempts = ?, strikes = ? WHERE number = ?",
            (attempts, strikes, number),
        )

    # reading --------------------------------------------------------------------------------

    def claims(self, camera: str) -> list[tuple[int, int]]:
        """The frames of this boot that drains have claimed, first to last."""
        return self._db.execute(
            "SELECT first, last FROM claim WHERE camera = ? ORDER BY first", (camera,)
        ).fetchall()

    def find(self, camera: str, id: str) -> tuple[int, bytes] | None:
        """Of an id that has ended: when it was accepted, UTC nanoseconds, and its done."""
        found: tuple[int, bytes] | None = self._db.execute(
            "SELECT first_at_ns, done FROM request"
            " WHERE camera = ? AND id = ? AND ended_ns IS NOT NULL",
            (camera, id),
        ).fetchone()
        return found

    def __len__(self) -> int:
        """Ids that have ended and are known."""
        return self._ended

    def close(self) -> None:
        self._db.close()

    def _arrive(self) -> None:
        """What another boot leaves behind: its monotonic times mean nothing now."""
        last = self._db.execute("SELECT boot FROM start").fetchone()
        if last != (self._boot_id,):
            self._db.execute("UPDATE request SET ended_ns = 0 WHERE ended_ns IS NOT NULL")
            self._db.execute("DELETE FROM claim")
            self._db.execute("DELETE FROM start")
            self._db.execute("INSERT INTO start VALUES (?)", (self._boot_id,))
        self._count()

    def _forget(self, now_ns: int) -> None:
        """Known ids that are old, or too many."""
        while self._ended > AT_LEAST:
            number, ended_ns, size = self._db.execute(
                "SELECT number, ended_ns, length(done) FROM request"
                " WHERE ended_ns IS NOT NULL ORDER BY number LIMIT 1"
            ).fetchone()
            if now_ns - ended_ns <= self._remember_ns and self._ended_bytes <= AT_MOST_BYTES:
                return
            self._db.execute("DELETE FROM request WHERE number = ?", (number,))
            self._ended -= 1
            self._ended_bytes -= size

    def _count(self) -> None:
        self._ended, self._ended_bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(done)), 0) FROM request"
            " WHERE ended_ns IS NOT NULL"
        ).fetchone()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the error that led here is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._count()

    def __repr__(self) -> str:
        return f"<Journal {self.path}, {self._ended} ids>"
