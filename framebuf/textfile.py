"""Text files of people, read whole: never more than a bound, whatever the path leads to."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 * 2**20
"""Bytes. /dev/zero has no end."""


def read(path: Path, encoding: str) -> str:
    """The text of a file; a line ends with one newline.

    Raises:
        OSError: it cannot be read, or is larger than `LARGEST` (EFBIG).
        UnicodeDecodeError: it is not in this encoding.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return io.IncrementalNewlineDecoder(None, translate=True).decode(data.decode(encoding), True)
