"""The second model of a camera: which of the objects found it sees."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from framebuf.errors import ModelError
from framebuf.models.family import family_of
from framebuf.models.own_words import completed
from framebuf.models.tasks.labels import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from framebuf.config import Config, Model
    from framebuf.models.backlog import Entrance
    from framebuf.results import Detection

    _Row = tuple[Model, tuple[str, ...] | None]

REMEDY = "mend the models' tasks, labels or only"
"""Where models do not make a row."""


@dataclass(frozen=True, slots=True)
class Second:
    """The model that sees what the first has found."""

    lane: Entrance
    model: str
    only: frozenset[str] | None
    """Of these labels; None: of all."""
    max_crops: int
    """At most so many of a frame, best score first."""

    @classmethod
    def of(cls, model: Model, lane: Entrance) -> Second:
        """As configured."""
        only = None if model.only is None else frozenset(model.only)
        return cls(lane, model.name, only, model.max_crops)

    def pick(self, found: Sequence[Detection]) -> tuple[tuple[int, ...], int]:
        """Which of them it sees, by their places, and how many were left out."""
        wanted = [at for at, one in enumerate(found) if self.only is None or one.label in self.only]
        return tuple(wanted[: self.max_crops]), max(0, len(wanted) - self.max_crops)


def check_row(models: Sequence[Model]) -> None:
    """Whether each model can find what the next is to see, by what their files say of themselves.

    Raises:
        ModelError: it finds no objects, or has no such label; or a file cannot be read.
    """
    if len(models) > 1:
        _check([_opened(model) for model in models])


def unfit_rows(config: Config) -> Iterator[tuple[int, str]]:
    """The cameras, by their places, whose models do not make a row, and why.

    A model's file that cannot be read is told by whoever opens the model.
    """
    models = {model.name: model for model in config.model}
    for at, camera in enumerate(config.camera):
        try:
            row = [_opened(models[name]) for name in camera.models]
        except ModelError:
            continue
        try:
            _check(row)
        except ModelError as error:
            yield at, str(error)


def _opened(model: Model) -> _Row:
    return completed(model, next(iter(family_of(model).files.values())))


def _check(row: Sequence[_Row]) -> None:
    for (first, carried), (second, _) in pairwise(row):
        if first.task != "detect" or second.task not in ("classify", "embed"):
            raise ModelError(
                f"expected a model that detects, then one that classifies or embeds, got "
                f"{first.name} to {first.task}, {second.name} to {second.task}"
            )
        labels = carried if first.labels is None else read(first.labels)
        for label in second.only or ():
            _check_label(label, labels, first, second)


def _check_label(label: str, labels: Sequence[str] | None, first: Model, second: Model) -> None:
    if labels is None and not (label.isascii() and label.isdigit()):
        raise ModelError(
            f"model {second.name}: only names {label}, but model {first.name} has no labels: "
            'give it a label file, or name classes by their numbers, only = ["0"]'
        )
    if labels is not None and label not in labels:
        near = difflib.get_close_matches(label, labels, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"it knows {', '.join(labels[:20])}"
        raise ModelError(
            f"model {second.name}: only names {label}, which model {first.name} does not know; "
            f"{remedy}"
        )
