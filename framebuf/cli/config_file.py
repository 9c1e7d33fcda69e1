"""Where the configuration is, for every command that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framebuf.service.start import DEFAULT_PATH

__all__ = ["DEFAULT_PATH", "Config", "is_there"]

Config = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.")]


def is_there() -> bool:
    """Whether there is a configuration at the default path, though perhaps for others to read."""
    try:
        return DEFAULT_PATH.exists()
    except PermissionError:  # up to Python 3.13: its folder is the service's own
        return True
