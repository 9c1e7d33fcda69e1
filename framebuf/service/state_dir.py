"""The folder of the request journal: private, locked by one daemon."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from framebuf.buffer.privacy import close_to_others
from framebuf.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LOCK = "journal.lock"
KEY = "node.state_dir"
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)
"""No restart mends these; others, such as a full disk, may pass."""


class StateDirectory:
    """An open, locked folder. The lock ends with the process, however that ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> StateDirectory:
        """Make the folder if need be (0700), and lock it.

        Raises:
            ConfigError: it cannot be made or written, or others use it: no restart mends that.
            JournalError: another daemon has it, or the disk is full or fails.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(path)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(path / LOCK, flags, 0o600)
        except OSError as error:
            raise refusal(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
        except BlockingIOError as error:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise JournalError(f"{path} is in use by the framebuf with pid {owner}") from error
        except OSError as error:
            os.close(lock)
            raise refusal(path, error) from error
        return cls(path, lock)

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> StateDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StateDirectory {self.path}>"


def _make_private(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            close_to_others(path, descriptor, LOCK, KEY)
    finally:
        os.close(descriptor)


def refusal(path: Path, error: OSError) -> ConfigError | JournalError:
    """What to raise where the folder, or a file in it, cannot be used."""
    if error.errno in NOT_OURS:
        return ConfigError(
            KEY, f"{error.filename or path}: {error.strerror}",
            "name a folder that the daemon's user can write, or give it that one",
        )  # fmt: skip
    return JournalError(f"{error.filename or path}: {error.strerror}")
