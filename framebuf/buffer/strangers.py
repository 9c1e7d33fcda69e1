"""Rings that nobody of this node would read: their memory is needed."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from framebuf.buffer import packetlayout
from framebuf.buffer.directory import PACKETS, SUFFIX
from framebuf.buffer.recovery import number_of, read_header, read_row, remove_broken, whose
from framebuf.errors import RingError

if TYPE_CHECKING:
    from collections.abc import Collection

    from framebuf.buffer.directory import RingDirectory

_log = logging.getLogger(__name__)


def remove_strangers(
    directory: RingDirectory,
    cameras: Collection[str],
    boot_id: str,
    encoded: Collection[str] = (),
) -> None:
    """Remove what belongs to none of these cameras or to another boot, and tell each.

    `encoded`: those of the cameras that have rings of packets, and none of frames. What is no ring
    at all goes too, with a warning: the folder is ours alone.
    """
    raw = set(cameras).difference(encoded)
    for suffix, owners in ((SUFFIX, raw), (PACKETS, encoded)):
        for name in directory.names(suffix):
            try:
                boot, camera = _owner(directory, name, suffix)
            except (OSError, RingError) as error:
                remove_broken(directory, name, error)
                continue
            if boot != boot_id:
                why = "of another boot"
            elif camera not in cameras:
                why = f"of camera {camera}, which is none of this node's"
            elif camera not in owners:
                why = f"of camera {camera}, whose store has changed"
            elif number_of(name, camera, suffix) is None:
                why = f"of camera {camera}, which is not named like one"
            else:
                continue
            _log.info("%s: removing a ring %s", directory.path / name, why)
            directory.remove(name)


def _owner(directory: RingDirectory, name: str, suffix: str) -> tuple[str, str]:
    """Boot id and camera of a ring."""
    file = directory.open_file(name)
    try:
        if suffix == PACKETS:
            return whose(read_row(file, packetlayout.MAGIC, packetlayout.VERSION))
        header = read_header(file)
        return header.boot_id, header.camera
    finally:
        os.close(file)
