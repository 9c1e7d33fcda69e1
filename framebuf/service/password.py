"""The broker's password, which stands in a file of its own."""

from __future__ import annotations

from pathlib import Path

from framebuf import textfile
from framebuf.errors import ConfigError


def read(path: str | None) -> str | None:
    """A password from its file, without the line's end.

    Raises:
        ConfigError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return textfile.read(Path(path), "utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            "mqtt.password_file", f"{path}: {why}", "make it a text that the service can read"
        ) from error
