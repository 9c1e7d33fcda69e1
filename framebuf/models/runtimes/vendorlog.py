"""What the vendor's Python and C libraries say about one model, brought into our log.

RKNNLite logs with Python's logging, in the thread that called it; the C library writes to standard
output and error. The first is caught always. The second only while a model is opened, for what
stands in the descriptors when the process dies would be lost: later it goes where it always went.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections import deque
from contextlib import contextmanager, redirect_stdout
from queue import SimpleQueue
from typing import TYPE_CHECKING

from framebuf.models.runtimes.descriptors import tapped

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

VENDOR_LOGGER = "acuityLogger"
"""The name by which RKNNLite logs; it has a handler of its own, on standard error."""
LIBRARY_LINE = re.compile(r"([EWIDN]) (RKNN\w*: .*)")
STAMP = re.compile(r"^RKNN\w*: (?:\[[0-9:.]+\] )?")
NOISE = (
    "Query dynamic range failed", "RKNN_QUERY_INPUT_DYNAMIC_RANGE", "rknn-toolkit-lite2 version",
)  # fmt: skip
"""Said of every model, and no trouble."""
LEVELS = {"E": logging.ERROR, "W": logging.WARNING}
MOST_LINES = 40
"""Kept of one model."""

_thread = threading.local()  # .log: the VendorLog that listens in this thread


class VendorLog:
    """What is said about one model. Any thread may listen, each hears what it caused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: deque[tuple[int, str]] = deque(maxlen=MOST_LINES)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """What RKNNLite logs in this thread is about this model."""
        _thread.log = self
        try:
            yield
        finally:
            _thread.log = None

    @contextmanager
    def opening(self) -> Iterator[None]:
        """As `listening`; what the C library writes to descriptors 1 and 2 is heard too."""
        said: SimpleQueue[tuple[int, str] | None] = SimpleQueue()
        teller = threading.Thread(target=self._tell, args=(said,), name="rknn-log", daemon=True)

        def take(line: str) -> bool:
            match = LIBRARY_LINE.match(line)
            if match:
                said.put((LEVELS.get(match[1], logging.DEBUG), match[2]))
            return match is not None

        with self.listening():
            teller.start()
            try:
                with _printed(self), tapped(take):
                    yield
            finally:
                said.put(None)
                teller.join()

    def _tell(self, said: SimpleQueue[tuple[int, str] | None]) -> None:
        """Log at once: what comes before a call that hangs is what explains it."""
        while (line := said.get()) is not None:
            self.hear(*line)

    def hear(self, level: int, text: str) -> None:
        """Keep and log what was said: lines."""
        lines = [line for line in text.splitlines() if line.strip()]
        if any(noise in text for noise in NOISE):
            level = logging.DEBUG
        for line in lines:
            self._lines.append((level, line))
        for line in lines[-1:]:  # of a traceback the last line says it
            _log.log(level, "%s: %s", self.name, line.removeprefix("Exception: "))

    @property
    def text(self) -> str:
        """All that is kept, to search in."""
        return "\n".join(line for _, line in list(self._lines))

    @property
    def errors(self) -> str:
        """The complaints, in one line for an error message."""
        said = [line for level, line in list(self._lines) if level >= logging.ERROR]
        kept = [
            STAMP.sub("", line).removeprefix("Exception: ") for line in said
            if not line.startswith((" ", "Traceback", "Catch exception"))
        ]  # fmt: skip
        return "; ".join(dict.fromkeys(kept)) or "nothing"

    @property
    def swallowed(self) -> BaseException | None:
        """What RKNNLite's bare except took though it was not its own, as its traceback tells."""
        match = re.search(r"^(KeyboardInterrupt|SystemExit)", self.text, re.MULTILINE)
        if match is None:
            return None
        return KeyboardInterrupt() if match[1] == "KeyboardInterrupt" else SystemExit(1)

    def clear(self) -> None:
        """Forget what was said before a call."""
        self._lines.clear()

    def __repr__(self) -> str:
        return f"<VendorLog {self.name} {len(self._lines)} lines>"


class _Ear(logging.Handler):
    """RKNNLite's log, in place of its own handler."""

    def emit(self, record: logging.LogRecord) -> None:
        log = getattr(_thread, "log", None) or VendorLog("rknn")
        log.hear(record.levelno, record.getMessage())


_EAR = _Ear()


def take_over() -> None:
    """Be the only one that RKNNLite's logger talks to, and give the levels their names back."""
    logger = logging.getLogger(VENDOR_LOGGER)
    logger.propagate = False
    for handler in [each for each in logger.handlers if each is not _EAR]:
        logger.removeHandler(handler)
    logger.addHandler(_EAR)
    for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        logging.addLevelName(getattr(logging, name), name)  # it calls them D, I, W, E for all


@contextmanager
def _printed(log: VendorLog) -> Iterator[None]:
    """RKNNLite prints what it misses in a container; what others print is passed on."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        text = printed.getvalue()
        if "!!!" in text:
            log.hear(logging.WARNING, text)
        else:
            sys.stdout.write(text)
