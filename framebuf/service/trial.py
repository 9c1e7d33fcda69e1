"""Cameras and models tried out: what they give, measured within seconds."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from framebuf.capture import open_source
from framebuf.capture.source import patience_s
from framebuf.models.cost import timed
from framebuf.models.network import open_network
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.config import Camera, Model
    from framebuf.models.network import Network
    from framebuf.models.plan import Cost

WATCH_S = 1.5
"""How long a camera is watched."""
LONGEST_S = 4.0
"""How long a slow one is waited for, which gives no three frames in that time; at least."""
LONGEST_STALE_NS = 120 * SECOND_NS
"""A camera that gives less than a frame in that time cannot be tried."""
SLOWEST_FPS = 1.0
"""Time-lapse cameras, which keep fewer, are watched at this rate: else it would take hours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a camera gave while it was watched."""

    width: int
    height: int
    """Of the largest frame."""
    told_rate: float | None
    """Frames a second, as the source says."""
    measured_rate: float | None
    """As their stamps say; None of a single frame."""
    stamps: str
    lag_ms: float | None
    undecodable: int

    @property
    def rate(self) -> float | None:
        """What to reckon with: what the source says is what it was asked for, not what it does."""
        return self.measured_rate or self.told_rate


def watch(camera: Camera) -> Seen:
    """Open the camera and watch it for a second and a half.

    Raises:
        SourceError: it cannot be opened, or gives no frame.
    """
    stop = threading.Event()
    patience = patience_s(min(camera.stale_ns, LONGEST_STALE_NS))
    fps = max(camera.fps, SLOWEST_FPS) if camera.fps else None
    source = open_source(camera.source, fps=fps, size=camera.size, patience_s=patience, stop=stop)
    frames: list[_Glimpse] = []
    try:
        begun = time.monotonic()
        while not frames or _goes_on(time.monotonic() - begun, len(frames), patience):
            grab = source.grab()
            frames.append(_Glimpse(grab.captured.mono_ns, grab.width, grab.height, not grab.error))
    finally:
        source.close()
    largest = max((frame for frame in frames if frame.good), default=frames[0], key=_pixels)
    return Seen(
        largest.width,
        largest.height,
        _kept(source.rate, camera.fps),
        _kept(_rate([frame.stamp_ns for frame in frames]), camera.fps),
        source.clock.kind if source.clock else "arrival",
        round(source.clock.lag_ns / 1e6, 1) if source.clock else None,
        sum(not frame.good for frame in frames),
    )


class _Glimpse(NamedTuple):
    stamp_ns: int
    width: int
    height: int
    good: bool


def _pixels(frame: _Glimpse) -> int:
    return frame.width * frame.height


def _goes_on(passed_s: float, frames: int, patience: float) -> bool:
    return passed_s < (WATCH_S if frames > 2 else max(LONGEST_S, 3 * patience))


def _kept(rate: float | None, fps: float | None) -> float | None:
    """What a time-lapse camera keeps of `rate` frames a second."""
    return min(rate, fps) if rate and fps and fps < SLOWEST_FPS else rate


def _rate(stamps_ns: list[int]) -> float | None:
    """By the median step: frames that were held back at first, and came in one go, are few."""
    steps = [after - before for before, after in pairwise(stamps_ns)]
    median = statistics.median(steps) if steps else 0
    return round(1e9 / median, 2) if median > 0 else None


def time_model(
    model: Model, width: int = 1280, height: int = 720
) -> tuple[Network, tuple[Cost, ...]]:
    """Load the model and warm it up; what a full batch of each size takes.

    Of preparing, running and reading, which go on side by side, the slowest counts.

    Raises:
        ModelError: it cannot be loaded.
        InferenceError: it cannot be run.
    """
    network = open_network(model)
    try:
        picture = np.full((height, width, 3), 114, np.uint8)
        return network, timed(network, picture, whole=True)
    finally:
        for context in network.contexts:
            context.join(0)
