"""A configured model, opened: its contexts, and what they share."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.context import Context
from framebuf.models.family import family_of
from framebuf.models.own_words import completed
from framebuf.models.parity import Member, enforce
from framebuf.models.platforms import SERVERS, cores_of, is_simulated
from framebuf.models.prepare import open_preparer, resize_of
from framebuf.models.runtimes import Distant, open_runtime, platform_of
from framebuf.models.tasks import open_task
from framebuf.models.tasks.classify import Classify
from framebuf.models.tasks.detect import Detect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.config import Model
    from framebuf.models.family import Family, Source
    from framebuf.models.placement import Resize
    from framebuf.models.runtimes import Runtime
    from framebuf.models.runtimes.oipservers import Servers
    from framebuf.models.tasks import Task
    from framebuf.models.tensor import TensorSpec

_log = logging.getLogger(__name__)

CALLS = 2
"""Under way to servers: while one is computed, the next one's tensor is on its way."""


@dataclass(frozen=True, slots=True)
class Network:
    """One model, ready to run."""

    name: str
    path: str
    """Of its files, with braces where there are several."""
    task: str
    platform: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[int, ...]
    """Batch sizes, ascending."""
    contexts: tuple[Context, ...]
    cores: int
    """How many its contexts are spread over: of the NPU; else one for each session or call."""

    tasks: tuple[Task, ...] = ()
    """Of the contexts, one each."""

    resize: Resize = "letterbox"
    """How a frame comes into its input."""

    def retune(self, threshold: float, iou: float) -> None:
        """Detectors find what reaches these from the next batch on; other tasks have neither."""
        for task in self.tasks:
            if isinstance(task, Detect):
                task.retune(threshold, iou)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """What it may say of a frame; None: not known, or it has no words for it."""
        for task in self.tasks:
            if isinstance(task, Detect | Classify):
                return task.labels
        return None

    @property
    def lane(self) -> str:
        """Of the accelerator that it shares with others; servers schedule by themselves."""
        return self.path if self.platform == SERVERS else self.platform

    @property
    def largest(self) -> tuple[int, ...]:
        """The input's shape with the largest batch size."""
        return self.input.rows(self.sizes[-1])

    def close(self) -> None:
        """Free the contexts of a network whose lane was never started."""
        for context in self.contexts:
            context.join(0)


def open_network(
    model: Model, *, cores: int | None = None, servers: Servers | None = None
) -> Network:
    """Load every file of a model into its contexts.

    On an NPU: for batch 1 as many as `runtimes` says (default: one a core), each pinned to a core;
    for each larger size one, which takes all cores while it runs. On a CPU: `runtimes` of each file
    (default 1), which share `cores` (default: all that the process may use). On servers: as many
    calls under way as `runtimes` says (default 2); `servers` are those where they are known.

    Raises:
        ServersAwayError: none of a model's servers answers.
        ModelError: a file is missing or broken, or does not fit its configuration; or its slots
            answer differently.
        InferenceError: a runtime failed when its slots were tried.
    """
    family = family_of(model, servers)
    file = next(iter(family.files.values()))
    model, labels = completed(model, file)
    platform = platform_of(file, model.platform)
    with ExitStack() as opened:  # frees what was loaded before a file that is broken
        opening = _Opening(model, labels, family, platform, opened)
        if platform == "cpu":
            spread = model.runtimes or 1
            opening.on_cpu(spread, max(1, (cores or len(os.sched_getaffinity(0))) // spread))
        elif platform == SERVERS:
            spread = model.runtimes or CALLS
            opening.on_servers(file, spread)
        else:
            spread = cores_of(platform)
            opening.on_npu(spread)
            opening.check_parity()
        opened.pop_all()
    first = opening.contexts[0]
    return Network(
        model.name,
        model.path,
        model.task,
        platform,
        first.input,
        first.outputs,
        tuple(sorted({size for context in opening.contexts for size in context.sizes})),
        tuple(opening.contexts),
        spread,
        tuple(opening.tasks),
        resize_of(model),
    )


class _Opening:
    """The contexts of a network, one after the other."""

    def __init__(
        self, model: Model, labels: Sequence[str] | None, family: Family, platform: str,
        opened: ExitStack,
    ) -> None:  # fmt: skip
        self.contexts: list[Context] = []
        self._members: list[Member] = []
        self.tasks: list[Task] = []
        self._model = model
        self._labels = labels
        self._family = family
        self._platform = platform
        self._opened = opened

    def on_cpu(self, sessions: int, threads: int) -> None:
        """Each session takes every size that its file serves."""
        for member, path in self._family.files.items():
            for core in range(sessions):
                runtime = self._load(path, threads=threads)
                sizes = self._family.sizes(member, runtime.input)
                name = str(core) if member is None else f"b{member}-{core}"
                self._add(name, runtime, sizes, core)

    def on_servers(self, servers: Source, calls: int) -> None:
        """Each call takes every size that the servers do."""
        for core in range(calls):
            runtime = self._load(servers)
            most = runtime.largest if isinstance(runtime, Distant) else None
            self._add(str(core), runtime, self._family.sizes(None, runtime.input, most), core)

    def on_npu(self, cores: int) -> None:
        """Batch 1 on single cores, larger ones on all."""
        runtimes = self._model.runtimes or cores
        for member, path in self._family.files.items():
            for size in self._sizes(member, path):
                for number in range(runtimes if size == 1 else 1):
                    pinned = size == 1 and cores > 1
                    runtime = self._load(path, core=number % cores if pinned else None)
                    self._family.sizes(member, runtime.input)  # checked against its name
                    core = number % cores if size == 1 else None
                    self._add(f"b{size}-{number}", runtime, (size,), 0 if cores == 1 else core)
        singles = sum(context.sizes == (1,) for context in self.contexts)
        if singles > cores or (not singles and (self._model.runtimes or 1) > 1):
            _log.warning(
                "model %s: runtimes = %d, but %s", self._model.name, runtimes,
                f"{self._platform} has {cores} of cores: more contexts only take memory"
                if singles else "only batch 1 has more than one: a larger batch takes all cores",
                extra={"MODEL": self._model.name},
            )  # fmt: skip

    def check_parity(self) -> None:
        """Whether each slot answers as it should; `parity` says what follows.

        Raises:
            ModelError: one does not, and such a model is to be refused.
            InferenceError: the runtime failed.
        """
        if not is_simulated(self._platform):  # whose slots cannot differ
            enforce(self._model.name, self._members, self._model.parity)

    def _sizes(self, member: int | None, path: Source) -> tuple[int, ...]:
        if member is not None:
            return (member,)
        with closing(self._load(path)) as looked_at:
            return self._family.sizes(None, looked_at.input)

    def _load(self, path: Source, *, threads: int = 1, core: int | None = None) -> Runtime:
        runtime = open_runtime(
            path, self._platform, threads=threads, layout=self._model.layout, core=core
        )
        self._opened.callback(runtime.close)
        return runtime

    def _add(self, name: str, runtime: Runtime, sizes: tuple[int, ...], core: int | None) -> None:
        model = self._model
        task = open_task(model, runtime.outputs, self._labels, picture=runtime.input)
        self.tasks.append(task)
        preparer = open_preparer(model, runtime.input)
        self.contexts.append(
            Context(
                f"{model.name}-{name}", model.name, runtime, sizes, preparer, task, core,
                simulated=is_simulated(self._platform),
            )
        )  # fmt: skip
        self._members += [Member(f"{model.name}-{name}", runtime, size) for size in sizes]
