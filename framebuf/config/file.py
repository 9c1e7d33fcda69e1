"""A configuration file, read: its tables, and errors that name file, line, key and remedy."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from framebuf import textfile
from framebuf.config.tables import (
    Camera,
    Config,
    HomeAssistant,
    Model,
    Mqtt,
    Node,
    Table,
    TriggerDefaults,
    Web,
)
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

    def located(self, error: ConfigError, table: str = "") -> ConfigError:
        """An error of a part, which knows its key below `table.`, with the file and the line."""
        return self.error(f"{table}{error.where}", error.what, error.remedy)


def read(path: Path) -> Loaded:
    """Read a configuration file. Relative paths in it start at its folder.

    Raises:
        ConfigError: it cannot be read, or anything in it is wrong.
    """
    return parse(text_of(path), str(path), path.parent.absolute())


def parse(text: str, file: str, folder: Path) -> Loaded:
    """As `read`, from a text that stands in `file`.

    Raises:
        ConfigError: anything in it is wrong.
    """
    return convert(tables_of(text, file), text, file, folder)


def text_of(path: Path) -> str:
    """What stands in a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return textfile.read(path, "utf-8-sig")  # editors of Windows put a mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        remedy = (
            "name a readable file with -c" if isinstance(error, OSError) else "save it as UTF-8"
        )
        raise ConfigError(str(path), f"cannot be read: {reason}", remedy) from error


def tables_of(text: str, file: str) -> dict[str, Any]:
    """The tables of a text that stands in `file`.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError alone for a number of 5000 digits
        raise _syntax_error(error, text, file) from error


def convert(data: dict[str, Any], text: str, file: str, folder: Path) -> Loaded:
    """Tables of a text that stands in `file`; relative paths in them start at `folder`.

    Raises:
        ConfigError: anything in them is wrong.
    """
    lines = key_lines(text)
    try:
        config = msgspec.convert(data, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise _config_error(str(error), file, lines) from error
    loaded = Loaded(config, file, lines)
    return msgspec.structs.replace(loaded, config=_resolved(loaded, folder))


def from_tables(data: dict[str, Any], said_in: str) -> Loaded:
    """As `parse`, from tables of Python; paths stay as they are.

    Raises:
        ConfigError: anything in it is wrong.
    """
    try:
        return Loaded(msgspec.convert(data, Config, dec_hook=_decode), said_in, {})
    except msgspec.ValidationError as error:
        raise _config_error(str(error), said_in, {}) from error


def _decode(kind: type, value: object) -> object:
    if kind in (Duration, Span, Size):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _where(file: str, lines: dict[str, int], key: str) -> str:
    parent = key
    while parent and parent not in lines:
        match = re.fullmatch(r"(.*)(?:\[\d+\]|\.[^.]*)", parent, re.DOTALL)
        parent = match[1] if match else ""
    return f"{file}:{lines[parent]}: {key}" if lines else f"{file}: {key}"


def _syntax_error(error: ValueError | RecursionError, text: str, file: str) -> ConfigError:
    lines = text.split("\n")
    if isinstance(error, tomllib.TOMLDecodeError):
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(match[1]) if match else len(text.rstrip().split("\n"))
        what = re.sub(r" \(at .*\)", "", str(error))
        what = what[:1].lower() + what[1:]
    else:  # nested for ever, or a number without end: either way one line of absurd length
        line = 1 + max(range(len(lines)), key=lambda at: len(lines[at]))
        what = "a number is too long" if isinstance(error, ValueError) else "nested too deeply"
    return ConfigError(f"{file}:{line}", f"is not TOML: {what}", "mend that line")


def _config_error(message: str, file: str, lines: dict[str, int]) -> ConfigError:
    """A msgspec message, which ends in ` - at `$.path`` but for the root, as ConfigError."""
    at = re.search(r" - at `\$([^`]*)`\Z", message)
    what = message[: at.start()] if at else message
    key = at[1].lstrip(".") if at else ""
    remedy = ""
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        known = _table(key).__struct_fields__
        near = difflib.get_close_matches(match[1], known, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"the known keys are {', '.join(known)}"
        key, what = _below(key, match[1]), "unknown key"
    elif match := re.fullmatch(r"Object missing required field `(.*)`", what):
        key, what = _below(key, match[1]), "is missing"
        remedy = f"add {_header(key) or match[1] + ' = …'}"
    elif match := re.fullmatch(r"Expected `(.*)`, got `(.*)`", what):
        wanted = match[1].removesuffix(" | null")
        remedy = f"write {_header(key)}" if _header(key) else f"give {_WORDS.get(wanted, wanted)}"
        what = f"is {_WORDS.get(match[2], match[2])}"
    elif "matching regex" in what:
        what, remedy = "is no valid name or value", _pattern(key)
    elif match := re.fullmatch(r"Invalid enum value (.*)", what, re.DOTALL):
        what, remedy = f"{match[1]} is no choice", f"use {', '.join(_choices(key))}"
    elif what == "Expected `str` of length >= 1":
        what, remedy = "is empty", "give a text, or leave the key out"
    elif what.startswith("Expected"):
        remedy = "give a value in range"
        if "length" in what:
            remedy = "give so many characters" if "`str`" in what else "give as many values"
        what = what.replace("`", "").replace("Expected", "expected")
    else:
        what, _, remedy = what.rpartition(": ")  # from units: what is wrong, and the remedy
    return ConfigError(_where(file, lines, key), what, remedy)


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string in quotes",
    "bool": "true or false",
    "array": "an array in [ ]",
    "object": "a table",
}
"""TOML's words for msgspec's types."""

_TABLES: dict[str, type[Table]] = {
    "": Config,
    "node": Node,
    "mqtt": Mqtt,
    "web": Web,
    "homeassistant": HomeAssistant,
    "camera": Camera,
    "model": Model,
    "camera.trigger": TriggerDefaults,
}


_CREDENTIALS = "CREDENTIALS_DIRECTORY"
_STORE = "/etc/credstore/framebuf."
"""Where the unit's LoadCredential= has it from, for `framebuf check` and its like in a shell."""

LISTEN = 'write an address and a port, such as "127.0.0.1:8790" or "[::1]:8790"'
"""The remedy for an address that is none."""


def _below(table: str, name: str) -> str:
    """The key `name` of a table."""
    shown = name if name and name.isprintable() else ascii(name)
    return f"{table}.{shown}" if table else shown


def _header(key: str) -> str:
    """How the table `key` begins; empty for what is none."""
    table = re.sub(r"\[\d+\]", "", key)
    if not table or table not in _TABLES:
        return ""
    return f"[[{table}]]" if table in ("camera", "model") else f"[{table}]"


def _pattern(key: str) -> str:
    if key.endswith("platform"):
        return "platforms are auto, cpu, rk3562, rk3566, rk3568, rk3576, rk3582, rk3588, sim:rk…"
    if key.endswith(("base", "homeassistant.prefix")) or "response_prefix" in key:
        return "give topic levels without +, # or a leading $, such as site/framebuf"
    if key == "web.listen":
        return LISTEN
    return "use 1 to 64 letters, digits, dots, dashes or underscores"


def _table(key: str) -> type[Table]:
    """The type of the table `key`."""
    return _TABLES.get(re.sub(r"\[\d+\]", "", key), Config)


def _choices(key: str) -> list[str]:
    """The values that a key of fixed choices may have."""
    table, _, field = key.rpartition(".")
    literals = get_args(get_type_hints(_table(table)).get(field))
    flat = [arg for literal in literals for arg in (get_args(literal) or (literal,))]
    return [choice for choice in flat if isinstance(choice, str)]


def _resolved(loaded: Loaded, folder: Path) -> Config:
    """Paths with their variables replaced, relative ones below `folder`."""

    def path(key: str, text: str | None) -> str | None:
        if not text:
            return text
        if _CREDENTIALS not in os.environ:
            text = re.sub(rf"\A\$(?:{_CREDENTIALS}|{{{_CREDENTIALS}}})/", _STORE, text)
        for name in re.findall(r"\$(\w+|\{[^}]*\})", text, re.ASCII):
            if name.strip("{}") not in os.environ:
                instead = "%24 for a dollar sign" if "://" in text else "the path itself"
                raise loaded.error(
                    key,
                    f"the variable {name.strip('{}')} is not set",
                    f"set it, or write {instead}",
                )
        expanded = os.path.expandvars(text)
        if "\0" in expanded:
            raise loaded.error(key, "contains NUL", "no path has one: leave it out")
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
            ca_file=path(f"model[{at}].ca_file", model.ca_file),
            token_file=path(f"model[{at}].token_file", model.token_file),
        )
        for at, model in enumerate(config.model)
    )
    web = config.web
    if web is not None:
        web = replace(web, token_file=path("web.token_file", web.token_file))
    return replace(config, node=node, mqtt=mqtt, web=web, camera=cameras, model=models)
