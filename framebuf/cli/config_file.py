"""Where the configuration is, for every command that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framebuf.service.start import DEFAULT_PATH

__all__ = ["DEFAULT_PATH", "Config"]

Config = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.")]
