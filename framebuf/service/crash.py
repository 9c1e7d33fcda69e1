"""How the process ends badly: at once, with a word about why. Something else starts it again."""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from typing import NoReturn

_log = logging.getLogger(__name__)

STDERR = 2
"""The process's own, whatever stands in its place in Python."""
WORD_S = 2.0
"""How long a last word may take: a log that nobody reads must not keep the process alive."""


def end_process_when_told() -> None:
    """Prepare the process to end badly: before any other thread runs.

    An unexpected exception in any thread ends it (threading.excepthook); one on the main thread
    does so by itself. SIGABRT, which a service manager's watchdog sends, SIGSEGV and the like tell
    first where every thread is.
    """
    faulthandler.enable(STDERR)

    def hook(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        end_process(f"thread {name} died", args.exc_value or args.exc_type())

    threading.excepthook = hook


def end_process(why: str, error: BaseException | None = None) -> NoReturn:
    """Log why, and end the process with 1, whatever its other threads do. Any thread."""
    faulthandler.dump_traceback_later(WORD_S, exit=True, file=STDERR)
    _log.critical("%s; ending the process", why, exc_info=error)
    logging.shutdown()
    os._exit(1)


def end_process_later(seconds: float) -> None:
    """End the process with 1 unless called again in time, and tell where every thread is.

    faulthandler's thread needs no interpreter lock: a call into a driver that holds it is no way
    out. A process that was stopped (SIGSTOP) for so long ends when it goes on.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)


def end_process_never() -> None:
    """Take `end_process_later` back."""
    faulthandler.cancel_dump_traceback_later()
