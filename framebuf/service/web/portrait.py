"""The node as its page shows it: what it says of itself, and how it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from framebuf.service.web.readiness import unready, why_away

if TYPE_CHECKING:
    from framebuf.service.web.view import View


def portrait(view: View, pictures_shed: int) -> dict[str, Any]:
    """One JSON document; the strings in it are text, whoever wrote them."""
    now = time.monotonic_ns()
    running = view.running
    told: dict[str, Any] = {
        "node": view.config.node.name,
        "broker": f"{view.config.mqtt.host}:{view.config.mqtt.port}",
        "connected": running is not None and running.broker.connected.is_set(),
        "reasons": unready(view),
        "allow_trigger": view.config.web is not None and view.config.web.allow_trigger,
        "pictures_shed": pictures_shed,
        "cameras": {
            name: {"online": buffer.online(now)}
            | ({} if buffer.online(now) else {"why": why_away(view, name)})
            for name, buffer in view.buffers.items()
        },
    }
    if running is None:
        return told | {"info": None, "stats": None}
    stats = running.census.take()
    told["info"] = running.state.info()
    told["stats"] = {
        "uptime_s": round(stats.uptime_s),
        "cameras": stats.cameras,
        "lanes": stats.lanes,
        "requests_open": stats.requests_open,
        "memory": stats.memory,
    }
    told["defaults"] = {
        name: _defaults(feed.camera.trigger) for name, feed in running.feeds.items()
    }
    return told


def _defaults(trigger: Any) -> dict[str, Any]:
    return {
        "mode": trigger.mode,
        "before": None if trigger.before is None else str(trigger.before),
        "after": str(trigger.after),
        "max_frames": trigger.max_frames,
        "deadline": str(trigger.deadline),
    }
