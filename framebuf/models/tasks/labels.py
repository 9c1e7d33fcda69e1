"""Label files: one label a line, in class order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from framebuf import textfile
from framebuf.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence


def read(path: str) -> tuple[str, ...]:
    """The labels of a UTF-8 file; empty lines at its end do not count.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        text = textfile.read(Path(path), "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ModelError(
            f"cannot read the label file {path}: {reason}; "
            "give labels a text file with one label a line, or leave labels out",
            "labels",
        ) from error
    return tuple(line.strip() for line in text.rstrip().split("\n"))


def checked(labels: Sequence[str] | None, classes: int, source: str) -> tuple[str, ...]:
    """One label a class; without labels, the class ids as text.

    Raises:
        ModelError: there are more or fewer labels than classes.
    """
    if labels is None:
        return tuple(map(str, range(classes)))
    if len(labels) != classes:
        raise ModelError(
            f"{source}: expected {classes} labels, one a class of the model, got {len(labels)}; "
            "give the list that the model was trained with",
            "labels",
        )
    return tuple(labels)
