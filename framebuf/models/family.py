"""One network, several batch sizes: which files, and which sizes they serve."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.config.endpoints import is_url
from framebuf.errors import ModelError
from framebuf.models.runtimes.oipservers import Servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Model
    from framebuf.models.tensor import TensorSpec

SUFFIXES = (".rknn", ".onnx")
"""Tried in this order where a path has neither."""

DEFAULT_SIZES = (1, 4, 8)
"""For a model whose batch axis is free."""

Source = Path | Servers
"""What a runtime is opened from."""


@dataclass(frozen=True, slots=True)
class Family:
    """The files of one network, or the servers that have it."""

    files: dict[int | None, Source]
    """By batch size, ascending; the one key None where the file itself says its batch."""

    asked: tuple[int, ...] | None = None
    """`batch_sizes` of the configuration, ascending."""

    def sizes(
        self, member: int | None, spec: TensorSpec, most: int | None = None
    ) -> tuple[int, ...]:
        """The batch sizes that an opened file serves; `member` is its key, `spec` its input.

        `most` is the largest that servers take, where they have a limit.

        Raises:
            ModelError: the file's batch is not what its name or `batch_sizes` says.
        """
        path = self.files[member]
        if member is not None:
            if spec.batch not in (None, member):
                raise ModelError(f"{path}: expected batch {member}, the file holds {spec.batch}")
            return (member,)
        if spec.batch is None:
            return self._free_sizes(path, most)
        if self.asked not in (None, (spec.batch,)):
            asked = _listed(self.asked)
            raise ModelError(
                f"{path}: batch_sizes asks for {asked}, the file holds {spec.batch} only; "
                "leave batch_sizes out, or give one file a size: name-batch{1,4,8}",
                "batch_sizes",
            )
        return (spec.batch,)

    def _free_sizes(self, path: Source, most: int | None) -> tuple[int, ...]:
        if most is None:
            return self.asked or DEFAULT_SIZES
        if self.asked is None:
            return (*(size for size in DEFAULT_SIZES if size < most), most)
        if self.asked[-1] > most:
            raise ModelError(
                f"{path}: batch_sizes asks for {_listed(self.asked)}, it takes {most} at most; "
                "leave the larger ones out, or change the server's settings",
                "batch_sizes",
            )
        return self.asked


def family_of(model: Model, servers: Servers | None = None) -> Family:
    """The files of a configured model, or its servers; `servers` are those where they are known.

    Raises:
        ModelError: as `members`; or the path is no URL of a model.
    """
    if not is_url(model.path):
        return members(model.path, model.batch_sizes)
    return Family({None: servers or Servers.of(model)}, _asked(model.path, model.batch_sizes))


def members(path: str, batch_sizes: Sequence[int] | None = None) -> Family:
    """Find the files of a path such as `osnet-batch{1,4,8}.rknn`; the suffix may be left out.

    `batch_sizes` picks among the sizes in braces; a plain path keeps it for a free batch axis.

    Raises:
        ModelError: the braces are not as above, a size is not in them, or a file is missing.
    """
    asked = _asked(path, batch_sizes)
    return Family(dict(files_of(path, asked)), asked)


def files_of(path: str, asked: Sequence[int] | None = None) -> dict[int | None, Path]:
    """The files of a path, by batch size; `asked` picks among the sizes in braces.

    Raises:
        ModelError: as `members`.
    """
    if "{" not in path and "}" not in path:
        return _existing({None: path})
    sizes = _braces(path)
    if asked is not None:
        if missing := [size for size in asked if size not in sizes]:
            raise ModelError(
                f"{path}: batch_sizes asks for {_listed(missing)}, the braces hold "
                f"{_listed(sizes)}; compile those sizes, or leave batch_sizes out",
                "batch_sizes",
            )
        sizes = tuple(sorted(set(asked)))
    return _existing({size: re.sub(r"\{.*\}", str(size), path) for size in sizes})


def _asked(path: str, batch_sizes: Sequence[int] | None) -> tuple[int, ...] | None:
    """Ascending, each once."""
    asked = None if batch_sizes is None else tuple(sorted(set(batch_sizes)))
    if asked is not None and (not asked or asked[0] < 1):
        raise ModelError(
            f"{path}: expected batch sizes of 1 or more, got {_listed(asked)}", "batch_sizes"
        )
    return asked


def _braces(path: str) -> tuple[int, ...]:
    """The batch sizes in a path's braces, ascending."""
    match = re.fullmatch(r"[^{}]*\{([^{}]*)\}[^{}]*", path)
    if match is None:
        raise ModelError(f"{path}: expected one pair of braces, as in name-batch{{1,4,8}}.rknn")
    sizes = []
    for text in match[1].split(","):
        if not re.fullmatch(r" *[0-9]{1,6} *", text) or int(text) < 1:
            raise ModelError(f"{path}: expected batch sizes as in {{1,4,8}}, got {text!r}")
        if int(text) in sizes:
            raise ModelError(f"{path}: batch {int(text)} stands twice in the braces; name it once")
        sizes.append(int(text))
    return tuple(sorted(sizes))


def _existing(wanted: dict[int | None, str]) -> dict[int | None, Path]:
    """The files of these paths; where the suffix is left out, of the one that most of them have."""
    suffixed = all(path.endswith(SUFFIXES) for path in wanted.values())
    choices = [
        {key: Path(path + suffix) for key, path in wanted.items()}
        for suffix in (("",) if suffixed else (*SUFFIXES, ""))
    ]
    files = max(choices, key=lambda choice: sum(file.is_file() for file in choice.values()))
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        suffix = "" if suffixed or len(missing) < len(files) else " (nor with .onnx)"
        raise ModelError(
            f"no such file: {', '.join(missing)}{suffix}; correct the path, or convert the model"
        )
    return files


def _listed(sizes: Sequence[int] | None) -> str:
    return ", ".join(map(str, sizes or ())) or "none"
