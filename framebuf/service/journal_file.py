"""The journal's file: opened, made, set aside where it cannot be read."""

from __future__ import annotations

import logging
import os
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from framebuf.errors import ConfigError, JournalError
from framebuf.service.state_dir import KEY, refusal

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

NAME = "journal.sqlite"
VERSION = 1
APPLICATION = 0x66627566
"""`fbuf`: says whose file it is (SQLite file format, section 1.3.15)."""
KEPT_ASIDE = 3
"""Journals that were set aside; of more, the oldest are removed."""
CACHE_KIB = 512
BUSY_S = 5.0
"""How long another program, such as the sqlite3 shell, may hold the file."""

SCHEMA = """
CREATE TABLE start ( -- one row: the last start
    boot TEXT NOT NULL -- whose monotonic times all others are
) STRICT;
CREATE TABLE request (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of acceptance
    camera TEXT NOT NULL,
    id TEXT NOT NULL,
    first_at_ns INTEGER NOT NULL, -- UTC, when it was accepted
    boot TEXT NOT NULL,
    orders BLOB, -- record.OrderRecord
    progress BLOB, -- record.Progress
    done BLOB, -- the document, once made
    ended_ns INTEGER, -- monotonic, when the broker had all of it; 0: in another boot
    attempts INTEGER NOT NULL DEFAULT 1,
    strikes INTEGER NOT NULL DEFAULT 0, -- deaths of the process with a frame of it in a tensor
    UNIQUE (camera, id),
    CHECK (CASE WHEN ended_ns IS NULL THEN orders AND progress ELSE done END IS NOT NULL)
) STRICT;
CREATE TABLE frame ( -- those asked for whose result the broker does not have
    request INTEGER NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    mono_ns INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (request, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE claim ( -- of drains: frames first to last, both included
    camera TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (camera, first),
    CHECK (first >= 0 AND last >= first AND last - first < 1000000)
) STRICT, WITHOUT ROWID;
"""

# What says nothing about the file: the disk, the memory, another program
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT)  # fmt: skip


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal, or make it. Transactions are the caller's to begin and to end.

    Raises:
        ConfigError: a newer framebuf wrote it, or it may not be written.
        JournalError: the disk is full or fails, or another program holds the file.
        sqlite3.Error, ValueError: it is no journal, or a broken one.
    """
    if not path.exists() and any(_beside(path)):
        raise ValueError("what SQLite keeps beside a database is there, and no database")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except IsADirectoryError as error:
        raise ValueError("it is a folder") from error
    except OSError as error:
        raise refusal(path, error) from error
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _adopt(db, path)
    except sqlite3.Error as error:
        db.close()
        if is_passing(error):
            raise JournalError(f"{path}: {error}") from error
        raise
    except BaseException:
        db.close()
        raise
    return db


def is_passing(error: sqlite3.Error) -> bool:
    """Whether it says nothing about the file, and the same may work later."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _PASSING


def set_aside(path: Path, why: object) -> None:
    """Give a file that cannot be read another name, so that a new one can be made.

    Raises:
        ConfigError, JournalError: as `state_dir.refusal`.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    try:
        for file in (path, *_beside(path)):
            if os.path.lexists(file):
                file.rename(f"{aside}{file.name.removeprefix(path.name)}")
        _forget_old(path)
    except OSError as error:
        raise refusal(path, error) from error
    _log.warning(
        "%s cannot be read and was set aside as %s: %s; requests that it held are lost",
        path, aside.name, why,
    )  # fmt: skip


def _forget_old(path: Path) -> None:
    """Remove what was set aside long ago."""
    aside = [file for file in path.parent.glob(f"{path.name}.corrupt-*Z*") if not file.is_dir()]
    of = {file: file.name.removesuffix("-wal").removesuffix("-shm") for file in aside}
    old = sorted(set(of.values()))[:-KEPT_ASIDE]
    for file, name in of.items():
        if name in old:
            file.unlink()


def _adopt(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, and make its tables where it is new."""
    owner, version, tables = (
        db.execute(question).fetchone()[0]
        for question in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_schema",
        )
    )
    if owner == APPLICATION and version > VERSION:
        raise ConfigError(
            KEY, f"{path} is of a newer framebuf: its version is {version}, expected {VERSION}",
            "install that framebuf again, or move the file away: open requests in it are lost",
        )  # fmt: skip
    if tables and (owner != APPLICATION or version != VERSION):
        raise ValueError(f"it is another program's: application_id {owner:#x}, version {version}")
    if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise ValueError(found)
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise ValueError(f"SQLite gives the journal mode {mode}, expected wal")
    db.execute("PRAGMA journal_size_limit = 1048576")
    if not tables:
        db.executescript(
            f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION};"
            f"PRAGMA user_version = {VERSION}; COMMIT;"
        )


def _beside(path: Path) -> list[Path]:
    """What SQLite keeps beside a database, where it is there."""
    files = [path.with_name(path.name + end) for end in ("-wal", "-shm")]
    return [file for file in files if os.path.lexists(file)]
