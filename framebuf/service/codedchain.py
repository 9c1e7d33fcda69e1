"""CodedChain: a camera's models behind the decoders, where its frames are held encoded."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from framebuf.models.placement import halvings
from framebuf.results import Failure, FrameResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from framebuf.buffer.buffer import Buffer
    from framebuf.frames import Frame
    from framebuf.models.backlog import Job
    from framebuf.models.chain import Chain
    from framebuf.models.placement import Resize
    from framebuf.service.decoding import Decoding
    from framebuf.service.pixels import Pixels


class CodedChain:
    """Has the face of a Chain. Any thread.

    Frames go to the chain one by one as they are decoded, no more of them than there is room for.
    `_lock` guards who still needs the pixels of a request's frames.
    """

    def __init__(
        self,
        chain: Chain,
        buffer: Buffer,
        decoding: Decoding,
        resize: Resize,
        size: tuple[int, int],
        *,
        whole: bool,
    ) -> None:
        """`resize` and `size` (width, height) are the first model's.

        `whole`: crops are cut from frames, so that a smaller picture of them does not do.
        """
        self.model = chain.model
        self.buffer = buffer
        self._chain = chain
        self._decoding = decoding
        self._resize = resize
        self._size = size
        self._whole = whole
        self._lock = threading.Lock()
        self._needed: dict[str, set[Callable[[], None]]] = {}

    def submit(self, jobs: Iterable[Job]) -> None:
        """Have the frames decoded, and put on the backlog."""
        self._decoding.submit(self, jobs)

    def withdraw(self, turn: str) -> list[Job]:
        """Take back what no context has begun; what is being decoded ends there."""
        waiting = self._decoding.withdraw(turn)
        jobs = self._chain.withdraw(turn)
        with self._lock:
            needed = self._needed.pop(turn, set())
        for let_go in needed:
            let_go()
        return [*waiting, *jobs]

    def halvings(self, job: Job) -> int:
        """How often the sides of a JPEG may be halved for this job."""
        if self._whole or job.developed is not None:
            return 0
        frame = (job.frame.width, job.frame.height)
        return halvings(self._resize, frame, job.part, self._size)

    def developed(self, job: Job, frame: Frame, pixels: Pixels, let_go: Callable[[], None]) -> None:
        """The job's frame is decoded; `let_go` of the pixels is for here. On a decoder's thread."""
        with self._lock:
            self._needed.setdefault(job.turn, set()).add(let_go)
        if job.developed is not None:
            job.developed(frame, pixels.user)
        job.paused()
        prepared = partial(self._prepared, job, let_go)
        self._chain.submit([replace(job, frame=frame, prepared=prepared)])

    def failed(self, job: Job, why: str) -> None:
        """The job's frame cannot be decoded. On a decoder's thread."""
        job.prepared()
        job.answered(FrameResult(self.model, error=Failure("undecodable", why)))

    def _prepared(self, job: Job, let_go: Callable[[], None]) -> None:
        """Its pixels are in tensors. On a prepare thread."""
        job.prepared()
        with self._lock:
            needed = self._needed.get(job.turn)
            if needed is not None:
                needed.discard(let_go)
                if not needed:
                    del self._needed[job.turn]
        let_go()

    def __repr__(self) -> str:
        return f"<CodedChain {self._chain!r}, {self._decoding!r}>"
