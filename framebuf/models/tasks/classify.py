"""The best classes of each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from framebuf.models.tasks.rows import Output, require_finite
from framebuf.results import Classification, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs

BEST = 5


class Classify:
    """Softmax over one output of logits, and the best five. Any thread may call it."""

    def __init__(self, output: Output, labels: tuple[str, ...]) -> None:
        self._output = output
        self.labels = labels

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings]:
        """As `Task.read`: `classes`, best first, the lower class id first where two are level."""
        count = len(placements)
        logits = self._output.rows(outputs, count).reshape(count, self._output.size)
        require_finite(logits, self._output.name)
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
        return [
            Findings(classes=tuple(self._named(int(i), float(row[i])) for i in ids))
            for row, ids in zip(scores, best, strict=True)
        ]

    def _named(self, class_id: int, score: float) -> Classification:
        return Classification(self.labels[class_id], class_id, round(score, 4))
