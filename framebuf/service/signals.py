"""The signals of the process."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.service.daemon import Daemon


def stop_on_signals(daemon: Daemon) -> None:
    """SIGTERM and SIGINT stop the daemon, SIGHUP reloads it. Only the main thread.

    On a terminal SIGHUP means that the terminal is gone, and stops it too.
    """
    stop = [signal.SIGTERM, signal.SIGINT]
    if os.isatty(2):
        stop.append(signal.SIGHUP)
    else:
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    for number in stop:
        signal.signal(number, lambda *_: daemon.stop())
