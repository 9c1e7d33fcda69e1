"""What a model file says of its own use, where the configuration is silent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import msgspec

from framebuf.config.tables import Decoder, Task
from framebuf.errors import ModelError
from framebuf.models.runtimes.rknnfile import RknnFile

if TYPE_CHECKING:
    from framebuf.config import Model
    from framebuf.models.family import Source

FORM = "labels=…;task=…;decoder=…"


def completed(model: Model, file: Source) -> tuple[Model, tuple[str, ...] | None]:
    """The configuration with task and decoder of `file`, and the labels that the file carries.

    What is configured goes before what the file says. Only a .rknn file says anything.

    Raises:
        ModelError: the file is broken; or neither says the task, or the decoder of a detector; or
            the file names one that does not exist.
    """
    if not isinstance(file, Path) or file.suffix != ".rknn":
        return model, None
    said = RknnFile.read(file).said
    task, decoder = model.task, model.decoder
    if task == "auto":
        task = cast("Task", _known(file, "task", said.task, get_args(Task)[:-1]))
    if task == "detect" and decoder is None:
        decoder = cast("Decoder", _known(file, "decoder", said.decoder, get_args(Decoder)))
    return msgspec.structs.replace(model, task=task, decoder=decoder), said.labels or None


def _known(file: Path, name: str, said: str | None, known: tuple[str, ...]) -> str:
    """Raises ModelError where the file says nothing, or nothing that is known."""
    if said in known:
        return said
    found = f"says {said!r}" if said else "says none"
    raise ModelError(
        f"{file}: its custom string {found}; give {name} in the configuration, one of "
        f"{', '.join(known)}, or convert the model with {FORM} in it"
    )
