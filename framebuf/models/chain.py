"""Chain: a frame through one model, or what that finds in it through a second one."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from framebuf.frames import Part
from framebuf.models.backlog import Job
from framebuf.models.crossing import Crossing
from framebuf.models.second import Second
from framebuf.results import Failure, FrameResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from framebuf.config import Model
    from framebuf.models.backlog import Entrance
    from framebuf.results import Detection

WITHDRAWN = Failure("withdrawn", "taken back before the second model's turn")


class Chain:
    """One camera's models. Any thread submits and withdraws; no thread waits for another lane.

    A frame goes to the first model's lane. What is found there goes on as jobs of the second
    model's lane, from the thread that read it: frame and box, no pixels, and as many as there
    are. They are cut out when their tensor is prepared, go before frames that are not begun, and
    share batches with those of other frames, requests and cameras. `_lock` guards `_under_way`
    and what a Crossing counts; a lane's own lock is taken under it, never the other way round.
    """

    def __init__(self, lane: Entrance, model: str, second: Second | None = None) -> None:
        """`model`, in `lane`, sees the frames."""
        self.model = model
        self._lane = lane
        self._second = second
        self._lock = threading.Lock()
        self._under_way: dict[str, set[Crossing]] = {}

    @classmethod
    def of(cls, models: Sequence[Model], lanes: Mapping[str, Entrance]) -> Chain:
        """One model, or two in a row, as configured; `lanes` by the model's name."""
        first, *others = models
        second = [Second.of(model, lanes[model.name]) for model in others]
        return cls(lanes[first.name], first.name, *second)

    def submit(self, jobs: Iterable[Job]) -> None:
        """Put frames on the backlog.

        With a second model `prepared` is called once a frame's crops are in tensors too, and
        `answered` once all of them are: on threads of either model's contexts.
        """
        if self._second is None:
            self._lane.submit(self.model, jobs)
            return
        crossings = [Crossing(job) for job in jobs]
        with self._lock:
            for one in crossings:
                self._under_way.setdefault(one.job.turn, set()).add(one)
        self._lane.submit(
            self.model,
            [
                replace(one.job, prepared=_nothing, answered=partial(self._found, one))
                for one in crossings
            ],
        )

    def withdraw(self, turn: str) -> list[Job]:
        """Take back what no context has begun, on either backlog; returns whole frames.

        A frame that the first model has begun is answered all the same, with what that finds: on
        the calling thread, where only crops on the backlog were missing.
        """
        if self._second is None:
            return self._lane.withdraw(self.model, turn)
        with self._lock:
            for one in self._under_way.pop(turn, ()):
                one.withdrawn = True
            frames = self._lane.withdraw(self.model, turn)
            crops = self._second.lane.withdraw(self._second.model, turn)
        for crop in crops:
            crop.prepared()
            crop.answered(FrameResult(self._second.model, error=WITHDRAWN))
        return frames

    def _found(self, one: Crossing, result: FrameResult) -> None:
        """The first model's answer. On its context's thread, or of whoever withdrew the frame."""
        second = self._second
        detections = result.findings.detections if result.findings else None
        if second is None or not detections:
            self._end(one, result)
            return
        picked, left_out = second.pick(detections)
        if not picked:
            self._end(one, result)
            return
        jobs = self._crops(one, [detections[at] for at in picked])
        with self._lock:
            one.begin(result, picked, left_out)
            withdrawn = one.withdrawn
            if not withdrawn:
                second.lane.submit(second.model, jobs)
        if withdrawn:
            for job in jobs:
                job.prepared()
                job.answered(FrameResult(second.model, error=WITHDRAWN))

    def _crops(self, one: Crossing, found: Sequence[Detection]) -> list[Job]:
        height, width = one.job.frame.height, one.job.frame.width
        now = time.monotonic_ns()
        return [
            Job(
                one.job.frame,
                one.job.turn,
                now,
                partial(self._cut, one),
                partial(self._seen, one, at),
                one.job.priority,
                one.job.deadline_ns,
                crop_of(detection.box, width, height),
                one.job.alone,
                downstream=True,
            )
            for at, detection in enumerate(found)
        ]

    def _cut(self, one: Crossing) -> None:
        """A crop is in its tensor. On a prepare thread of the second model."""
        with self._lock:
            last = one.cut()
        if last:
            one.job.prepared()

    def _seen(self, one: Crossing, at: int, result: FrameResult) -> None:
        """The second model's answer about one crop. On its context's thread."""
        with self._lock:
            last = one.answer(at, result)
        if last:
            self._end(one, one.result())

    def _end(self, one: Crossing, result: FrameResult) -> None:
        with self._lock:
            mine = self._under_way.get(one.job.turn)
            if mine is not None:  # None: withdrawn
                mine.discard(one)
                if not mine:
                    del self._under_way[one.job.turn]
        if not one.has_crops:
            one.job.prepared()
        one.job.answered(result)

    def __repr__(self) -> str:
        then = f" then {self._second.model}" if self._second else ""
        with self._lock:
            count = sum(map(len, self._under_way.values()))
        return f"<Chain {self.model}{then}, {count} frames under way>"


def crop_of(box: tuple[float, float, float, float], width: int, height: int) -> Part:
    """The whole pixels that a box touches, in a frame of this size.

    `box` is x, y, width, height as published, to a tenth of a pixel.
    """
    x, y, wide, high = box
    left, top = min(max(0, math.floor(x)), width - 1), min(max(0, math.floor(y)), height - 1)
    right = max(left + 1, min(width, math.ceil(x + wide)))
    bottom = max(top + 1, min(height, math.ceil(y + high)))
    return Part(left, top, right - left, bottom - top)


def _nothing() -> None:
    """The frame's pixels are still wanted, for its crops."""
