"""Hung cameras: a read that does not come back, whatever its source's time-outs say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from framebuf.errors import SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framebuf.buffer.directory import RingDirectory
    from framebuf.capture.camera import Camera

_log = logging.getLogger(__name__)

HUNG_NS = 60 * SECOND_NS
"""A camera's thread that is silent for longer hangs: sources give up after seconds, and only a
name that nobody looks up takes longer."""
APART_NS = 600 * SECOND_NS
"""Between two restarts for the sake of cameras: the others go on meanwhile."""
FILE = "camera-restart"


class HungCameras:
    """Looks for cameras whose thread is stuck. Belongs to the main thread.

    Such a camera is offline, as any without fresh frames. Nothing but the end of the process gets
    its thread back, so that is tried, and not again before ten minutes are over: when the last
    restart was, stands in the folder of the rings, which ends with the boot as its clock does.
    """

    def __init__(self, cameras: Mapping[str, Camera], directory: RingDirectory) -> None:
        self._cameras = cameras
        self._file = directory.path / FILE
        self._told: frozenset[str] = frozenset()

    def restart_for(self, now_ns: int) -> SourceError | None:
        """Why the process should end, if it should; `now_ns` is monotonic."""
        hung = frozenset(
            name for name, camera in self._cameras.items() if now_ns - camera.beat_ns > HUNG_NS
        )
        fresh, self._told = hung - self._told, hung
        if not hung:
            return None
        names = ", ".join(sorted(hung))
        last_ns = self._last_ns()
        if last_ns is not None and 0 <= now_ns - last_ns < APART_NS:
            if fresh:
                _log.error(
                    "camera %s hangs; the process was restarted for that less than %d min ago",
                    names, APART_NS // (60 * SECOND_NS),
                )  # fmt: skip
            return None
        try:
            self._file.write_text(f"{now_ns}\n", encoding="ascii")
        except OSError as error:  # it could not be told the next time, and so for ever
            if fresh:
                _log.error("camera %s hangs; no restart: %s", names, error)
            return None
        return SourceError(f"camera {names} hangs; only a new process gets it back")

    def _last_ns(self) -> int | None:
        try:
            return int(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def __repr__(self) -> str:
        return f"<HungCameras {len(self._told)} of {len(self._cameras)}>"
