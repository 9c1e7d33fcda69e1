"""The Rockchip board underneath: its chip, its NPU's driver, the vendor's library, and who may.

Read from files alone; nothing here opens the NPU. Elsewhere all of it says that nothing is there.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framebuf.models.platforms import CORES

DEVICE_TREE = Path("/proc/device-tree")
LIBRARIES = (
    Path("/usr/lib/librknnrt.so"),
    Path("/usr/lib/librknn_runtime.so"),
    Path("/usr/lib64/librknn_runtime.so"),
)
"""Where rknn-toolkit-lite2 looks for the vendor's library; LD_LIBRARY_PATH does not help."""
DRIVER_VERSIONS = (
    Path("/sys/kernel/debug/rknpu/version"),
    Path("/proc/debug/rknpu/version"),
    Path("/proc/rknpu/version"),
    Path("/sys/module/rknpu/version"),
)
"""By CONFIG_ROCKCHIP_RKNPU_DEBUG_FS or _PROC_FS; the first two are for root alone."""
RENDER_NODES = "/dev/dri"
OLD_NODE = Path("/dev/rknpu")
"""Of drivers built without DRM."""
WHEEL = "rknn-toolkit-lite2"
MOST_LIBRARY = 64 * 2**20
"""Bytes of a library that are searched for its version; it has 7 MB."""

THREE_CORES = (0, 9, 6)
"""From this driver on all cores are to be relied on (rknn-toolkit2's changelog)."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device node of the NPU, or of a display beside it."""

    path: Path
    mode: str
    """As `ls -l` shows it."""
    owner: str
    group: str
    usable: bool
    """Whether this process may open it."""

    @classmethod
    def look(cls, path: Path) -> Node:
        """Raises OSError where there is none."""
        about = path.stat()
        return cls(
            path,
            stat.filemode(about.st_mode),
            _name(lambda: pwd.getpwuid(about.st_uid).pw_name, about.st_uid),
            _name(lambda: grp.getgrgid(about.st_gid).gr_name, about.st_gid),
            _opens(path),
        )

    def __str__(self) -> str:
        return f"{self.path} {self.mode} {self.owner}:{self.group}"


def _name(look: Callable[[], str], number: int) -> str:
    try:
        return look()
    except KeyError:  # in a container the groups of the host have no names
        return str(number)


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def soc() -> str | None:
    """The chip, such as `rk3588`, as the device tree names it; None where it is none of ours."""
    for name in compatible():
        match = re.fullmatch(rf"rockchip,({'|'.join(CORES)})[a-z]?", name)
        if match:
            return match[1]
    return None


def compatible() -> tuple[str, ...]:
    """The device tree's names of the board, the most exact one first; empty where there is none."""
    return tuple(name for name in _text(DEVICE_TREE / "compatible").split("\0") if name)


def board_name() -> str:
    """What its maker calls the board; empty where there is no device tree."""
    return _text(DEVICE_TREE / "model").strip("\0\n ")


def nodes() -> tuple[Node, ...]:
    """The device nodes by which an NPU may be reached."""
    try:
        names = sorted(os.listdir(RENDER_NODES))  # noqa: PTH208 - as the vendor names them
    except OSError:
        names = []
    found = []
    for path in (*(Path(RENDER_NODES, name) for name in names if name != "by-path"), OLD_NODE):
        try:
            found.append(Node.look(path))
        except OSError:
            continue
    return tuple(found)


def library() -> Path | None:
    """The vendor's library, where rknn-toolkit-lite2 finds it."""
    return next((path for path in LIBRARIES if path.exists()), None)


def library_version() -> str | None:
    """What the library calls itself, without loading it; None: it does not say, or is missing."""
    path = library()
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            match = re.search(rb"librknnrt version: ([0-9][ -~]{1,80})", file.read(MOST_LIBRARY))
    except OSError:
        return None
    return match[1].decode() if match else None


def driver_version() -> str | None:
    """The kernel driver's version, such as `0.9.8`; None: nothing says it to this user."""
    for path in DRIVER_VERSIONS:
        match = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", _text(path))
        if match:
            return match[0]
    return None


def wheel_version() -> str | None:
    """The installed rknn-toolkit-lite2; None: there is none."""
    from importlib import metadata  # noqa: PLC0415 - reports alone ask, and it brings a lot along

    try:
        return metadata.version(WHEEL)
    except metadata.PackageNotFoundError:
        return None


def is_old(driver: str) -> bool:
    """Whether the driver is older than the one that all cores are to be relied on with."""
    numbers = re.findall(r"[0-9]+", driver)[:3]
    return bool(numbers) and tuple(map(int, numbers)) < THREE_CORES


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:4096].decode("utf-8", "replace")
    except OSError:
        return ""
