"""What the types of framebuf.toml cannot say: how its keys fit together."""

from __future__ import annotations

import difflib
import ipaddress
import math
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.config.endpoints import is_url
from framebuf.config.file import LISTEN
from framebuf.config.served import check_file, check_served
from framebuf.config.tables import RESERVED_NAMES, Camera, Model

if TYPE_CHECKING:
    from framebuf.config.file import Loaded


def check(loaded: Loaded) -> None:
    """Check what concerns several keys.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    config = loaded.config
    for table, entries in (("camera", config.camera), ("model", config.model)):
        names = [entry.name for entry in entries]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise loaded.error(
                    f"{table}[{at}].name", f"a second {table} named {name}", "give it another name"
                )
    for at, camera in enumerate(config.camera):
        _check_camera(loaded, f"camera[{at}]", camera)
    for at, model in enumerate(config.model):
        _check_model(loaded, f"model[{at}]", model)
        if is_url(model.path):
            check_served(loaded, f"model[{at}]", model)
        else:
            check_file(loaded, f"model[{at}]", model)
    check_mqtt(loaded)
    _check_web(loaded)
    labels = config.homeassistant.labels
    for at, label in enumerate(labels):
        if label in labels[:at]:
            raise loaded.error("homeassistant.labels", f"{label!a} stands twice", "leave one out")


def check_mqtt(loaded: Loaded) -> None:
    """Check what concerns several keys of [mqtt].

    Raises:
        ConfigError: the first thing that is wrong.
    """
    mqtt = loaded.config.mqtt
    if mqtt.password_file is not None and mqtt.username is None:
        raise loaded.error("mqtt.password_file", "has no username", "add username = …")
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        raise loaded.error("mqtt", "cert_file and key_file go together", "give both or neither")


def _check_web(loaded: Loaded) -> None:
    web = loaded.config.web
    if web is None:
        return
    host, port = web.address
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise loaded.error("web.listen", f"{host} is no address", LISTEN) from None
    if not 1 <= port <= 65535:
        raise loaded.error("web.listen", f"{port} is no port", LISTEN)
    if not loopback and web.token_file is None:
        raise loaded.error(
            "web.listen", f"{host} lets other machines in, and there is no token_file",
            'add token_file = …, or listen = "127.0.0.1:8790"',
        )  # fmt: skip


def _check_camera(loaded: Loaded, key: str, camera: Camera) -> None:
    models = [model.name for model in loaded.config.model]
    if camera.name in RESERVED_NAMES:
        raise loaded.error(f"{key}.name", f"{camera.name} is a topic of the node", "rename it")
    for name in camera.models:
        if name not in models:
            near = difflib.get_close_matches(name, models, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]}?" if near else f"add a [[model]] named {name}"
            raise loaded.error(f"{key}.models", f"there is no model {name}", remedy)
    _check_chain(loaded, f"{key}.models", camera)
    if camera.store == "encoded" and Path(camera.source).is_dir():
        raise loaded.error(
            f"{key}.store", "a folder of pictures has no packets", 'give store = "raw"'
        )
    if camera.buffer.is_zero:
        raise loaded.error(f"{key}.buffer", "holds nothing", "give a duration or frames above 0")
    if not camera.memory.bytes:
        raise loaded.error(f"{key}.memory", "is zero", "give it room for a few frames")
    if camera.stale_after and not camera.stale_after.ns:
        raise loaded.error(f"{key}.stale_after", "is zero", "give a duration above 0")
    if camera.stale_after and camera.fps and camera.stale_ns < 2 * 10**9 / camera.fps:
        raise loaded.error(
            f"{key}.stale_after",
            f"{camera.stale_after} is shorter than two frames at {camera.fps:g} fps",
            "make it longer, or leave it out",
        )
    _check_trigger(loaded, key, camera)


def _check_chain(loaded: Loaded, key: str, camera: Camera) -> None:
    """A detector, and what sees its detections."""
    if len(camera.models) == 1:
        return
    if len(camera.models) > 2:
        raise loaded.error(key, f"are {len(camera.models)}", "give one model, or two in a row")
    of = {model.name: model for model in loaded.config.model}
    first, second = (of[name] for name in camera.models)
    if first.task not in ("detect", "auto"):
        raise loaded.error(
            key, f"{first.name} finds no objects for {second.name}: its task is {first.task}",
            'put a model first that has task = "detect"',
        )  # fmt: skip
    if second.task not in ("classify", "embed", "auto"):
        raise loaded.error(
            key, f"{second.name} stands second, and its task is {second.task}",
            'put a model second that has task = "classify" or "embed"',
        )  # fmt: skip


def _check_trigger(loaded: Loaded, key: str, camera: Camera) -> None:
    trigger = camera.trigger
    for name, duration in (("max_age", trigger.max_age), ("deadline", trigger.deadline)):
        if not duration.ns:
            raise loaded.error(f"{key}.trigger.{name}", "is zero", "give a duration above 0")
    before, buffer = trigger.before, camera.buffer
    if before and (before.frames is None) == (buffer.frames is None):
        asked, held = before.frames or before.ns, buffer.frames or buffer.ns
        if asked > held:
            raise loaded.error(
                f"{key}.trigger.before",
                f"{before} is more than the buffer of {buffer}",
                "shorten it, or make buffer longer",
            )
    if trigger.after.ns > trigger.deadline.ns:
        raise loaded.error(
            f"{key}.trigger.after",
            f"{trigger.after} reaches past the deadline of {trigger.deadline}",
            "shorten it, or make deadline longer",
        )


def _check_model(loaded: Loaded, key: str, model: Model) -> None:
    may_say_itself = not (model.path.endswith(".onnx") or is_url(model.path))
    if model.task == "auto" and not may_say_itself:
        raise loaded.error(f"{key}.task", "is missing", 'add task = "detect", "classify" …')
    if model.task == "detect" and model.decoder is None and not may_say_itself:
        raise loaded.error(f"{key}.decoder", "is missing", 'add decoder = "nanodet", "yolov5" …')
    if (model.mean is None) != (model.std is None):
        raise loaded.error(key, "mean and std go together", "give both or neither")
    for name, values in (("mean", model.mean), ("std", model.std)):
        if values and not all(map(math.isfinite, values)):
            raise loaded.error(f"{key}.{name}", "is not finite", "give three plain numbers")
    if model.std and 0.0 in model.std:
        raise loaded.error(f"{key}.std", "contains 0", "pixels are divided by it: give it above 0")
