"""framebuf run: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from framebuf.cli import config_file
from framebuf.service.start import start


def add_to(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    config: config_file.Config = config_file.DEFAULT_PATH,
    log_level: Annotated[
        str | None,
        typer.Option(
            help="DEBUG, INFO, WARNING or ERROR; default: log_level of the configuration.",
            case_sensitive=False,
        ),
    ] = None,
) -> None:
    """Run the daemon until SIGTERM.

    Exit 0 on SIGTERM, 78 for a configuration that no restart can mend, 1 for anything else.
    An absent camera or broker is neither: the daemon starts, says so, and goes on trying.

    Example: framebuf run -c /etc/framebuf/framebuf.toml
    """
    level = None if log_level is None else log_level.upper()
    if level not in (None, "DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter(f"{log_level} is no level", param_hint="--log-level")
    start(config, level)
