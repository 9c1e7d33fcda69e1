"""The outputs as they are."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from framebuf.models.tasks.rows import Output, require_finite
from framebuf.results import Findings, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.prepare import Placement
    from framebuf.models.runtimes import Outputs


class Raw:
    """Every output of each frame. Any thread may call it."""

    def __init__(self, outputs: tuple[Output, ...]) -> None:
        self._outputs = outputs

    def read(self, outputs: Outputs, placements: Sequence[Placement]) -> list[Findings]:
        """As `Task.read`: `outputs`, in the model's order."""
        filled = {each.name: each.rows(outputs, len(placements)) for each in self._outputs}
        for name, values in filled.items():
            require_finite(values, name)
        return [
            Findings(
                outputs=tuple(
                    Tensor(
                        name,
                        values.shape[1:],
                        base64.b64encode(values[slot].astype("<f4").tobytes()).decode("ascii"),
                    )
                    for name, values in filled.items()
                )
            )
            for slot in range(len(placements))
        ]
