"""Ctrl-C and its like, at moments when nothing can get lost by them."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP as one KeyboardInterrupt; more of them are ignored.

    The first ends the demo, and a second would end its tidying up. Main thread only.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """They are raised in this block; afterwards they mean what they meant before."""
        before = [signal.getsignal(number) for number in _SIGNALS]
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self._arrived())
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is made in this block is handed to whoever tidies it up; they come at its end.

        Raises:
            KeyboardInterrupt: one came meanwhile.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on they do nothing."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _arrived(self) -> None:
        self.ignore()
        if self._held:
            self._waiting = True
        else:
            raise KeyboardInterrupt
