"""framebuf run: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framebuf.config import DEFAULT_PATH


def add_to(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    config: Annotated[
        Path, typer.Option("-c", "--config", help="The configuration file.")
    ] = DEFAULT_PATH,
    log_level: Annotated[
        str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.", case_sensitive=False)
    ] = "INFO",
) -> None:
    """Run the daemon until SIGTERM.

    Exit 0 on SIGTERM, 78 for a configuration that no restart can mend, 1 for anything else.
    An absent camera or broker is neither: the daemon starts, says so, and goes on trying.

    Example: framebuf run -c /etc/framebuf/framebuf.toml
    """
    from framebuf import config as configuration  # noqa: PLC0415 - --help stays quick
    from framebuf.service import crash, daemon, systemd  # noqa: PLC0415

    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter(f"{log_level} is no level", param_hint="--log-level")
    systemd.log_to_journal_or_stderr(level)
    crash.end_process_when_told()
    node = daemon.Daemon(configuration.load(config), own_watchdog=True)
    daemon.stop_on_signals(node)
    node.run()
