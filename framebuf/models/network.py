"""A configured model, opened: its contexts, and what they share."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.models.context import Context
from framebuf.models.family import members
from framebuf.models.prepare import open_preparer
from framebuf.models.runtimes import open_runtime, platform_of
from framebuf.models.tasks import open_task

if TYPE_CHECKING:
    from framebuf.config import Model
    from framebuf.models.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class Network:
    """One model, ready to run."""

    name: str
    task: str
    platform: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[int, ...]
    """Batch sizes, ascending."""
    contexts: tuple[Context, ...]

    @property
    def largest(self) -> tuple[int, ...]:
        """The input's shape with the largest batch size."""
        return self.input.rows(self.sizes[-1])


def open_network(model: Model, *, cores: int | None = None) -> Network:
    """Load every file of a model, as many contexts as `runtimes` says (default 1).

    On a CPU the contexts share `cores` (default: all that the process may use).

    Raises:
        ModelError: a file is missing or broken, or does not fit its configuration.
    """
    family = members(model.path, model.batch_sizes)
    runtimes = model.runtimes or 1
    threads = max(1, (cores or len(os.sched_getaffinity(0))) // runtimes)
    contexts: list[Context] = []
    sizes: set[int] = set()
    with ExitStack() as opened:  # frees what was loaded before a file that is broken
        for member, path in family.files.items():
            platform = platform_of(path, model.platform)
            for number in range(runtimes):
                runtime = open_runtime(path, platform, threads=threads, layout=model.layout)
                opened.callback(runtime.close)
                serves = family.sizes(member, runtime.input)
                sizes.update(serves)
                task = open_task(model, runtime.outputs, picture=runtime.input)
                preparer = open_preparer(model, runtime.input)
                name = f"{model.name}-{number}"
                if member is not None:
                    name = f"{model.name}-b{member}-{number}"
                contexts.append(Context(name, model.name, runtime, serves, preparer, task))
        opened.pop_all()
    return Network(
        model.name,
        model.task,
        platform,
        runtime.input,
        runtime.outputs,
        tuple(sorted(sizes)),
        tuple(contexts),
    )
