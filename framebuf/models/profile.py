"""What a model's batch sizes were measured to cost: `<name>.profile.json`, beside the model."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from framebuf.errors import ModelError
from framebuf.models.family import SUFFIXES, files_of
from framebuf.models.platforms import is_simulated
from framebuf.units import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.models.timing import Bench

_HEADER = 65536
"""Bytes of a model file that tell it from another: sizes and shapes stand at its beginning."""
_LARGEST = 2**20
"""Bytes of a profile; more is none."""

log = logging.getLogger(__name__)


class Print(msgspec.Struct, frozen=True):
    """What a model file was when it was measured."""

    name: str
    bytes: int
    sha256: str
    """Of its first 64 KiB."""

    @classmethod
    def of(cls, file: Path) -> Print:
        """Look at a file.

        Raises:
            OSError: it cannot be read.
        """
        with file.open("rb") as opened:
            header = opened.read(_HEADER)
            return cls(file.name, opened.seek(0, os.SEEK_END), hashlib.sha256(header).hexdigest())


class Cost(msgspec.Struct, frozen=True):
    """One batch size."""

    ms: Annotated[float, msgspec.Meta(gt=0)]
    """Milliseconds that one inference of the whole batch takes."""
    cores: Annotated[int, msgspec.Meta(ge=1)]
    """Cores of the accelerator that it takes meanwhile."""
    runs: int
    spread_pct: float
    file: Print


class Costs(msgspec.Struct, frozen=True):
    """All batch sizes on one platform."""

    simulated: bool
    runtime: str
    """What ran them, and its version."""
    at: str
    """RFC 3339, UTC."""
    cpus: int
    """Processors that the measuring process might use; on `cpu` the costs hang on them."""
    batches: dict[Annotated[int, msgspec.Meta(ge=1)], Cost]


class Profile(msgspec.Struct, frozen=True):
    """The file: JSON, by platform, so that `rk3588` and `sim:rk3588` never meet."""

    v: Literal[1] = 1
    platforms: dict[str, Costs] = {}


def path_of(family: str) -> Path:
    """Where the profile of `osnet-batch{1,4,8}.rknn` stands: `osnet.profile.json` beside it."""
    path = Path(family)
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    name = re.sub(r"[-_.]?(batch)?\{[^{}]*\}", "", name)
    return path.with_name(f"{name or 'model'}.profile.json")


def load(
    family: str, platform: str, batch_sizes: Sequence[int] | None = None
) -> dict[int, float] | None:
    """Milliseconds by batch size, ascending, of what stands in `path` of a [[model]].

    `batch_sizes` picks among the sizes in braces: files of others may be missing.

    None where nothing was measured on this platform, or what was no longer holds: then the log
    says why. Simulated costs serve the simulated NPU only.

    Raises:
        ModelError: `family` is no pattern of model files, or a file is missing.
    """
    profile = path_of(family)
    files = {file.name: file for file in files_of(family, batch_sizes).values()}
    try:
        costs = _read(profile).platforms.get(platform)
        if costs is None:
            return None
        _require_fresh(costs, platform, files)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, _StaleError) as error:
        log.warning(
            "%s is passed over for %s: %s; measure anew with framebuf bench --save",
            profile, platform, error,
        )  # fmt: skip
        return None
    batches = sorted(costs.batches.items())
    return {size: cost.ms for size, cost in batches if cost.file.name in files}


def save(family: str, bench: Bench) -> Path:
    """Write what was measured on one platform, and keep that of others; returns the file.

    Raises:
        ModelError: the file cannot be written.
    """
    path = path_of(family)
    others: Mapping[str, Costs] = {}
    with suppress(OSError, msgspec.MsgspecError):  # what cannot be read is written anew
        others = _read(path).platforms
    try:
        profile = Profile(platforms={**others, bench.platform: _costs(bench)})
        text = msgspec.json.encode(profile)
        _replace(path, msgspec.json.format(text, indent=2) + b"\n")
    except OSError as error:
        raise ModelError(
            f"cannot write the profile {path}: {error.strerror}; it has to stand beside the model"
        ) from error
    return path


def _costs(bench: Bench) -> Costs:
    batches = {
        timing.batch: Cost(
            ms=round(timing.ms, 6),
            cores=timing.cores,
            runs=timing.runs,
            spread_pct=round(timing.spread_pct, 2),
            file=Print.of(timing.file),
        )
        for timing in bench.timings
        if isinstance(timing.file, Path)  # what servers cost is measured at each start
    }
    at, cpus = rfc3339(time.time_ns()), len(os.sched_getaffinity(0))
    return Costs(bench.simulated, bench.runtime, at, cpus, batches)


def _read(path: Path) -> Profile:
    with path.open("rb") as opened:
        text = opened.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise msgspec.ValidationError(f"it is larger than {_LARGEST >> 10} KiB")
    return msgspec.json.decode(text, type=Profile)


def _replace(path: Path, text: bytes) -> None:
    """A reader sees the old file or the new one, whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _StaleError(Exception):
    """The costs do not hold any more."""


def _require_fresh(costs: Costs, platform: str, files: Mapping[str, Path]) -> None:
    if costs.simulated != is_simulated(platform):
        kind = "simulated" if costs.simulated else "not simulated"
        raise _StaleError(f"its figures are {kind}")
    cpus = len(os.sched_getaffinity(0))
    if platform == "cpu" and costs.cpus != cpus:
        raise _StaleError(f"it was measured with {costs.cpus} processors, here are {cpus}")
    for size, cost in costs.batches.items():
        file = files.get(cost.file.name)
        if file is not None and Print.of(file) != cost.file:
            raise _StaleError(f"{file.name} has changed since batch {size} was measured")
    measured = {cost.file.name for cost in costs.batches.values()}
    if new := sorted(files.keys() - measured):
        raise _StaleError(f"{', '.join(new)} was not measured")
