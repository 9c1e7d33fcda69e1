"""What the demo shows: a node with one camera and the sample detector, as a configuration file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf import config
from framebuf.demo.broker import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Loaded

ASSETS = Path(__file__).parent / "assets"
PHOTOS = ASSETS / "photos"
NODE = "demo"
CAMERA = "camera"
FRAMES = 5
"""How many frames a trigger asks for: each of the shipped pictures once."""
RATE = 5
"""Frames a second."""
BUFFER_S = 4

_MEMORY_MIB = 256
_MOST_OF_TMPFS = 0.5
"""Containers have 64 MiB of /dev/shm, and other programs want some of it."""

_TEMPLATE = """\
# The configuration of a running `framebuf demo`; it goes away with it.

[node]
name = {node}
ring_dir = {rings}
state_dir = {state}

[mqtt]
host = {host}
port = {port}

[[camera]]
name = {camera}
source = {source}
fps = {rate}
buffer = "{buffer_s}s"
memory = "{memory} MiB"
models = {models}

[camera.trigger]
mode = "window"
before = {frames}
"""

_DETECTOR = """
[[model]]
name = {name}
path = {model}
platform = "cpu"
task = "detect"
decoder = "nanodet"
labels = {labels}
batch_sizes = [1, 4, 8]
"""

_LOOKS = """
[[model]]
name = {name}
path = {model}
platform = "cpu"
task = "embed"
resize = "stretch"
batch_sizes = [1, 4, 8]
only = ["person"]
"""

CHOICES = (("nanodet",), ("person",), ("person", "looks"))
"""Which models there are to play with, by their names: in a row the second sees the people that
the first finds."""


def load(folder: Path, port: int, source: str | None, models: Sequence[str] = CHOICES[0]) -> Loaded:
    """Write framebuf.toml into `folder`, a tmpfs, and read it as the daemon does.

    `source` is a camera as in the configuration, from the working directory; None: the pictures.
    `models` is one of `CHOICES`.

    Raises:
        ConfigError: `source` cannot stand in a configuration.
    """
    text = _TEMPLATE.format(
        node=_quoted(NODE),
        rings=_quoted(folder / "rings"),
        state=_quoted(folder / "state"),
        host=_quoted(HOST),
        port=port,
        camera=_quoted(CAMERA),
        source=_quoted(PHOTOS if source is None else _absolute(source)),
        rate=RATE,
        buffer_s=BUFFER_S,
        memory=_memory_mib(folder),
        frames=FRAMES,
        models=json.dumps(list(models)),
    )
    text += _DETECTOR.format(
        name=_quoted(models[0]),
        model=_quoted(ASSETS / "nanodet-416.onnx"),
        labels=_quoted(ASSETS / "coco.txt"),
    )
    for name in models[1:]:
        text += _LOOKS.format(name=_quoted(name), model=_quoted(ASSETS / "mobilenetv2-224.onnx"))
    path = folder / "framebuf.toml"
    path.write_text(text, encoding="utf-8")
    return config.parse(text, str(path), folder)


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path.cwd() / Path(source).expanduser())


def _memory_mib(folder: Path) -> int:
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize * _MOST_OF_TMPFS / 2**20
    return max(1, min(_MEMORY_MIB, int(free)))


def _quoted(text: object) -> str:
    """A TOML basic string; JSON's escapes are among TOML's but for pairs of surrogates."""
    return json.dumps(str(text), ensure_ascii=False)
