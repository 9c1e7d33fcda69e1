"""Keep the last camera frames; on an MQTT trigger, infer on them in batches and publish.

As a library:

    from framebuf import open_model

    with open_model("osnet-batch{1,4,8,16}.rknn", platform="sim:rk3588", runtimes=3) as model:
        for result in model.map(frames):      # any number of (h, w, 3) uint8 BGR arrays; in order
            print(result.findings or result.error)
        batch = model.new_batch(8)            # by hand
        for frame in frames[:8]:
            batch.add(frame)
        batch.run()
        first = batch.output(0)               # row 0 of each of the model's outputs
        batch.close()

    # two models in a row: what the first detects goes through the second, in batches of its own
    looks = {"path": "mobilenetv2-224.onnx", "task": "embed", "only": ["person"]}
    coco = {"task": "detect", "decoder": "nanodet", "labels": "coco.txt"}
    with open_model("nanodet-416.onnx", **coco, then=looks) as model:
        for result in model.map(frames):
            for found in result.findings.detections:
                print(found.label, found.box, found.embedding)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framebuf.buffer.ring import FrameRing
    from framebuf.frames import Frame
    from framebuf.models.batch import Batch
    from framebuf.models.pool import RuntimePool

__version__ = "0.1.0"
__all__ = ["Batch", "Frame", "FrameRing", "RuntimePool", "open_model"]

_HOMES = {
    "Batch": "framebuf.models.batch",
    "Frame": "framebuf.frames",
    "FrameRing": "framebuf.buffer.ring",
    "RuntimePool": "framebuf.models.pool",
}


def open_model(
    path: str | os.PathLike[str],
    *,
    task: str = "raw",
    then: Mapping[str, Any] | None = None,
    **keys: Any,
) -> RuntimePool:
    """Load a model, and start its pool. `keys` are those of [[model]] in framebuf.toml.

    `path` may be a family, `osnet-batch{1,4,8,16}.rknn`. Say `runtimes=3` for a pool of three.
    Paths are strings or Path objects.
    `then` has the keys of a second model, which sees what this one detects: its `path`, its
    `task`, embed or classify, and `only` and `max_crops`.

    Raises:
        ConfigError: a key is unknown or its value is wrong.
        ModelError: a file is missing or broken, or does not fit its keys.
    """
    from framebuf.config import models_of  # noqa: PLC0415 - `import framebuf` stays quick
    from framebuf.models.pool import RuntimePool  # noqa: PLC0415

    first = {"name": "model", "path": path, "task": task} | keys
    second = () if then is None else ({"name": "then"} | dict(then),)
    tables = [{key: _plain(value) for key, value in table.items()} for table in (first, *second)]
    return RuntimePool.open(*models_of(*tables))


def _plain(value: Any) -> Any:
    """A path as the configuration has it."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def __getattr__(name: str) -> object:
    """The library's nouns, imported when they are first used: `framebuf --help` needs none."""
    if name not in _HOMES:
        raise AttributeError(f"module framebuf has no attribute {name}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_HOMES[name]), name)
