"""The log, into systemd's journal with its fields.

The journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry. For where
systemd-python is not installed, which comes without wheels and needs a compiler.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import struct
from pathlib import Path

from framebuf.service.events import MESSAGE_IDS

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "framebuf"
PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6))
"""From which level of Python on which priority of syslog; below: 7."""
_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")


class JournalHandler(logging.Handler):
    """Sends records to journald: uppercase extras become fields. Any thread."""

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(encode(self.format(record), record))
        except Exception:  # noqa: BLE001 - the way of logging: never an error of the program
            self.handleError(record)

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._address)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                self._send_by_file(entry)  # too large for a datagram, as a traceback may be
            # journald that restarts is no error; what is said meanwhile is lost

    def _send_by_file(self, entry: bytes) -> None:
        file = os.memfd_create("framebuf-journal", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with open(file, "wb", closefd=False) as content:
                content.write(entry)
            _seal(file)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))
            self._socket.sendmsg([b""], [rights], 0, self._address)
        finally:
            os.close(file)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def __repr__(self) -> str:
        return f"<JournalHandler {self._address}>"


def encode(message: str, record: logging.LogRecord) -> bytes:
    """A record as the journal takes it: MESSAGE, PRIORITY, where it was said, uppercase extras."""
    fields = {
        "MESSAGE": message,
        "PRIORITY": next((to for least, to in PRIORITIES if record.levelno >= least), 7),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LOGGER": record.name,
        "THREAD_NAME": record.threadName,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
    }
    extras = {name: value for name, value in vars(record).items() if _FIELD.match(name)}
    fields |= extras
    if (number := MESSAGE_IDS.get(str(extras.get("EVENT")))) is not None:
        fields["MESSAGE_ID"] = number
    return b"".join(_field(name, str(value)) for name, value in fields.items() if value is not None)


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def _seal(file: int) -> None:
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
