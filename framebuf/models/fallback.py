"""The model of this machine that answers where no server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from framebuf.errors import ModelError
from framebuf.models.family import family_of
from framebuf.models.own_words import completed
from framebuf.models.tasks.labels import read

if TYPE_CHECKING:
    from framebuf.config import Model
    from framebuf.models.lane import Lane


class Fallback(NamedTuple):
    """Where its frames go."""

    lane: Lane
    model: str


def check_fallback(model: Model, other: Model) -> None:
    """Whether `other`, a model of this machine, says what `model`, one on servers, says.

    Raises:
        ModelError: it does not; or a file cannot be read.
    """
    other, carried = completed(other, next(iter(family_of(other).files.values())))
    if other.task != model.task:
        raise ModelError(
            f"model {model.name}: its task is {model.task}, that of its fallback {other.name} "
            f"{other.task}",
            "fallback",
        )
    ours = read(model.labels) if model.labels else None
    theirs = read(other.labels) if other.labels else carried
    if ours != theirs:
        raise ModelError(
            f"model {model.name}: its fallback {other.name} has other labels: "
            f"{_shown(theirs)}, not {_shown(ours)}",
            "fallback",
        )


def _shown(labels: tuple[str, ...] | None) -> str:
    return f"{len(labels)}, {', '.join(labels[:3])} …" if labels else "none"
