"""What a source gives, into the buffer: thinned to `fps`; what is damaged or too large is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from framebuf.capture.pace import Decimator
from framebuf.errors import ConfigError, SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.source import Grab
    from framebuf.units import Moment

_log = logging.getLogger(__name__)

_HOPELESS_NS = 2 * SECOND_NS
"""Frames for this long, none of which ever fitted into memory: none will."""
_NO_SIZE = (16, 16)
"""Height, width of a frame whose pixels are not kept."""
_MOST_TOLD = 20
"""Sizes without room that the log speaks of."""


class Recorder:
    """Writes one camera's frames into its buffer. Its thread alone calls; any may read counts."""

    def __init__(self, camera: str, fps: float | None, buffer: Buffer) -> None:
        self.decimated = 0
        """Frames passed over to keep `fps` a second."""
        self.undecodable = 0
        """Frames that exist but could not be decoded."""
        self.oversized = 0
        """Frames larger than memory holds."""
        self.outdated = 0
        """Frames that came too late: of a time of which was told that no more come."""
        self._camera = camera
        self._buffer = buffer
        self._decimator = Decimator(fps)
        self._has_fitted = False
        self._hopeless_ns: int | None = None  # when it is certain that none will
        self._told: set[tuple[int, int]] = set()

    def opened(self) -> None:
        """The source was opened anew: another size may come."""
        self._hopeless_ns = None

    def take(self, grab: Grab) -> Moment | None:
        """Keep a frame, or know why not; when it was captured, None if it came too late.

        Raises:
            SourceError: its pixels cannot be had, nor what follows.
            ConfigError: no frame ever fitted into memory.
            RingError: the tmpfs has no room.
        """
        for packet in grab.packets:
            self._buffer.take(packet)
        captured = self._buffer.arrived(grab.captured)
        if captured is None:
            self.outdated += 1
        elif self._decimator.keeps(captured.mono_ns):
            self._keep(grab, captured)
        else:
            self._buffer.passed_over()
            self.decimated += 1
        return captured

    def _keep(self, grab: Grab, captured: Moment) -> None:
        try:
            slot = self._buffer.begin(captured, grab.height, grab.width, grab.origin, grab.packet)
        except ConfigError as error:
            self.oversized += 1
            if self._has_fitted:
                self._keep_place(grab, captured, error)
            else:
                self._lose_hope(captured, error)
            return
        self._has_fitted = True
        if slot is not None:
            fault = grab.error
            if fault is None and grab.packet is None:
                try:
                    fault = grab.write(slot.pixels)
                except SourceError:
                    self._buffer.discard(slot)
                    raise
            self._buffer.commit(slot, fault)
            self.undecodable += fault is not None

    def _keep_place(self, grab: Grab, captured: Moment, error: ConfigError) -> None:
        """It is a frame, without pixels, and its result says why."""
        if (grab.width, grab.height) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((grab.width, grab.height))
            _log.warning("camera %s: %s", self._camera, error, extra={"CAMERA": self._camera})
        slot = self._buffer.begin(captured, *_NO_SIZE, grab.origin)
        if slot is not None:
            self._buffer.commit(slot, f"{grab.width}×{grab.height} is more than memory holds")

    def _lose_hope(self, captured: Moment, error: ConfigError) -> None:
        """Nothing is kept while it is not known whether any frame fits: the camera is not online.

        Raises:
            ConfigError: `error`, once that is known.
        """
        self._buffer.passed_over()
        if self._hopeless_ns is None:
            self._hopeless_ns = captured.mono_ns + _HOPELESS_NS
        if captured.mono_ns >= self._hopeless_ns:
            raise error

    def __repr__(self) -> str:
        return (
            f"<Recorder {self._camera}: {self.decimated} decimated, {self.undecodable} "
            f"undecodable, {self.oversized} oversized, {self.outdated} outdated>"
        )
