"""A board tried out, for `framebuf check --board`: what is there, what is not, what models do."""

from __future__ import annotations

import platform
import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from framebuf import __version__
from framebuf.errors import FramebufError, ModelError
from framebuf.models import board, parity
from framebuf.models.family import files_of
from framebuf.models.parity import Member
from framebuf.models.platforms import cores_of
from framebuf.models.runtimes import open_runtime, platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RUNS = 10
"""Timed of each context."""


class Times(msgspec.Struct, frozen=True):
    """One context of a model."""

    name: str
    batch: int
    input: str
    outputs: list[str]
    versions: str
    open_ms: float
    """With its first inference."""
    best_ms: float
    """Of a full batch, of ten runs."""
    median_ms: float


class Tried(msgspec.Struct):
    """A model, as given: a file or a family."""

    path: str
    contexts: list[Times] = []
    parity: str = ""
    error: str | None = None


class BoardReport(msgspec.Struct):
    """The document of `framebuf check --board --json`."""

    framebuf: str
    board: str
    compatible: list[str]
    chip: str | None
    cores: int
    kernel: str
    driver: str | None
    library: str | None
    wheel: str | None
    python: str
    nodes: list[str]
    missing: list[str]
    """What an NPU needs and is not here, each with what to do."""
    models: list[Tried] = []

    @property
    def ok(self) -> bool:
        """Whether the NPU can be used, and all models that were tried are good."""
        return not self.missing and all(model.error is None for model in self.models)


def look() -> BoardReport:
    """What is there, before any model is loaded."""
    system, chip, path = platform.uname(), board.soc(), board.library()
    return BoardReport(
        framebuf=__version__,
        board=board.board_name(),
        compatible=list(board.compatible()),
        chip=chip,
        cores=cores_of(chip or ""),
        kernel=f"{system.system} {system.release} {system.machine}",
        driver=board.driver_version(),
        library=f"{path} {board.library_version() or 'of unknown version'}" if path else None,
        wheel=board.wheel_version(),
        python=f"{platform.python_version()}, numpy {np.__version__}",
        nodes=[
            f"{node}, {'may' if node.usable else 'may not'} be opened" for node in board.nodes()
        ],
        missing=_missing(),
    )


def _missing() -> list[str]:
    missing = []
    if board.soc() is None:
        missing.append(
            f"a Rockchip chip with an NPU: {board.DEVICE_TREE / 'compatible'} names none; "
            'elsewhere platform = "sim:rk3588" plays one'
        )
    if board.wheel_version() is None:
        missing.append(f"{board.WHEEL}: pip install 'framebuf[rknn]' (aarch64 only)")
    if board.library() is None:
        missing.append(f"the vendor's library: put librknnrt.so to {board.LIBRARIES[0]}")
    nodes = board.nodes()
    if not nodes:
        missing.append("the NPU's driver: no node is there; boot the board maker's kernel")
    elif not any(node.usable for node in nodes):
        groups = ",".join(sorted({node.group for node in nodes}))
        missing.append(f"leave to open the NPU's node: usermod -aG {groups} USER")
    return missing


def try_model(path: str, progress: Callable[[str], None] = lambda _: None) -> Tried:
    """Load, time and check a file, or a family such as `name-batch{1,4,8}.rknn`.

    A model of batch 1 is loaded once for each core. What is wrong stands in the answer.
    """
    tried = Tried(path)
    loaded: list[Member] = []
    with ExitStack() as opened:
        try:
            for file in files_of(path).values():
                progress(file.name)
                _open_all(file, tried, loaded, opened)
            progress(f"{path}: parity")
            fault = parity.check(loaded)
            tried.parity = str(fault) if fault else _passed(loaded)
            tried.error = str(fault) if fault else None
        except FramebufError as error:
            tried.error = str(error)
    return tried


def _open_all(file: Path, tried: Tried, loaded: list[Member], opened: ExitStack) -> None:
    """The contexts of one file, timed.

    Raises:
        ModelError, InferenceError: it cannot be loaded or run.
    """
    where = platform_of(file, "auto")
    if where == "cpu":
        raise ModelError(f"{file}: runs on the CPU, not on an NPU; give the .rknn file")
    for core in range(cores_of(where)):
        begun = time.perf_counter()
        runtime = open_runtime(file, where, threads=1, core=core)
        opened.callback(runtime.close)
        took = (time.perf_counter() - begun) * 1e3
        batch = runtime.input.batch or 1
        name = f"{file.name}, core {core}" if batch == 1 else file.name
        loaded.append(Member(name, runtime, batch))
        times = _timed(loaded[-1])
        outputs = [str(output) for output in runtime.outputs]
        tried.contexts.append(
            Times(
                name, batch, str(runtime.input), outputs, runtime.versions,
                round(took, 1), round(min(times), 2), round(statistics.median(times), 2),
            )
        )  # fmt: skip
        if batch > 1:  # it has all cores
            return


def _timed(member: Member) -> list[float]:
    """Milliseconds of each run."""
    tensor = np.full(member.runtime.input.rows(member.batch), 114, member.runtime.input.dtype)
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        member.runtime.infer(tensor)
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def _passed(loaded: Sequence[Member]) -> str:
    if len(loaded) < 2 and all(member.batch == 1 for member in loaded):
        return "nothing to compare: one context of batch 1"
    return "every slot and core answers as it should"
