"""Which boot of the machine this is: monotonic times and rings are worth nothing in another."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """The kernel's id of it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
