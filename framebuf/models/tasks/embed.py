"""A vector for each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.models.tasks.rows import Output, require_finite
from framebuf.results import Embedding, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs


class Embed:
    """One output, flattened, scaled to unit length. Any thread may call it."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings]:
        """As `Task.read`: `embedding`."""
        vectors = self._output.rows(outputs, len(placements))
        require_finite(vectors, self._output.name)
        return [Findings(embedding=Embedding.of(vector.reshape(-1))) for vector in vectors]
