"""Who was seen before: the embeddings of objects found, and which of them are most alike."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from framebuf.demo.album import title
from framebuf.results import Embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1000
"""Objects that are remembered; the oldest go."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The most similar one of those seen before."""

    cosine: float
    """1: the same vector."""
    where: str
    """The frame in which it was, and that one's trigger."""


class Gallery:
    """Remembers what results show. One thread."""

    def __init__(self) -> None:
        self._seen: deque[tuple[str, str, NDArray[np.float32]]] = deque(maxlen=MOST)

    def meet(self, result: Document) -> list[Likeness | None]:
        """For each detection the most similar one of its label, of earlier results.

        None: it has no embedding, or is the first one. Then they are remembered themselves.
        """
        where = f"{title(result)} of {result['id']}"
        found = result.get("detections", [])
        vectors = [_vector(one) for one in found]
        alike = [
            None if vector is None else self._nearest(one["label"], vector)
            for one, vector in zip(found, vectors, strict=True)
        ]
        for one, vector in zip(found, vectors, strict=True):
            if vector is not None:
                self._seen.append((one["label"], where, vector))
        return alike

    def _nearest(self, label: str, vector: NDArray[np.float32]) -> Likeness | None:
        known = [(where, seen) for of, where, seen in self._seen if of == label]
        if not known:
            return None
        cosines = np.stack([seen for _, seen in known]) @ vector
        best = int(np.argmax(cosines))
        return Likeness(float(cosines[best]), known[best][0])

    def __repr__(self) -> str:
        return f"<Gallery of {len(self._seen)}>"


def _vector(detection: Document) -> NDArray[np.float32] | None:
    if "embedding" not in detection:
        return None
    return msgspec.convert(detection["embedding"], Embedding).vector()
