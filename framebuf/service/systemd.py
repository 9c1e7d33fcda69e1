"""systemd, where it runs us: readiness, the watchdog, journal fields. Quiet everywhere else."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

from framebuf.service.events import MESSAGE_IDS
from framebuf.service.journald import IDENTIFIER, SOCKET, JournalHandler


class Notifier:
    """Tells the service manager how the daemon is (sd_notify(3)): datagrams to NOTIFY_SOCKET.

    Ten lines of our own, for systemd-python is an extra that needs a compiler, and a `Type=notify`
    service that cannot say READY is killed.
    """

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        usec = os.environ.get("WATCHDOG_USEC")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if usec and mine else None
        """The service manager ends a daemon that is silent for longer; None: never."""
        self._status: str | None = None

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

    def tell_status(self, text: str) -> None:
        """Send STATUS where it says something else than the last time."""
        if text != self._status:
            self._status = text
            self.tell(STATUS=text)

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'off'}>"


def log_to_journal_or_stderr(level: str = "INFO", address: Path = SOCKET) -> None:
    """Send the log where it is read: fields to the journal, else readable lines to stderr.

    To the journal only where standard error is the journal's already: JOURNAL_STREAM alone says
    little, for what a service starts inherits it, whatever its own standard error is.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    plain = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    if _stderr_is_journal():
        handler = _journal(address)
        plain = "%(message)s"
    handler.setFormatter(logging.Formatter(plain))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _journal(address: Path) -> logging.Handler:
    """systemd-python's handler where that is installed, else our own: fields come either way."""
    try:
        import systemd.journal as theirs  # noqa: PLC0415 - an extra: it needs a compiler
    except ImportError:
        return JournalHandler(address)
    handler: logging.Handler = theirs.JournalHandler(SYSLOG_IDENTIFIER=IDENTIFIER)
    handler.addFilter(_with_message_id)
    return handler


def _with_message_id(record: logging.LogRecord) -> bool:
    number = MESSAGE_IDS.get(str(getattr(record, "EVENT", None)))
    if number is not None:
        record.MESSAGE_ID = number
    return True


def set_log_level(level: str) -> None:
    """From now on log this and what is worse."""
    logging.getLogger().setLevel(level.upper())


def _stderr_is_journal() -> bool:
    """Whether standard error is the stream that the service manager named (systemd.exec(5))."""
    about = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"
