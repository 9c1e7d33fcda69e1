"""What a configuration means on this machine, tried out: for `framebuf check`."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from framebuf.buffer.directory import file_system
from framebuf.buffer.extent import ASSUMED_RATE, extent, smallest
from framebuf.capture import open_source
from framebuf.capture.source import without_credentials
from framebuf.errors import ConfigError, ModelError, SourceError
from framebuf.frames import Part
from framebuf.models.network import open_network
from framebuf.service.broker import Broker, Session
from framebuf.service.health import Counters
from framebuf.service.orders import made_up_id
from framebuf.units import Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.config import Camera, Loaded, Model

BROKER_S = 3.0
MEMORY_KINDS = ("tmpfs", "ramfs")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and what to do about it."""

    where: str
    what: str
    remedy: str


class Report(msgspec.Struct):
    """The document of `framebuf check --json`."""

    ok: bool
    problems: list[Problem]
    cameras: list[dict[str, Any]]
    models: list[dict[str, Any]]


def survey(loaded: Loaded, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Try models, cameras, the ring folder and the broker; nothing is left behind."""
    report = Report(ok=True, problems=[], cameras=[], models=[])
    for at, model in enumerate(loaded.config.model):
        progress(f"model {model.name}")
        _try_model(loaded, f"model[{at}]", model, report)
    for at, camera in enumerate(loaded.config.camera):
        progress(f"camera {camera.name}")
        _try_camera(loaded, f"camera[{at}]", camera, report)
    progress("ring folder")
    _try_ring_dir(loaded, report)
    progress("broker")
    _try_broker(loaded, report)
    report.ok = not report.problems
    return report


def problem(error: ConfigError) -> Problem:
    return Problem(error.where, error.what, error.remedy)


def _note(loaded: Loaded, report: Report, key: str, what: str, remedy: str) -> None:
    report.problems.append(problem(loaded.error(key, what, remedy)))


def _try_model(loaded: Loaded, key: str, model: Model, report: Report) -> None:
    try:
        network = open_network(model)
    except ModelError as error:
        _note(loaded, report, key, str(error), "mend the model's file or its keys")
        return
    report.models.append(
        {
            "name": model.name,
            "platform": network.platform,
            "task": model.task,
            "batch_sizes": list(network.sizes),
            "input": str(network.input),
            "outputs": [str(output) for output in network.outputs],
            "runtimes": len(network.contexts),
        }
    )
    for context in network.contexts:
        context.join(0)


def _try_camera(loaded: Loaded, key: str, camera: Camera, report: Report) -> None:
    stop = threading.Event()
    try:
        source = open_source(camera.source, fps=camera.fps, stop=stop)
        try:
            grab = source.grab()
        finally:
            source.close()
    except SourceError as error:
        shown = without_credentials(camera.source)
        _note(
            loaded, report, f"{key}.source", str(error),
            f"check that {shown} is there; the daemon starts without it and goes on trying",
        )  # fmt: skip
        return
    _check_roi(loaded, f"{key}.roi", camera, grab.width, grab.height, report)
    rate = min([r for r in (source.rate, camera.fps) if r], default=None)
    frame_bytes = grab.width * grab.height * 3
    size = extent(camera.buffer, camera.memory, rate or ASSUMED_RATE, frame_bytes)
    about: dict[str, Any] = {
        "name": camera.name,
        "source": without_credentials(camera.source),
        "width": grab.width,
        "height": grab.height,
        "rate": rate,
        "frame_bytes": frame_bytes,
        "history": size.history if size else 0,
        "headroom": size.headroom if size else 0,
        "bytes": size.shape(frame_bytes).file_bytes if size else 0,
    }
    report.cameras.append(about)
    if size is None or size.shortened:
        asked = extent(camera.buffer, Size(2**62), rate or ASSUMED_RATE, frame_bytes)
        need = asked.shape(frame_bytes).file_bytes if asked else smallest(frame_bytes)
        _note(
            loaded, report, f"{key}.memory",
            f"{camera.memory} holds {about['history']} frames of {grab.width}×{grab.height}, "
            f"not {camera.buffer}",
            f'give memory = "{-(-need // 2**20)} MiB", or a shorter buffer, or a lower fps',
        )  # fmt: skip


def _check_roi(
    loaded: Loaded, key: str, camera: Camera, width: int, height: int, report: Report
) -> None:
    """Whether the roi lies in a frame as the camera gives it now."""
    if camera.roi is None:
        return
    roi = Part(*camera.roi)
    part = roi.within(width, height)
    if part != roi:
        outcome = f"it is cut to {part}" if part else "no frame can be answered"
        _note(
            loaded, report, key, f"{roi} leaves a frame of {width}×{height}: {outcome}",
            "give x, y, width, height within the frame",
        )  # fmt: skip


def _try_ring_dir(loaded: Loaded, report: Report) -> None:
    path = Path(loaded.config.node.ring_dir)
    there = path if path.exists() else path.parent
    if not there.exists():
        _note(loaded, report, "node.ring_dir", f"{there} is not there", "make it, or name another")
    elif (kind := file_system(there)) not in MEMORY_KINDS:
        _note(
            loaded, report, "node.ring_dir", f"{path} is on {kind}, which would be written all day",
            "name a folder on a tmpfs, such as one below /dev/shm",
        )  # fmt: skip


def _try_broker(loaded: Loaded, report: Report) -> None:
    mqtt = loaded.config.mqtt
    session = Session(client_id=f"framebuf-check-{made_up_id()[2:]}", subscriptions=())
    try:
        broker = Broker(mqtt, session, Counters(), on_message=lambda _: None)
    except ConfigError as error:
        _note(loaded, report, error.where, error.what, error.remedy)
        return
    broker.start()
    until = time.monotonic() + BROKER_S
    while not broker.connected.wait(0.05) and not broker.refused and time.monotonic() < until:
        pass
    if not broker.connected.is_set():
        _note(
            loaded, report, "mqtt", f"{mqtt.host}:{mqtt.port}: {broker.refused or 'no answer'}",
            "start the broker, or mend host, port and credentials",
        )  # fmt: skip
    broker.stop()
