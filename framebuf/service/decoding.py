"""Decoding: the threads that make pictures of packets, for frames that somebody asks for."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from framebuf.buffer.decoder import GONE, Converter, GroupDecoder
from framebuf.service.pixels import Allowance, Pixels
from framebuf.service.pulse import Pulse
from framebuf.service.reels import Reel, Reels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.buffer.group import Shown
    from framebuf.buffer.packets import PacketRing
    from framebuf.frames import Frame
    from framebuf.models.backlog import Job
    from framebuf.service.codedchain import CodedChain

DECODERS = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Threads, unless configured: the other half of the cores prepares and infers."""
QUANTUM_NS = 50 * 10**6
"""How long a thread goes on with one request before it looks for one that is more urgent."""
IDLE_S = 2.0
"""How long decoders are kept that nobody asks for: frames of a live camera come sooner."""


class Decoding:
    """The threads `decoder-N`. Any thread submits and withdraws.

    Groups of pictures are decoded side by side; each from its key frame on, only as far as
    somebody asks, and only what is asked for is converted. Decoders are kept for the frames that
    follow. `_changed` guards the reels, the idle decoders and `_closing`.
    """

    def __init__(self, threads: int, allowance: Allowance | None = None) -> None:
        self._changed = threading.Condition()
        self._given = allowance
        # by first model: one that stands still, as servers that are away, holds up no other
        self._allowances: dict[str, Allowance] = {}
        self._reels = Reels()
        self._idle: list[GroupDecoder] = []  # the one that was used last at the end
        self._kept = threads + 2
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"decoder-{n}", daemon=True)
            for n in range(threads)
        ]
        self.pulses = [Pulse(thread) for thread in self._threads]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the threads; what waits is left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def submit(self, chain: CodedChain, jobs: Iterable[Job]) -> None:
        """Have frames decoded. In the order in which they were captured, for each request."""
        found = [(job, chain.buffer.coded(job.frame.seq)) for job in jobs]
        with self._changed:
            for job, place in found:
                self._reels.add(chain, place[1].group if place else None, job)
            self._changed.notify_all()

    def withdraw(self, turn: str) -> list[Job]:
        """Take back what is not begun; what is will go no further."""
        with self._changed:
            return self._reels.withdraw(turn)

    def _wake(self) -> None:
        """Pixels were let go: there is room for more."""
        with self._changed:
            self._changed.notify()

    def _run(self, number: int) -> None:
        pulse, converter = self.pulses[number], Converter()
        while (begun := self._next(pulse)) is not None:
            pulse.beat()
            reel, work = begun
            until_ns = time.monotonic_ns() + QUANTUM_NS
            while work is not None:
                self._decode(reel, *work, converter)
                pulse.beat()
                work = self._more(reel) if time.monotonic_ns() < until_ns else None
            with self._changed:
                self._reels.give_back(reel)
                self._changed.notify()

    def _next(self, pulse: Pulse) -> tuple[Reel, tuple[Job, Pixels] | None] | None:
        """Block for the next reel, and room for its first frame; None: it is over."""
        pulse.rest()
        with self._changed:
            while not self._closing:
                now = time.monotonic_ns()
                found = self._reels.next(now, self._room)
                if found is not None:
                    reel, pixels = found
                    self._reels.take(reel, now)
                    return reel, (reel.jobs.popleft(), pixels)
                if not self._changed.wait(IDLE_S if self._idle else None):
                    self._idle.clear()
            return None

    def _more(self, reel: Reel) -> tuple[Job, Pixels] | None:
        """The reel's next frame; None: it has none, or there is no room."""
        with self._changed:
            if not reel.jobs or self._closing:
                return None
            pixels = self._room(reel)
            return None if pixels is None else (reel.jobs.popleft(), pixels)

    def _room(self, reel: Reel) -> Pixels | None:
        """For the reel's next frame; None: its model's frames take all there is. Locked."""
        model = reel.chain.model
        if model not in self._allowances:
            self._allowances[model] = self._given or Allowance(self._wake)
        return self._allowances[model].take(_size(reel))

    def _decode(self, reel: Reel, job: Job, pixels: Pixels, converter: Converter) -> None:
        let_go = pixels.user()
        job.begun()
        place = reel.chain.buffer.coded(job.frame.seq)
        found = GONE if place is None else self._picture(reel.chain, job, *place, converter)
        if isinstance(found, str):
            let_go()
            reel.chain.failed(job, found)
        elif reel.withdrawn:
            let_go()
            job.paused()
        else:
            reel.chain.developed(job, found, pixels, let_go)

    def _picture(
        self, chain: CodedChain, job: Job, ring: PacketRing, shown: Shown, converter: Converter
    ) -> Frame | str:
        """The job's frame with its pixels, or why there are none."""
        frame = job.frame
        times = chain.halvings(job) if shown.group.head.is_intra else 0
        decoder = self._decoder(ring, shown, times)
        picture = decoder.picture(shown.nth)
        self._keep(decoder)
        if isinstance(picture, str):
            return picture
        parts = 2**times
        expected = (-(-frame.height // parts), -(-frame.width // parts))
        if (picture.height, picture.width) != expected:
            return (
                f"cannot be decoded: expected {frame.width}×{frame.height}, "
                f"got {picture.width}×{picture.height}"
            )
        try:
            return replace(frame, pixels=converter.bgr(picture))
        except ValueError as error:
            return f"cannot be decoded: {error}"

    def _decoder(self, ring: PacketRing, shown: Shown, times: int) -> GroupDecoder:
        """One that comes to this frame next, or a new one."""
        group = shown.group
        with self._changed:
            for decoder in reversed(self._idle):
                fits = decoder.group is group and decoder.halvings == times
                if fits and decoder.can_give(shown.nth):
                    self._idle.remove(decoder)
                    return decoder
        leading = group.records[shown.nth].leading
        return GroupDecoder(ring, group, group.before if leading else None, times)

    def _keep(self, decoder: GroupDecoder) -> None:
        """For the frames that follow, unless others are asked for first."""
        if decoder.group.head.is_intra:
            return
        with self._changed:
            self._idle.append(decoder)
            del self._idle[: -self._kept]

    def __repr__(self) -> str:
        return f"<Decoding {len(self._threads)} threads, {self._reels!r}, {self._allowances!r}>"


def _size(reel: Reel) -> int:
    """Bytes of its next frame, at most."""
    job = reel.jobs[0]
    is_intra = reel.group is not None and reel.group.head.is_intra
    parts = 2 ** reel.chain.halvings(job) if is_intra else 1
    return 3 * -(-job.frame.height // parts) * -(-job.frame.width // parts)
