"""The folder of the rings: a tmpfs, private, locked by one daemon."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path

from framebuf.buffer.privacy import close_to_others
from framebuf.errors import ConfigError, RingError

SUFFIX = ".ring"
PACKETS = ".packets"
"""Of a ring of packets."""
LOCK = "lock"
MEMORY_KINDS = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")
"""File systems that are memory."""


class RingDirectory:
    """An open, locked folder. The lock ends with the process, however that ends."""

    def __init__(self, path: Path, descriptor: int, lock: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> RingDirectory:
        """Make the folder if need be (0700), and lock it.

        Raises:
            ConfigError: it is not on a tmpfs, or not ours, or cannot be locked.
            RingError: another daemon has it.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise ConfigError(
                "node.ring_dir", f"{path}: {error.strerror}", "name a folder that can be made"
            ) from error
        try:
            _check_ours(path, descriptor)
            lock = _locked(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, lock)

    def names(self, suffix: str = SUFFIX) -> list[str]:
        """What lies in the folder and is named like a ring, in order; it may be anything."""
        return sorted(path.name for path in self.path.iterdir() if path.suffix == suffix)

    def map_new(self, name: str, size: int, present: int, whose: str) -> mmap.mmap:
        """A new file (0600) of `size` bytes in place of any old one, zeroed and mapped.

        The first `present` bytes get memory and are touched, the rest is a hole. Without that a
        full tmpfs would end the process at a store (SIGBUS).

        Raises:
            RingError: it cannot be made, or there is no room.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.remove(name)
            file = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        except OSError as error:
            raise RingError(f"{self.path / name}: {error.strerror}") from error
        try:
            _check_room(file, present)
            os.posix_fallocate(file, 0, present)
            os.ftruncate(file, size)
            return mapped(file, size, whole=present == size)
        except OSError as error:
            self.remove(name)
            raise RingError(
                f"{self.path}: {error.strerror}; {whose} needs {size / 2**20:.0f} MiB there: "
                "lower its memory or buffer, or make that tmpfs larger"
            ) from error
        finally:
            os.close(file)

    def allocate(self, name: str, start: int, length: int) -> None:
        """Give a part of a file memory, where it has none.

        Raises:
            RingError: there is no room.
        """
        try:
            file = self.open_file(name)
            try:
                os.posix_fallocate(file, start, length)
            finally:
                os.close(file)
        except OSError as error:
            raise RingError(f"{self.path / name}: {error.strerror}") from error

    def open_file(self, name: str) -> int:
        """A descriptor of what has this name, which is not followed if it is a link.

        Raises:
            OSError: it cannot be read and written.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file that may not be there; whoever has it mapped keeps its memory."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return

    def close(self) -> None:
        os.close(self._lock)
        os.close(self._descriptor)

    def __enter__(self) -> RingDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RingDirectory {self.path}>"


def mapped(file: int, size: int, *, whole: bool) -> mmap.mmap:
    """The file in memory, shared. `whole`: it has no holes, which touching would fill."""
    populate: int = getattr(mmap, "MAP_POPULATE", 0) if whole else 0
    return mmap.mmap(file, size, mmap.MAP_SHARED | populate)


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel names it."""
    best, kind = -1, "unknown"
    real = path.resolve()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4].encode("ascii", "replace").decode("unicode_escape")
        # the last mount on one point covers the earlier ones
        if real.is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), right.split()[0]
    return kind


def _check_room(file: int, size: int) -> None:
    """Whether a file's file system has so many bytes left, where it says how many.

    Else a tmpfs gives all that it has before it says no, and others find it full meanwhile: other
    cameras, each time that this one tries again.

    Raises:
        OSError: it has not.
    """
    about = os.fstatvfs(file)
    if about.f_blocks and about.f_bavail * about.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_ours(path: Path, descriptor: int) -> None:
    about = os.fstat(descriptor)
    if about.st_uid != os.geteuid():
        raise ConfigError(
            "node.ring_dir", f"{path} belongs to another user", "name another folder, or remove it"
        )
    kind = file_system(path)
    if kind not in MEMORY_KINDS:
        raise ConfigError(
            "node.ring_dir",
            f"{path} is on {kind}, which would be written all day",
            "name a folder on a tmpfs, such as one below /dev/shm",
        )
    close_to_others(path, descriptor, LOCK, "node.ring_dir")


def _locked(path: Path, descriptor: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(LOCK, flags, 0o600, dir_fd=descriptor)
    except OSError as error:
        raise ConfigError(
            "node.ring_dir", f"{path / LOCK}: {error.strerror}", "remove it, or mend the folder"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise RingError(f"{path} is in use by the framebuf with pid {owner}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
    return lock
