"""What a client of the broker needs of a configuration file, which may hold nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framebuf.config import checks, file

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.config.file import Loaded

_OF_THE_NODE = ("web", "homeassistant", "camera", "model")
_NONE: dict[str, Any] = {
    "camera": [{"name": "none", "source": "none", "models": ["none"]}],
    "model": [{"name": "none", "path": "none"}],
}


def load_client(path: Path) -> Loaded:
    """Read [mqtt] and [node] of a file; what is the node's own business is passed over.

    Raises:
        ConfigError: it cannot be read, or anything in those two is wrong.
    """
    text = file.text_of(path)
    tables = file.tables_of(text, str(path))
    said = {name: table for name, table in tables.items() if name not in _OF_THE_NODE}
    loaded = file.convert(said | _NONE, text, str(path), path.parent.absolute())
    checks.check_mqtt(loaded)
    return loaded
