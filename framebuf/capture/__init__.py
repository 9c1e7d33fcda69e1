"""A camera into a buffer. `open_source` tells a folder, a file and a stream apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.capture.source import URL, without_credentials
from framebuf.errors import SourceError

if TYPE_CHECKING:
    import threading

    from framebuf.capture.source import Source

_STREAM = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)


def open_source(source: str, *, fps: float | None, stop: threading.Event) -> Source:
    """Open a folder of pictures, a video file, or an RTSP or HTTP stream.

    `fps` paces a folder, frames a second. Setting `stop` ends the source's waits.

    Raises:
        SourceError: it is none of these, or cannot be opened.
    """
    # Here, because they import this module; and av need not be loaded for a folder
    from framebuf.capture import film, pictures, stream  # noqa: PLC0415

    if _STREAM.match(source):
        return stream.Stream.open(source, stop)
    path = Path(source)
    if path.is_dir():
        return pictures.Pictures.open(path, 1.0 if fps is None else fps, stop)
    if path.is_file():
        return film.Film.open(path, stop)
    if source.startswith("/dev/video") or path.is_char_device():
        raise SourceError(f"{source}: V4L2 devices come with a later version")
    what = "not a kind of source" if URL.match(source) else "there is no such file or folder"
    raise SourceError(
        f"{without_credentials(source)}: {what}; "
        "expected a folder of pictures, a video file, or an rtsp:// or http:// URL"
    )
