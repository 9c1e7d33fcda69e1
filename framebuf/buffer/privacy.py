"""A folder of ours, closed to other users; never one that they share."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from framebuf.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


SHARED = ("/dev/shm", "/tmp", "/var/tmp", "/run/lock")
"""Others will use these where nothing lies in them yet, as after a boot; a tmpfs that was mounted
for framebuf alone has their mode."""
_OF_EXT4 = "lost+found"
"""Stands in every such file system: a volume of its own is nobody else's."""


def close_to_others(path: Path, descriptor: int, lock: str, key: str) -> None:
    """Take an open folder of our user from everybody else, but for one that others share.

    Raises:
        ConfigError: as `check_unshared`.
        OSError: it cannot be read or changed.
    """
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        check_unshared(path, descriptor, lock, key)
        os.fchmod(descriptor, 0o700)


def check_unshared(path: Path, descriptor: int, lock: str, key: str) -> None:
    """Whether an open folder may be closed to others.

    `key` is what configures it, `lock` the file that tells a folder which framebuf has used.

    Raises:
        ConfigError: it is open to others and holds what is not ours, or is like /tmp.
        OSError: it cannot be read.
    """
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if not mode & 0o077:
        return
    names = set(os.listdir(descriptor)) - {_OF_EXT4}
    is_used = bool(names) and (bool(mode & stat.S_ISVTX) or not _is_file(lock, descriptor))
    if is_used or str(path.resolve()) in SHARED:
        raise ConfigError(
            key,
            f"{path} is a folder that others use, mode {mode:o}, with {len(names)} entries: "
            "framebuf would close it to them",
            f"name one of its own, such as {path / 'framebuf'}",
        )


def _is_file(name: str, descriptor: int) -> bool:
    """Whether a folder has a file of this name: /run has a folder `lock`."""
    try:
        about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(about.st_mode)
