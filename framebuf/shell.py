"""What a shell sees of a process of framebuf: its streams, one line for an error, an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from framebuf.errors import ConfigError, FramebufError

EX_CONFIG = 78
"""sysexits.h: no restart mends it."""

UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Why standard output cannot be written."""


def leave_with(work: Callable[[], int | None]) -> NoReturn:
    """Do the work and end the process with its code: an error is one line, never a traceback."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # × and → where the locale has none
    try:
        code = work()
        sys.stdout.flush()
    except ConfigError as error:
        code = fail(str(error), EX_CONFIG)
    except FramebufError as error:
        code = fail(str(error), 1)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        if error.filename is not None:
            code = fail(f"{os.fsdecode(error.filename)}: {error.strerror}", 1)
        elif error.errno in UNWRITABLE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where its rest goes
            reader_gone = error.errno == errno.EPIPE
            code = 1 if reader_gone else fail(f"cannot write: {error.strerror}", 1)
        else:
            raise
    except Exception as error:
        if not _is_interrupt(error):
            raise
        code = 130
    sys.exit(code or 0)


def fail(message: str, code: int) -> int:
    """Say what is wrong; returns `code`."""
    print(f"framebuf: {message}", file=sys.stderr)  # noqa: T201
    return code


def end_process(main: Callable[[], None]) -> None:
    """Run what leaves with a code, and end the process with it, whichever threads are at work.

    Python's own end cuts off a thread that nobody could wait for any longer, as soon as it wants
    the interpreter again; in the midst of a library's C++, as when a model is being loaded, that
    ends in abort(3).
    """
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int) and any(thread.daemon for thread in threading.enumerate()):
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os._exit(end.code)
        raise


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C stands behind it: numpy's import, for one, makes it an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _open_what_is_closed() -> None:
    """What was closed as `>&-` does is written to no file that is opened later."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
