"""Start the daemon as a shell or a service manager does. Imports nothing until it is called."""

from __future__ import annotations

from pathlib import Path

DEFAULT_PATH = Path("/etc/framebuf/framebuf.toml")


def start(path: Path, log_level: str | None = None) -> None:
    """Run the daemon of a configuration until SIGTERM. Only the main thread.

    `log_level`: DEBUG, INFO, WARNING or ERROR; None: the configuration's.

    Raises:
        ConfigError: what no restart can mend.
        FramebufError: what a restart may mend.
    """
    from framebuf import config  # noqa: PLC0415 - --help needs DEFAULT_PATH alone
    from framebuf.service import crash, daemon, signals, systemd  # noqa: PLC0415

    systemd.log_to_journal_or_stderr(log_level or "INFO")
    crash.end_process_when_told()
    loaded = config.load(path)
    if log_level is None:
        systemd.set_log_level(loaded.config.node.log_level)
    node = daemon.Daemon(loaded, own_watchdog=True, fixed_level=log_level is not None)
    signals.stop_on_signals(node)
    node.run()
