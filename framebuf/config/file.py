"""A configuration file, read: its tables, and errors that name file, line, key and remedy."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

from framebuf.config.tables import Camera, Config, Model, Mqtt, Node, Table, TriggerDefaults
from framebuf.config.toml_lines import key_lines
from framebuf.errors import ConfigError
from framebuf.units import Duration, Size, Span


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and where its keys stand."""

    config: Config
    file: str
    lines: dict[str, int]

    def error(self, key: str, what: str, remedy: str) -> ConfigError:
        """An error about `key`, such as `camera[0].memory`, that names its file and line."""
        return ConfigError(_where(self.file, self.lines, key), what, remedy)


def read(path: Path) -> Loaded:
    """Read a configuration file. Relative paths in it start at its folder.

    Raises:
        ConfigError: it cannot be read, or anything in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            str(path), f"cannot be read: {reason}", "name a readable file with -c"
        ) from error
    return parse(text, str(path), path.parent.absolute())


def parse(text: str, file: str, folder: Path) -> Loaded:
    """As `read`, from a text that stands in `file`.

    Raises:
        ConfigError: anything in it is wrong.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        what = re.sub(r" \(at .*\)", "", str(error)).lower()
        raise ConfigError(
            f"{file}:{match[1]}" if match else file, f"is not TOML: {what}", "mend that line"
        ) from error
    lines = key_lines(text)
    try:
        config = msgspec.convert(data, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise _config_error(str(error), file, lines) from error
    loaded = Loaded(config, file, lines)
    return msgspec.structs.replace(loaded, config=_resolved(loaded, folder))


def _decode(kind: type, value: object) -> object:
    if kind in (Duration, Span, Size):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _where(file: str, lines: dict[str, int], key: str) -> str:
    parent = key
    while parent and parent not in lines:
        parent = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", parent)
    return f"{file}:{lines[parent]}: {key}" if parent else f"{file}: {key}"


def _config_error(message: str, file: str, lines: dict[str, int]) -> ConfigError:
    """A msgspec message, which ends in ` - at `$.path``, as what, where and remedy."""
    what, _, path = message.partition(" - at `$")
    key = path.rstrip("`").lstrip(".")
    if match := re.match(r"Object contains unknown field `(.*)`", what):
        key = f"{key}.{match[1]}" if key else match[1]
        near = difflib.get_close_matches(match[1], _known_keys(key), n=1, cutoff=0.5)
        known = ", ".join(_known_keys(key))
        remedy = f"did you mean {near[0]}?" if near else f"the known keys are {known}"
        return ConfigError(_where(file, lines, key), "unknown key", remedy)
    if match := re.match(r"Object missing required field `(.*)`", what):
        key = f"{key}.{match[1]}" if key else match[1]
        return ConfigError(_where(file, lines, key), "is missing", f"add {match[1]} = …")
    if match := re.match(r"Expected `(.*)`, got `(.*)`", what):
        return ConfigError(_where(file, lines, key), f"got {match[2]}", f"give it as {match[1]}")
    if "matching regex" in what:
        return ConfigError(_where(file, lines, key), "is no valid name or value", _pattern(key))
    if match := re.match(r"Invalid enum value (.*)", what):
        choices = ", ".join(_choices(key))
        return ConfigError(_where(file, lines, key), f"{match[1]} is no choice", f"use {choices}")
    what, _, remedy = what.partition(": ")
    return ConfigError(
        _where(file, lines, key), what.replace("`", ""), remedy or "give a value in range"
    )


def _pattern(key: str) -> str:
    if key.endswith("platform"):
        return "platforms are auto, cpu, rk3562, rk3566, rk3568, rk3576, rk3582, rk3588, sim:rk…"
    if key.endswith("base"):
        return "give topic levels without + or #, such as site/framebuf"
    return "use 1 to 64 letters, digits, dots, dashes or underscores"


def _table(key: str) -> type[Table]:
    """The table that `key` stands in."""
    tables: dict[str, type[Table]] = {
        "": Config,
        "node": Node,
        "mqtt": Mqtt,
        "camera": Camera,
        "model": Model,
        "camera.trigger": TriggerDefaults,
    }
    return tables[re.sub(r"\[\d+\]", "", key).rpartition(".")[0]]


def _known_keys(key: str) -> tuple[str, ...]:
    """The keys that may stand where `key` stands."""
    return _table(key).__struct_fields__


def _choices(key: str) -> list[str]:
    """The values that a key of fixed choices may have."""
    field = key.rpartition(".")[2]
    literals = get_args(get_type_hints(_table(key))[field])
    flat = [arg for literal in literals for arg in (get_args(literal) or (literal,))]
    return [choice for choice in flat if isinstance(choice, str)]


def _resolved(loaded: Loaded, folder: Path) -> Config:
    """Paths with their variables replaced, relative ones below `folder`."""

    def path(key: str, text: str | None) -> str | None:
        if not text:
            return text
        expanded = os.path.expandvars(text)
        if match := re.search(r"\$\{?(\w+)", expanded):
            raise loaded.error(
                key, f"the variable {match[1]} is not set", "set it, or write the path itself"
            )
        return expanded if "://" in expanded else str(folder / expanded)

    config, replace = loaded.config, msgspec.structs.replace
    node = replace(
        config.node,
        ring_dir=path(
            "node.ring_dir", config.node.ring_dir or "/dev/shm/framebuf-" + config.node.name
        ),
        state_dir=path("node.state_dir", config.node.state_dir),
    )
    files = ("password_file", "ca_file", "cert_file", "key_file")
    mqtt = replace(
        config.mqtt, **{name: path(f"mqtt.{name}", getattr(config.mqtt, name)) for name in files}
    )
    cameras = tuple(
        replace(camera, source=path(f"camera[{at}].source", camera.source))
        for at, camera in enumerate(config.camera)
    )
    models = tuple(
        replace(
            model,
            path=path(f"model[{at}].path", model.path),
            labels=path(f"model[{at}].labels", model.labels),
        )
        for at, model in enumerate(config.model)
    )
    return Config(node=node, mqtt=mqtt, camera=cameras, model=models)
