"""The frames of one `map` that are on their way, in order."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from framebuf.errors import ModelError
from framebuf.models.runner import ANSWER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.results import FrameResult


class InFlight:
    """Belongs to the thread that maps; answers come on others."""

    def __init__(self, most: int, fewest: int, most_bytes: int) -> None:
        """No more than `most` frames, nor `most_bytes` of pixels once there are `fewest` frames."""
        self._most = most
        self._fewest = fewest
        self._most_bytes = most_bytes
        self._answers: deque[tuple[SimpleQueue[FrameResult], int]] = deque()
        self._bytes = 0

    def add(self, size: int) -> Callable[[FrameResult], None]:
        """One more frame, of `size` bytes; returns where its answer goes, from any thread."""
        answer: SimpleQueue[FrameResult] = SimpleQueue()
        self._answers.append((answer, size))
        self._bytes += size
        return answer.put

    @property
    def full(self) -> bool:
        count = len(self._answers)
        return count >= self._most or (count >= self._fewest and self._bytes >= self._most_bytes)

    @property
    def answered(self) -> bool:
        """Whether `next` would not wait."""
        return bool(self._answers) and not self._answers[0][0].empty()

    def next(self) -> FrameResult:
        """The oldest frame's answer.

        Raises:
            ModelError: it does not come.
        """
        answer, size = self._answers.popleft()
        self._bytes -= size
        try:
            return answer.get(timeout=ANSWER_S)
        except Empty:
            raise ModelError(f"no answer within {ANSWER_S:g} s: a runtime hangs") from None

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<InFlight {len(self)}/{self._most} frames, {self._bytes >> 20} MiB>"
