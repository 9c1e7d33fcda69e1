"""framebuf.toml as typed, checked structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framebuf.config import checks, file
from framebuf.config.client import load_client
from framebuf.config.file import Loaded
from framebuf.config.tables import (
    Base,
    Camera,
    Config,
    HomeAssistant,
    Host,
    Model,
    Mqtt,
    Name,
    Node,
    TriggerDefaults,
    Web,
    schema,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Base",
    "Camera",
    "Config",
    "HomeAssistant",
    "Host",
    "Loaded",
    "Model",
    "Mqtt",
    "Name",
    "Node",
    "TriggerDefaults",
    "Web",
    "load",
    "load_client",
    "model_of",
    "models_of",
    "parse",
    "schema",
]


def load(path: Path) -> Loaded:
    """Read and check a configuration file. Relative paths in it start at its folder.

    Raises:
        ConfigError: it cannot be read, or anything in it is wrong.
    """
    loaded = file.read(path)
    checks.check(loaded)
    return loaded


def parse(text: str, name: str, folder: Path) -> Loaded:
    """As `load`, from a text that stands in the file `name`.

    Raises:
        ConfigError: anything in it is wrong.
    """
    loaded = file.parse(text, name, folder)
    checks.check(loaded)
    return loaded


def model_of(keys: dict[str, Any]) -> Model:
    """A [[model]] table from its keys, checked as in a file.

    Raises:
        ConfigError: anything in it is wrong.
    """
    return models_of(keys)[0]


def models_of(*tables: dict[str, Any]) -> tuple[Model, ...]:
    """As `model_of`, of models in a row.

    Raises:
        ConfigError: anything in them is wrong, or they do not go together.
    """
    names = [keys.get("name") for keys in tables]
    camera = {"name": "none", "source": "none", "models": names}
    loaded = file.from_tables({"camera": [camera], "model": list(tables)}, "open_model")
    checks.check(loaded)
    return loaded.config.model
