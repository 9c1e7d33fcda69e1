"""What a configuration means on this machine, tried out: for `framebuf check`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from framebuf.buffer.extent import ASSUMED_RATE
from framebuf.capture.source import without_credentials
from framebuf.errors import InferenceError, ModelError, ServersAwayError, SourceError
from framebuf.frames import Part
from framebuf.models.cost import plan_of
from framebuf.models.fallback import check_fallback
from framebuf.models.platforms import SERVERS, is_simulated
from framebuf.models.second import REMEDY, unfit_rows
from framebuf.service.decoding import DECODERS
from framebuf.service.drain import Drain
from framebuf.service.glance import glance
from framebuf.service.report import Desk, Report
from framebuf.service.stores import NO_PACKETS, encoded_cost, raw_cost
from framebuf.service.stores import told as told_of
from framebuf.service.surroundings import (
    try_broker,
    try_clock,
    try_ring_dir,
    try_state_dir,
    try_web,
)
from framebuf.service.trial import time_model, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.buffer.extent import Extent
    from framebuf.config import Camera, Loaded, Model
    from framebuf.models.plan import Plan
    from framebuf.service.glance import Glance
    from framebuf.service.trial import Seen

SLOWER = 0.9
"""A camera that gives less than this part of what was asked for is told."""


def survey(loaded: Loaded, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Try models, cameras, the ring folder and the broker; nothing is left behind."""
    desk = Desk(loaded)
    trials = _Trials(desk)
    for at, model in enumerate(loaded.config.model):
        progress(f"model {model.name}")
        trials.try_model(f"model[{at}]", model)
    for at, wrong in unfit_rows(loaded.config):
        desk.fail(f"camera[{at}].models", wrong, REMEDY)
    for at, camera in enumerate(loaded.config.camera):
        progress(f"camera {camera.name}")
        trials.try_camera(f"camera[{at}]", camera)
    trials.judge_labels()
    progress("ring folder")
    try_ring_dir(desk)
    try_state_dir(desk)
    try_clock(desk)
    try_web(desk)
    progress("broker")
    try_broker(desk)
    return desk.report


class _Trials:
    """Models and cameras of one survey; what models were measured at serves the cameras."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._plans: dict[str, Plan] = {}
        self._labels: dict[str, tuple[str, ...] | None] = {}
        self._named = {model.name: model for model in desk.loaded.config.model}

    def try_model(self, key: str, model: Model) -> None:
        try:
            if model.fallback is not None:
                check_fallback(model, self._named[model.fallback])
            network, costs = time_model(model)
        except ServersAwayError as error:
            then = f"and {model.fallback} answers meanwhile" if model.fallback else "meanwhile"
            self._desk.fail(
                f"{key}.path", str(error),
                f"start a server, or correct the URL; the daemon starts without one {then}, "
                "and goes on trying",
            )  # fmt: skip
            return
        except (ModelError, InferenceError) as error:
            wrong = f"{key}.{error.key}" if isinstance(error, ModelError) else f"{key}.path"
            self._desk.fail(wrong, str(error), "mend the model's file or its keys")
            return
        self._plans[model.name] = plan_of(network, costs)
        self._labels[model.name] = network.labels
        servers = {}
        if network.platform == SERVERS:
            versions = network.contexts[0].versions
            servers = {"servers": versions, "fallback": model.fallback}
        self._desk.report.models.append(
            {
                **servers,
                "name": model.name,
                "platform": network.platform,
                "simulated": is_simulated(network.platform),
                "task": network.task,
                "batch_sizes": list(network.sizes),
                "input": str(network.input),
                "outputs": [str(output) for output in network.outputs],
                "runtimes": len(network.contexts),
                "batches": [
                    {
                        "batch": cost.size,
                        "ms_per_batch": round(cost.ns / 1e6, 2),
                        "ms_per_image": round(cost.ns / 1e6 / cost.size, 3),
                    }
                    for cost in costs
                ],
            }
        )

    def try_camera(self, key: str, camera: Camera) -> None:
        try:
            seen = watch(camera)
        except SourceError as error:
            shown = without_credentials(camera.source)
            self._desk.fail(
                f"{key}.source", str(error),
                f"check that {shown} is there; the daemon starts without it and goes on trying",
            )  # fmt: skip
            return
        rate = min([r for r in (seen.rate, camera.fps) if r], default=None)
        frame_bytes = seen.width * seen.height * 3
        # The buffer is made for what the source says, or gives, before a frame is kept
        rates = (seen.told_rate or (None if camera.fps else seen.measured_rate), camera.fps)
        told = min([r for r in rates if r], default=ASSUMED_RATE)
        sent = glance(camera)
        given = max(seen.rate or told, told)
        raw = raw_cost(camera, told, given, frame_bytes, sent)
        encoded = encoded_cost(camera, told, given, sent) if sent is not None else None
        if camera.store == "encoded" and encoded is None:
            self._desk.fail(f"{key}.store", NO_PACKETS, 'give store = "raw"')
        cost = encoded if camera.store == "encoded" and encoded is not None else raw
        size = cost.size
        about: dict[str, Any] = {
            "name": camera.name,
            "source": without_credentials(camera.source),
            "width": seen.width,
            "height": seen.height,
            "rate": rate,
            "frame_bytes": frame_bytes,
            "history": size.history if size else 0,
            "headroom": size.headroom if size else 0,
            "bytes": cost.bytes,
            "store": told_of(camera, raw, encoded, sent),
            "told_rate": seen.told_rate,
            "measured_rate": seen.measured_rate,
            "stamps": seen.stamps,
            "lag_ms": seen.lag_ms,
            "undecodable": seen.undecodable,
        }
        self._desk.report.cameras.append(about)
        self._judge_camera(key, camera, seen)
        if size is None or size.shortened:
            self._desk.fail(
                f"{key}.memory",
                f"{camera.memory} holds {about['history']} frames of {seen.width}×{seen.height}, "
                f"not {camera.buffer}",
                f'give memory = "{-(-cost.needed // 2**20)} MiB", or a shorter buffer, '
                "or a lower fps",
            )
        if size is not None and rate:
            seen_as = sent if camera.store == "encoded" else None
            about["drain"] = self._drain(key, camera, size, rate, seen_as)

    def judge_labels(self) -> None:
        """Whether what Home Assistant has sensors for can ever be found."""
        config = self._desk.loaded.config
        known = [self._labels.get(camera.models[0]) for camera in config.camera]
        if not all(known):
            return  # of some model it is not known
        names = {name for labels in known for name in labels or ()}
        for label in config.homeassistant.labels:
            if label not in names:
                near = difflib.get_close_matches(label, names, n=1, cutoff=0.5)
                self._desk.note(
                    "homeassistant.labels", f"no model has the label {label!a}: it stays at 0",
                    f"did you mean {near[0]}?" if near else "use a label of the models",
                )  # fmt: skip

    def _judge_camera(self, key: str, camera: Camera, seen: Seen) -> None:
        measured = seen.measured_rate
        if camera.fps and measured and measured < SLOWER * camera.fps:
            self._desk.note(
                f"{key}.fps", f"asks for {camera.fps:g} frames a second, {measured:g} come",
                "lower it, or ask for a smaller size; a camera gives less in the dark",
            )  # fmt: skip
        if camera.size and camera.size != (seen.width, seen.height):
            self._desk.note(
                f"{key}.size",
                f"asks for {camera.size[0]}×{camera.size[1]}, {seen.width}×{seen.height} come",
                "give a size that the device has: v4l2-ctl --list-formats-ext names them",
            )
        check_roi(self._desk, f"{key}.roi", camera, seen.width, seen.height)
        if seen.undecodable:
            self._desk.note(
                key, f"{seen.undecodable} frames could not be decoded", "mend cable or network"
            )

    def _drain(
        self, key: str, camera: Camera, size: Extent, rate: float, sent: Glance | None
    ) -> dict[str, Any] | None:
        """How long a whole history takes, and whether the camera can go on meanwhile.

        `sent`: what has to be decoded first.
        """
        plan = self._plans.get(camera.models[0])
        if plan is None:
            return None
        frames = min(size.history, camera.trigger.max_frames)
        drain = Drain.of(frames, size.headroom, rate, plan)
        if sent is not None:
            threads = self._desk.loaded.config.node.decoders or DECODERS
            drain = drain.no_sooner(frames * sent.picture_ms / 1e3 / threads, rate)
        if drain.dropped:
            self._desk.note(
                f"{key}.memory",
                f"{frames} frames take {camera.models[0]} {drain.seconds:.1f} s; of the "
                f"{drain.meanwhile} that come meanwhile, {drain.dropped} find no room beside them",
                "give more memory, a lower fps, fewer max_frames, or a faster model",
            )
        if drain.seconds > camera.trigger.deadline.s:
            self._desk.note(
                f"{key}.trigger.deadline",
                f"{frames} frames take {drain.seconds:.1f} s, the deadline is "
                f"{camera.trigger.deadline}",
                "make it longer, or give fewer max_frames, a lower fps, or a faster model",
            )
        return {
            "frames": drain.frames,
            "seconds": round(drain.seconds, 3),
            "meanwhile": drain.meanwhile,
            "dropped": drain.dropped,
        }


def check_roi(desk: Desk, key: str, camera: Camera, width: int, height: int) -> None:
    """Whether the roi lies in a frame as the camera gives it now."""
    if camera.roi is None:
        return
    roi = Part(*camera.roi)
    part = roi.within(width, height)
    if part != roi:
        outcome = f"it is cut to {part}" if part else "no frame can be answered"
        desk.fail(
            key,
            f"{roi} leaves a frame of {width}×{height}: {outcome}",
            "give x, y, width, height within the frame",
        )
