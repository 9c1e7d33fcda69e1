"""One frame on its way through two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from framebuf.results import Failure, Findings, FrameResult, Inference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.backlog import Job
    from framebuf.results import Detection


class Crossing:
    """What is still to come, and what has come. Not locked: its chain's lock guards it."""

    __slots__ = (
        "_answers",
        "_first",
        "_left_out",
        "_picked",
        "_unanswered",
        "_uncut",
        "job",
        "withdrawn",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        """As it was submitted."""
        self.withdrawn = False
        """Its crops are not wanted any more."""
        self._first: FrameResult | None = None
        self._picked: Sequence[int] = ()
        self._left_out = 0
        self._answers: list[FrameResult | None] = []
        self._uncut = self._unanswered = 0

    def begin(self, first: FrameResult, picked: Sequence[int], left_out: int) -> None:
        """The first model has answered; `picked` are the detections that the second is to see."""
        self._first, self._picked, self._left_out = first, picked, left_out
        self._answers = [None] * len(picked)
        self._uncut = self._unanswered = len(picked)

    @property
    def has_crops(self) -> bool:
        return bool(self._picked)

    def cut(self) -> bool:
        """One more crop needs its pixels no longer. True: that was the last."""
        self._uncut -= 1
        return not self._uncut

    def answer(self, at: int, result: FrameResult) -> bool:
        """The second model's answer about the crop `at`. True: that was the last."""
        self._answers[at] = result
        self._unanswered -= 1
        return not self._unanswered

    def result(self) -> FrameResult:
        """What the second model said inside what the first found; its failure beside that."""
        if self._first is None or self._first.findings is None:
            raise RuntimeError("the result of a frame that the first model has not answered")
        answers = [answer for answer in self._answers if answer is not None]
        detections = list(self._first.findings.detections or ())
        for at, answer in zip(self._picked, answers, strict=True):
            detections[at] = _nested(detections[at], answer)
        runs = {answer.run: answer for answer in answers if answer.run >= 0}
        return msgspec.structs.replace(
            self._first,
            findings=Findings(detections=tuple(detections)),
            error=_failure(answers),
            crops_left_out=self._left_out,
            simulated=self._first.simulated or any(answer.simulated for answer in answers),
            further=tuple(Inference(a.model, a.run, a.ms.infer) for a in runs.values()),
        )

    def __repr__(self) -> str:
        crops = f"{self._unanswered} of {len(self._picked)} crops to come"
        return f"<Crossing of frame {self.job.frame.seq}, {crops if self._first else 'not found'}>"


def _nested(detection: Detection, answer: FrameResult) -> Detection:
    said = answer.findings
    if said is None:
        return detection
    return msgspec.structs.replace(detection, classes=said.classes, embedding=said.embedding)


def _failure(answers: Sequence[FrameResult]) -> Failure | None:
    """The first one, and of how many crops."""
    failures = [answer.error for answer in answers if answer.error is not None]
    if not failures:
        return None
    model = answers[0].model
    count = f"{len(failures)} of {len(answers)} crops"
    return Failure(failures[0].code, f"{count} for {model}: {failures[0].message}")
