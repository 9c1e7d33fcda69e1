"""systemd, where it runs us: readiness, the watchdog, journal fields. Quiet everywhere else."""

from __future__ import annotations

import logging
import os
import socket
import sys


class Notifier:
    """Tells the service manager how the daemon is (sd_notify(3)): datagrams to NOTIFY_SOCKET.

    Ten lines of our own, for systemd-python is an extra that needs a compiler, and a
    `Type=notify` service that cannot say READY is killed.
    """

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        usec = os.environ.get("WATCHDOG_USEC")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if usec and mine else None
        """The service manager ends a daemon that is silent for longer; None: never."""

    def tell(self, **fields: str) -> None:
        """Send fields such as `READY="1"`, `STATUS="…"`. A manager that is gone is no error."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)  # a manager that does not read must not stop us
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            logging.getLogger(__name__).debug("no word to the service manager: %s", error)

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'off'}>"


def log_to_journal_or_stderr(level: str = "INFO") -> None:
    """Send the log where it is read: fields to the journal, else readable lines to stderr.

    JournalHandler swallows everything where no journald listens, so it is used only under a
    service manager's journal (JOURNAL_STREAM), and where systemd-python is installed.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    plain = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    if os.environ.get("JOURNAL_STREAM"):
        plain = "%(levelname)s %(name)s: %(message)s"  # the journal has the time
        try:
            from systemd.journal import JournalHandler  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            handler = JournalHandler(SYSLOG_IDENTIFIER="framebuf")
            plain = "%(message)s"
    handler.setFormatter(logging.Formatter(plain))
    logging.basicConfig(level=level, handlers=[handler], force=True)
