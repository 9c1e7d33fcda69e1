"""Whether the node lives, and whether it is fit for work: /healthz and /readyz."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framebuf.service.state import MAX_WHY

if TYPE_CHECKING:
    from framebuf.service.web.view import View

Reasons = list[dict[str, str]]
"""What is wrong: each with its `part` and `why`."""


def unhealthy(view: View) -> Reasons:
    """The threads that hang; where there is one, the watchdog ends the process soon."""
    return [
        {"part": f"thread {name}", "why": f"no sign of life for {silent_ns / 1e9:.1f} s"}
        for name, silent_ns in view.hanging(time.monotonic_ns()).items()
    ]


def unready(view: View) -> Reasons:
    """Why a trigger would not be answered as it should."""
    reasons = unhealthy(view)
    now = time.monotonic_ns()
    for name, buffer in view.buffers.items():
        if not buffer.online(now):
            reasons.append({"part": f"camera {name}", "why": why_away(view, name)})
    running = view.running
    if running is None:
        names = ", ".join(model.name for model in view.config.model)
        reasons.append({"part": "models", "why": f"loading {names}"})
        return reasons
    if not running.broker.connected.is_set():
        reasons.append({"part": "broker", "why": running.broker.trouble or "no broker yet"})
    elif running.broker.trouble:
        reasons.append({"part": "broker", "why": running.broker.trouble})
    for name, why in running.state.unanswered().items():
        reasons.append({"part": f"model {name}", "why": f"no server answers: {why}"})
    if running.requests.trouble:
        reasons.append({"part": "journal", "why": running.requests.trouble})
    return reasons


def why_away(view: View, camera: str) -> str:
    """Why a camera is offline, as far as its thread knows."""
    error = view.cameras[camera].last_error
    if error:
        return error[:MAX_WHY]
    return "no fresh frame" if view.buffers[camera].newest() else "no frame yet"
