"""What a configuration lives on: the folder of the rings, the clock, the broker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.buffer.directory import LOCK as RINGS_LOCK
from framebuf.buffer.directory import MEMORY_KINDS, PACKETS, SUFFIX, file_system
from framebuf.buffer.privacy import check_unshared
from framebuf.errors import ConfigError
from framebuf.service.broker import Broker
from framebuf.service.health import Counters
from framebuf.service.message import Session
from framebuf.service.orders import made_up_id
from framebuf.service.state_dir import LOCK as STATE_LOCK
from framebuf.service.wallclock import clock_synchronised

if TYPE_CHECKING:
    from framebuf.service.report import Desk

BROKER_S = 3.0


def try_ring_dir(desk: Desk) -> None:
    """Whether the rings that the cameras need fit into the folder, and that is memory."""
    path = Path(desk.loaded.config.node.ring_dir)
    there = path if path.exists() else path.parent
    if not there.exists():
        desk.fail("node.ring_dir", f"{there} is not there", "make it, or name another")
        return
    if (kind := file_system(there)) not in MEMORY_KINDS:
        desk.fail(
            "node.ring_dir", f"{path} is on {kind}, which would be written all day",
            "name a folder on a tmpfs, such as one below /dev/shm",
        )  # fmt: skip
        return
    if path.exists() and not _is_fit(desk, "node.ring_dir", path, RINGS_LOCK):
        return
    about = os.statvfs(there)
    # What a daemon that runs now, or ran, has there is free for the next one
    rings = [file for suffix in (SUFFIX, PACKETS) for file in path.glob(f"*{suffix}")]
    own = sum(file.stat().st_blocks * 512 for file in rings)
    free = about.f_bavail * about.f_frsize + own
    need = sum(camera["bytes"] for camera in desk.report.cameras)
    desk.report.machine |= {"ring_free_bytes": free, "ring_need_bytes": need}
    if need > free:
        desk.fail(
            "node.ring_dir",
            f"{there} has {free >> 20} MiB free, the cameras need {-(-need // 2**20)} MiB",
            "lower memory or buffer of a camera, or make that tmpfs larger: "
            f"mount -o remount,size=… {_mount_point(there)}",
        )


def try_web(desk: Desk) -> None:
    """Whether the page could be opened: its libraries and its token; no socket is."""
    web = desk.loaded.config.web
    if web is None:
        return
    try:
        from framebuf.service.web import opening  # noqa: PLC0415, F401
        from framebuf.service.web.token import Token  # noqa: PLC0415
    except ImportError as error:
        remedy = "pip install 'framebuf[web]', or leave [web] out"
        desk.fail("web", f"needs the extra web: there is no {error.name}", remedy)
        return
    try:
        Token.read(web.token_file)
    except ConfigError as error:
        desk.fail(error.where, error.what, error.remedy)


def try_state_dir(desk: Desk) -> None:
    """Whether the folder of the request journal can be written, and outlives a power cut."""
    path = Path(desk.loaded.config.node.state_dir)
    there = next(p for p in (path, *path.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        desk.fail(
            "node.state_dir",
            f"{there} is no folder that this user can write" if there == path
            else f"{path} cannot be made in {there}",
            "name a folder that the daemon's user can write, or run check as that user",
        )  # fmt: skip
        return
    if there == path and not _is_fit(desk, "node.state_dir", path, STATE_LOCK):
        return
    if (kind := file_system(there)) in MEMORY_KINDS:
        desk.note(
            "node.state_dir", f"{path} is on {kind}: a power cut takes the open requests with it",
            "name a folder on a disk, unless that does not matter",
        )  # fmt: skip


def try_clock(desk: Desk) -> None:
    """Whether the time of events means here what it means to their senders."""
    synchronised = clock_synchronised()
    desk.report.machine["clock_synchronised"] = synchronised
    if synchronised is False:
        desk.note(
            "node", "nothing keeps this machine's clock", "run systemd-timesyncd or chrony: "
            "at in triggers, and the times of results, are by this clock",
        )  # fmt: skip


def try_broker(desk: Desk) -> None:
    """Whether the broker is there, and lets the node in."""
    mqtt = desk.loaded.config.mqtt
    session = Session(client_id=f"framebuf-check-{made_up_id()[2:]}", subscriptions=())
    try:
        broker = Broker(mqtt, session, Counters(), on_message=lambda _: None)
    except ConfigError as error:
        desk.fail(error.where, error.what, error.remedy)
        return
    broker.start()
    until = time.monotonic() + BROKER_S
    while not broker.connected.wait(0.05) and not broker.trouble and time.monotonic() < until:
        pass
    if not broker.connected.is_set():
        desk.fail(
            "mqtt", broker.trouble or f"no answer from the broker {mqtt.host}:{mqtt.port}",
            "start the broker, or mend host, port and credentials",
        )  # fmt: skip
    broker.stop()


def _is_fit(desk: Desk, key: str, path: Path, lock: str) -> bool:
    """Whether what is there is a folder that the daemon would make its own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        desk.fail(key, f"{path}: {error.strerror}", "name a folder of the daemon's user")
        return False
    try:
        check_unshared(path, descriptor, lock, key)
    except ConfigError as error:
        desk.fail(error.where, error.what, error.remedy)
        return False
    finally:
        os.close(descriptor)
    return True


def _mount_point(path: Path) -> Path:
    return next(parent for parent in (path, *path.resolve().parents) if os.path.ismount(parent))
