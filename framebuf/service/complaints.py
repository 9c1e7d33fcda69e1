"""Why a socket failed, which paho tells its log alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Complaints(logging.Handler):
    """paho tells its callbacks that a socket failed, and only its log why."""

    def __init__(self, tell: Callable[[OSError], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        for said in record.args or ():
            if isinstance(said, OSError):
                self._tell(said)


def log_that_tells(tell: Callable[[OSError], None]) -> logging.Logger:
    """A log for one connection's client; who drops it drops `tell` too."""
    log = logging.Logger("paho", logging.ERROR)  # noqa: LOG001 - one a connection
    log.addHandler(Complaints(tell))
    return log
