"""Reader: what came out of a tensor that has run, into answers for its frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framebuf.errors import InferenceError
from framebuf.results import BatchPlace, Failure, FrameResult, Timings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.inference import Ran
    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs
    from framebuf.models.tasks import Task
    from framebuf.models.work import Work
    from framebuf.results import Findings


class Reader:
    """Answers the frames of a model by its task. Belongs to one thread, its context's for that."""

    def __init__(self, model: str, task: Task, work: Work, *, simulated: bool = False) -> None:
        """What it reads is counted in `work`."""
        self._model = model
        self._task = task
        self._work = work
        self._simulated = simulated

    def answer(self, ran: Ran) -> None:
        """Answer each frame of a run, with what it gave or why it gave nothing."""
        begun = time.monotonic_ns()
        if isinstance(ran.outputs, Failure):
            found: list[Findings | Failure] = [ran.outputs] * len(ran.filled.jobs)
        else:
            found = self.read(ran.outputs, ran.placements)
        post_ns = time.monotonic_ns() - begun
        self._count(ran, post_ns)
        for slot, job in enumerate(ran.filled.jobs):
            job.answered(self._result(ran, slot, found[slot], post_ns))
        ran.answered.set()

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings | Failure]:
        """What each frame gave; one that cannot be read does not take the others with it."""
        try:
            return list(self._task.read(outputs, placements))
        except InferenceError as error:
            if len(placements) == 1:
                return [Failure(error.code, str(error))]
        found: list[Findings | Failure] = []
        for slot, place in enumerate(placements):
            row = tuple(output[slot : slot + 1] for output in outputs)
            found += self.read(row, [place])
        return found

    def _result(self, ran: Ran, slot: int, said: Findings | Failure, post_ns: int) -> FrameResult:
        filled, count = ran.filled, len(ran.filled.jobs)
        ms = Timings(
            wait=_ms(filled.taken_ns[slot] - filled.jobs[slot].ready_ns),
            prepare=_ms(filled.prepared_ns // count),
            infer=_ms(ran.infer_ns),
            post=_ms(post_ns // count),
        )
        place = BatchPlace(filled.batch.size, slot, count)
        failure = said if isinstance(said, Failure) else None
        findings = None if isinstance(said, Failure) else said
        number = filled.run.number
        return FrameResult(self._model, findings, failure, place, ms, number, self._simulated)

    def _count(self, ran: Ran, post_ns: int) -> None:
        filled, work, count = ran.filled, self._work, len(ran.filled.jobs)
        work.filled.add(count)
        work.padded += filled.batch.size - count
        work.failed += isinstance(ran.outputs, Failure)
        work.infer.add(ran.infer_ns / 1e9)
        for job, taken_ns in zip(filled.jobs, filled.taken_ns, strict=True):
            work.wait.add(max(0, taken_ns - job.ready_ns) / 1e9)
            work.prepare.add(filled.prepared_ns / count / 1e9)
            work.post.add(post_ns / count / 1e9)

    def __repr__(self) -> str:
        return f"<Reader of {self._model}, {type(self._task).__name__}>"


def _ms(ns: int) -> float:
    return round(max(0, ns) / 1e6, 3)
