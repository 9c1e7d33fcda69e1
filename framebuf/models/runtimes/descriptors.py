"""What a C library writes to standard output and error, tapped for a while."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Take = Callable[[str], bool]

JOIN_S = 2.0
"""For a tap whose pipe somebody else holds open: a child process of that moment."""

_tapping = threading.Lock()  # who has it has changed descriptors 1 and 2


@contextmanager
def tapped(take: Take) -> Iterator[None]:
    """Show `take` every line that anybody writes; what it does not take goes where it was meant to.

    `take` is called in threads of its own, and must not log: the log may end in what is tapped.
    What stands in the pipe when the process dies is lost, so this is for a short while.
    """
    with _tapping:
        _flush()
        with _tap(1, take), _tap(2, take):
            yield


@contextmanager
def _tap(descriptor: int, take: Take) -> Iterator[None]:
    try:
        before = os.dup(descriptor)
    except OSError:  # it is closed: nobody would read it
        yield
        return
    out, into = os.pipe()
    os.dup2(into, descriptor)
    os.close(into)
    thread = threading.Thread(
        target=_sort, args=(out, before, take), name=f"tap-{descriptor}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        _flush()
        os.dup2(before, descriptor)  # closes the pipe: the thread comes to its end
        thread.join(JOIN_S)


def _sort(out: int, before: int, take: Take) -> None:
    """Owns both descriptors."""
    try:
        with suppress(OSError), open(out, "rb") as lines:  # what was there before may be gone
            for line in lines:
                if not take(line.decode("utf-8", "replace")):
                    os.write(before, line)
    finally:
        os.close(before)


def _flush() -> None:
    """Empty the buffers of C's own streams: the library writes to them."""
    ctypes.CDLL(None).fflush(None)
