"""A camera's buffer as a film strip: what is held and leased, where gaps are, some pictures."""

from __future__ import annotations

import base64
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from framebuf.service.web.pictures import WIDTHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.history import Stamp
    from framebuf.config import Camera
    from framebuf.service.web.pictures import Pictures

PICTURES = 14
"""On a strip, about."""
STEPS_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MS = 10**6
_HALF_S = 500 * _MS


class Strip:
    """Only the thread `web`. Times are milliseconds of the monotonic clock."""

    def __init__(self, camera: Camera, buffer: Buffer, pictures: Pictures) -> None:
        self.name = camera.name
        self._camera = camera
        self._buffer = buffer
        self._pictures = pictures
        self._held: list[tuple[Stamp, bool]] = []
        self.shown: dict[int, dict[str, Any]] = {}
        """The pictures on it, by seq, oldest first."""

    def look(self) -> dict[str, Any]:
        """What the buffer holds now."""
        self._held = held = self._buffer.strip()
        now = time.monotonic_ns()
        return {
            "camera": self.name,
            "now": now // _MS,
            "utc": time.time_ns() // _MS,
            "span": self._span_ns() // _MS,
            "step": self._step_ns() // _MS,
            "frames": len(held),
            "runs": list(_runs(held)),
            "gaps": [
                [before.mono_ns // _MS, after.mono_ns // _MS]
                for (before, _), (after, _) in pairwise(held)
                if after.after_gap
            ],
            "leased": list(_leased(held)),
        }

    def missing_pictures(self) -> list[Stamp]:
        """Frames, oldest first, that the strip should show and has no picture of.

        The first frame of each step of the clock, so that the strip moves and does not flicker; of
        packets the first key frame, for the others would take all the time that pictures have.
        """
        step_ns = self._step_ns()
        wanted, last = [], -1
        for stamp, _ in self._held:
            if stamp.mono_ns // step_ns > last and self._is_cheap(stamp.seq):
                last = stamp.mono_ns // step_ns
                wanted.append(stamp)
        seqs = {stamp.seq for stamp in wanted}
        self.shown = {seq: one for seq, one in self.shown.items() if seq in seqs}
        return [stamp for stamp in wanted if stamp.seq not in self.shown]

    def show(self, stamp: Stamp) -> None:
        """Put one on the strip; nothing where it has gone meanwhile, or cannot be decoded."""
        jpeg = self._pictures.make(self.name, stamp.seq, WIDTHS[0])
        self.shown[stamp.seq] = {
            "camera": self.name,
            "seq": stamp.seq,
            "at": stamp.mono_ns // _MS,
            "utc": stamp.captured.utc_ns // _MS,
            "jpeg": base64.b64encode(jpeg).decode("ascii") if jpeg else None,
        }

    def _is_cheap(self, seq: int) -> bool:
        """Whether nothing has to be decoded before it."""
        place = self._buffer.coded(seq)
        return place is None or place[1].nth == 1 or place[1].group.head.is_intra

    def _span_ns(self) -> int:
        """How long the buffer may reach back, headroom included; whole half seconds.

        So it does not change while the buffer fills, and seldom afterwards.
        """
        held, extent = self._held, self._buffer.extent
        longest = held[-1][0].mono_ns - held[0][0].mono_ns if held else 0
        period_ns = self._buffer.period_ns() or 10**9
        meant = self._camera.buffer
        whole = meant.ns if meant.frames is None else meant.frames * period_ns
        slots_ns = extent.slots * period_ns if extent else 0
        return -(-max(longest, whole, slots_ns, 1) // _HALF_S) * _HALF_S

    def _step_ns(self) -> int:
        span_s = self._span_ns() / 1e9
        step_s = next((step for step in STEPS_S if span_s / step <= PICTURES), STEPS_S[-1])
        return round(step_s * 1e9)

    def __repr__(self) -> str:
        return f"<Strip {self.name}, {len(self._held)} frames, {len(self.shown)} pictures>"


def _runs(held: list[tuple[Stamp, bool]]) -> Iterator[list[int]]:
    """First and last moment and number of the frames that follow each other without a gap."""
    run: list[int] = []
    last_seq = -1
    for stamp, _ in held:
        if run and not stamp.after_gap and stamp.seq == last_seq + 1:
            run[1], run[2] = stamp.mono_ns // _MS, run[2] + 1
        else:
            if run:
                yield run
            run = [stamp.mono_ns // _MS, stamp.mono_ns // _MS, 1]
        last_seq = stamp.seq
    if run:
        yield run


def _leased(held: list[tuple[Stamp, bool]]) -> Iterator[list[int]]:
    """First and last moment and number of the frames that are leased, side by side."""
    run: list[int] = []
    for stamp, leased in held:
        if leased and run:
            run[1], run[2] = stamp.mono_ns // _MS, run[2] + 1
        elif leased:
            run = [stamp.mono_ns // _MS, stamp.mono_ns // _MS, 1]
        elif run:
            yield run
            run = []
    if run:
        yield run
