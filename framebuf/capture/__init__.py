"""A camera into a buffer. `open_source` tells a folder, a file, a stream and a device apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.capture.source import PATIENCE_S, URL, without_credentials
from framebuf.errors import SourceError

if TYPE_CHECKING:
    import threading

    from framebuf.capture.source import Source

_STREAM = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)


def open_source(
    source: str,
    *,
    stop: threading.Event,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    patience_s: float = PATIENCE_S,
    encoded: bool = False,
) -> Source:
    """Open a folder of pictures, a video file, an RTSP or HTTP stream, or a V4L2 device.

    `fps` paces a folder and is asked of a device, frames a second; `size`, width and height, is
    asked of a device. `patience_s` is how long a stream may be silent. Setting `stop` ends the
    source's waits. `encoded`: the source gives its packets, and decodes nothing.

    Raises:
        SourceError: it is none of these, or cannot be opened.
    """
    # Each where it is wanted: av takes 0.1 s and 9 MB, and a folder or a device has no use for it
    if _STREAM.match(source):
        from framebuf.capture.stream import Stream  # noqa: PLC0415

        return Stream.open(source, stop, patience_s, encoded=encoded)
    path = Path(source)
    if path.is_dir() and encoded:
        raise SourceError(f'{source} is a folder of pictures; they need store = "raw"')
    if path.is_dir():
        from framebuf.capture.pictures import Pictures  # noqa: PLC0415

        return Pictures.open(path, 1.0 if fps is None else fps, stop)
    if path.is_file():
        from framebuf.capture.film import Film  # noqa: PLC0415

        return Film.open(path, stop, encoded=encoded)
    # Unplugged, a device has no node, and the links by its name are gone
    if source.startswith(("/dev/video", "/dev/v4l/")) or path.is_char_device():
        from framebuf.capture.v4l2 import Device  # noqa: PLC0415

        return Device.open(source, stop, size=size, fps=fps, encoded=encoded)
    what = "not a kind of source" if URL.match(source) else "there is no such file or folder"
    raise SourceError(
        f"{without_credentials(source)}: {what}; "
        "expected a folder of pictures, a video file, a V4L2 device, or an rtsp:// or http:// URL"
    )
