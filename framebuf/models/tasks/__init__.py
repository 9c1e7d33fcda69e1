"""Outputs of a network into findings."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

from framebuf.errors import ModelError
from framebuf.models.tasks.classify import Classify
from framebuf.models.tasks.decoders import find_heads
from framebuf.models.tasks.detect import Detect
from framebuf.models.tasks.embed import Embed
from framebuf.models.tasks.labels import checked, read
from framebuf.models.tasks.raw import Raw
from framebuf.models.tasks.rows import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Model
    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs
    from framebuf.models.tensor import TensorSpec
    from framebuf.results import Findings

_log = logging.getLogger(__name__)

SCORES = ("logits", "scores")
EMBEDDINGS = ("embedding",)
"""Names by which an output is known among several."""


class Task(Protocol):
    """Reads outputs. Holds no state between calls: any thread may call it."""

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings]:
        """What was found in each frame; `placements[i]` belongs to row i.

        Rows past `placements` are padding and not answered.

        Raises:
            InferenceError: a row of a frame has NaN or infinity, or rows are missing. Reading row
                by row tells which.
        """
        ...


def open_task(
    model: Model,
    outputs: tuple[TensorSpec, ...],
    labels: Sequence[str] | None = None,
    *,
    picture: TensorSpec | None = None,
) -> Task:
    """The task that the configuration asks for, with its labels loaded and counted.

    `labels` are those that the model file carries; the configured label file goes before them.
    `picture` is the input: YOLO needs it, and NanoDet where it is not square.

    Raises:
        ModelError: the outputs are not the task's, or the label file is missing or of other length.
    """
    where = f"model {model.name}"
    try:
        # a file that is not there is a mistake in any task, also where nothing has a label
        names = read(model.labels) if model.labels is not None else labels
        if model.task == "raw":
            return Raw(tuple(Output.of(at, spec) for at, spec in enumerate(outputs)))
        if model.task == "embed":
            return Embed(_choose(outputs, EMBEDDINGS, None))
        named = partial(_named, model, names)
        if model.task == "classify":
            output = _choose(outputs, SCORES, names)
            return Classify(output, named(output.size))
        heads = find_heads(model.decoder, outputs, picture)
        classes = heads[0].classes
        if classes is not None:
            names = named(classes)
        known = None if names is None else tuple(names)
        return Detect(heads, known, model.threshold, model.iou)
    except ModelError as error:
        raise ModelError(f"{where}: {error}", error.key) from error


def _named(model: Model, names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """One label a class. Those of the model file are passed over where their number is wrong."""
    if model.labels is None and names is not None and len(names) != classes:
        _log.warning(
            "model %s: its file says %d labels, it has %d classes: they are numbered instead; "
            "give labels", model.name, len(names), classes, extra={"MODEL": model.name},
        )  # fmt: skip
        names = None
    return checked(names, classes, str(model.labels))


def _choose(
    outputs: tuple[TensorSpec, ...], known: tuple[str, ...], labels: Sequence[str] | None
) -> Output:
    """Which output a task reads: the only one, the one of a known name, or one value a label."""
    if len(outputs) == 1:
        return Output.of(0, outputs[0])
    fitting = [at for at, output in enumerate(outputs) if output.name.lower() in known]
    if not fitting and labels is not None:
        fitting = [at for at, output in enumerate(outputs) if output.shape[-1] == len(labels)]
    if len(fitting) != 1:
        raise ModelError(
            f"expected one output named {' or '.join(known)}, got "
            f"{'; '.join(map(str, outputs))}; rename one when exporting the model"
        )
    return Output.of(fitting[0], outputs[fitting[0]])
