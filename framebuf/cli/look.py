"""A look into a model before its pool is opened: what runs it, its tensors, and its labels."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import framebuf
from framebuf.errors import ModelError
from framebuf.models.family import family_of
from framebuf.models.platforms import is_simulated
from framebuf.models.runtimes import open_runtime, platform_of
from framebuf.models.tasks import open_task

if TYPE_CHECKING:
    from framebuf.config import Model
    from framebuf.models.tensor import TensorSpec

ASSETS = Path(framebuf.__file__).parent / "demo" / "assets"
SHIPPED = {"classify": "imagenet.txt", "detect": "coco.txt"}
"""The sample models' label lists, by task."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one of a model's files says, opened once and closed again."""

    platform: str
    versions: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def at(cls, model: Model) -> Look:
        """Open the file of the largest batch size.

        Raises:
            ModelError: it is missing or broken.
        """
        path = list(family_of(model).files.values())[-1]
        platform = platform_of(path, model.platform)
        with closing(open_runtime(path, platform, threads=1, layout=model.layout)) as runtime:
            return cls(platform, runtime.versions, runtime.input, runtime.outputs)

    @property
    def simulated(self) -> bool:
        return is_simulated(self.platform)

    def labelled(self, model: Model) -> Model:
        """With ImageNet's or COCO's labels, where none are given and there are as many classes."""
        if model.labels is not None or model.task not in SHIPPED:
            return model
        labels = str(ASSETS / SHIPPED[model.task])
        candidate = msgspec.structs.replace(model, labels=labels)
        try:
            open_task(candidate, self.outputs, picture=self.input)
        except ModelError:
            return model
        return candidate

    def resolved(self, model: Model) -> Model:
        """As `labelled`, and with the platform that `auto` has come to."""
        return msgspec.structs.replace(self.labelled(model), platform=self.platform)

    @staticmethod
    def labels(model: Model) -> str:
        """Where a model's labels are from, for people."""
        if model.labels is None:
            return "none; classes are shown by their numbers"
        own = Path(model.labels).parent == ASSETS
        return f"{Path(model.labels).name}, which has as many" if own else model.labels
