"""A folder of pictures, each once, read ahead by a few threads."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING

from framebuf.capture.pictures import SUFFIXES, decoded
from framebuf.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

READERS = min(4, os.cpu_count() or 1)
AHEAD = 2 * READERS
"""Pictures that are read, or being read, before they are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One file: its pixels, or why there are none."""

    file: Path
    pixels: NDArray[np.uint8] | None = None
    """(height, width, 3) uint8, BGR, turned as its EXIF says."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """The pictures of a folder, by name."""

    path: Path
    files: tuple[Path, ...]
    others: int
    """Files that are no pictures, judged by their suffixes."""

    @classmethod
    def open(cls, path: Path) -> Folder:
        """List a folder. Hidden files, and folders in it, are passed over.

        Raises:
            SourceError: it cannot be listed, or has no pictures.
        """
        try:
            found = sorted(each for each in path.iterdir() if not each.name.startswith("."))
        except OSError as error:
            raise SourceError(f"cannot list {path}: {error.strerror}") from error
        files = [each for each in found if not each.is_dir()]
        pictures = tuple(each for each in files if each.suffix.lower() in SUFFIXES)
        if not pictures:
            raise SourceError(f"no pictures in {path}: expected {', '.join(SUFFIXES)}")
        return cls(path, pictures, len(files) - len(pictures))

    def read(self, times: int = 1) -> Iterator[Picture]:
        """Every picture in order, `times` over; what cannot be read too, with its error."""
        files = chain.from_iterable(repeat(self.files, times))
        ahead: deque[Future[Picture]] = deque()
        with ThreadPoolExecutor(READERS, "read") as readers:
            try:
                for file in files:
                    ahead.append(readers.submit(_read, file))
                    if len(ahead) > AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for each in ahead:
                    each.cancel()


def _read(file: Path) -> Picture:
    pixels = decoded(file)
    return Picture(file, error=pixels) if isinstance(pixels, str) else Picture(file, pixels)
