"""etc/framebuf.toml, the only explanation of the configuration, says what the loader does.

A paragraph is what stands between empty lines: comments, then the keys they explain. A key that
is commented out is `# key = value`, a table that is off without its header `# [web]`. Every key of
every table must be in it once, in order.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framebuf import config
from framebuf.config import Camera, Config, HomeAssistant, Model, Mqtt, Node, TriggerDefaults, Web

FILE = Path(__file__).parents[2] / "etc" / "framebuf.toml"
TEXT = FILE.read_text(encoding="utf-8")
TABLES = {
    "node": Node,
    "mqtt": Mqtt,
    "web": Web,
    "homeassistant": HomeAssistant,
    "camera": Camera,
    "camera.trigger": TriggerDefaults,
    "model": Model,
}
COMPUTED = ("node.name", "node.ring_dir")
"""Keys whose default is not the same on every machine."""

SERVED = ("max_batch", "timeout", "ca_file", "token_file", "fallback")
"""Keys of a [[model]] on servers."""

HEADER = re.compile(r"(?:# )?\[\[?([a-z.]+)\]\]?$")
KEY = re.compile(r"(?P<off># )?(?P<name>[a-z_]+) = (?P<value>.+)$")


@dataclass(frozen=True)
class Entry:
    """A key as the file shows it."""

    table: str
    name: str
    value: Any
    on: bool
    """Not commented out."""
    prose: str
    """What its paragraph says, on one line."""
    paragraph: str

    @property
    def key(self) -> str:
        return f"{self.table}.{self.name}"

    @property
    def field(self) -> msgspec.structs.FieldInfo:
        fields = msgspec.structs.fields(TABLES[self.table])
        return next(field for field in fields if field.name == self.name)

    @property
    def stated(self) -> str | None:
        """What follows `Default:`, up to the full stop or the line's end."""
        match = re.search(r"^# Default: (.+?)\.?$", self.paragraph, re.MULTILINE)
        return match[1] if match else None


def entries() -> list[Entry]:
    found = []
    table = ""
    for paragraph in re.split(r"\n{2,}", TEXT):
        lines = paragraph.splitlines()
        keys = []
        prose = []
        for line in lines:
            if header := HEADER.match(line):
                table = header[1]
            elif key := KEY.match(line):
                keys.append(key)
            else:
                assert line.startswith("#"), f"neither key nor comment: {line}"
                prose.append(line[2:])
        for key in keys:
            value = tomllib.loads(f"value = {key['value']}")["value"]
            said = " ".join(prose)
            found.append(Entry(table, key["name"], value, not key["off"], said, paragraph))
    return found


ENTRIES = entries()
every_key = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)


def typed(entry: Entry, value: Any) -> Any:
    """A value of the file as the loader makes it."""
    return msgspec.convert(value, entry.field.type, dec_hook=lambda kind, raw: kind.parse(raw))


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def load(text: str) -> config.Loaded:
    return config.parse(text, FILE.name, FILE.parent)


def test_the_file_loads_as_it_is_shipped():
    loaded = config.load(FILE).config
    assert [camera.name for camera in loaded.camera] == ["gate"]
    assert [model.name for model in loaded.model] == ["person"]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_explained_once_and_in_order(table):
    keys = [name for name in TABLES[table].__struct_fields__ if f"{table}.{name}" not in TABLES]
    assert [entry.name for entry in ENTRIES if entry.table == table] == keys


def test_every_table_is_in_the_file():
    assert set(Config.__struct_fields__) <= {entry.table for entry in ENTRIES}


@every_key
def test_every_key_has_an_explanation(entry):
    assert len(entry.prose) > 20


@every_key
def test_the_default_is_the_true_one(entry):
    default = default_of(entry.field)
    if default is msgspec.NODEFAULT:
        assert "Required." in entry.prose
        assert entry.on
        assert entry.stated is None
    elif default is None or entry.key in COMPUTED:
        assert entry.stated, "a default that no value shows is told in words"
    elif entry.on:
        assert entry.stated, "a key that is set states its default"
        stated = tomllib.loads(f"value = {entry.stated}")["value"]
        assert typed(entry, stated) == default
    else:
        assert entry.stated is None, "what is commented out is the default already"
        assert typed(entry, entry.value) == default


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_what_is_commented_out_is_accepted_as_it_stands(entry, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/framebuf.service")
    on = re.sub(r"^# ([a-z_]+ = )", r"\1", entry.paragraph, flags=re.MULTILINE)
    text = TEXT.replace(f"# [{entry.table}]\n", f"[{entry.table}]\n").replace(entry.paragraph, on)
    if entry.name in SERVED and entry.table == "model":
        text = re.sub(r"^path = .*$", 'path = "https://10.0.0.5:8000/nanodet"', text, flags=re.M)
        text += '\n[[model]]\nname = "person-local"\npath = "n.onnx"\ntask = "detect"\n'
        text += 'decoder = "nanodet"\n'
    loaded = load(text)
    at = entry.table.replace("camera", "camera[0]").replace("model", "model[0]")
    assert f"{at}.{entry.name}" in loaded.lines
