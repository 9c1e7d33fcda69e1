"""Raw or encoded: what either store of a camera costs, and which one is advised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framebuf.buffer.extent import Extent, extent, smallest
from framebuf.buffer.packetlayout import CHUNK, PacketShape
from framebuf.buffer.packetstore import frames_of
from framebuf.buffer.quota import Quota
from framebuf.units import Size

if TYPE_CHECKING:
    from framebuf.config import Camera
    from framebuf.service.glance import Glance

LATE_MS = 500.0
"""Later than this the first answer of an encoded store is not advised, where raw is at hand."""
CORE_PCT = 3.0
"""Of one core: less is not worth a later answer."""
LARGE = 256 * 2**20
"""Bytes of a raw store: less is not worth a later answer."""
ROOM = 0.25
"""More than the mean, for what a camera sends at its busiest, and the groups under way."""
NO_PACKETS = "its source gives no packets of H.264, H.265 or MJPEG, or B-frames without times"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one store of a camera takes."""

    size: Extent | None
    """None: its memory does not hold the least."""
    bytes: int
    """That it takes, within the camera's memory."""
    needed: int
    """That it would take for the whole history."""
    core_pct: float | None
    """Of one core, between triggers; None: not measured."""
    later_ms: float
    """How much later than raw the first answer comes, at most."""


def raw_cost(
    camera: Camera, rate: float, given: float, frame_bytes: int, seen: Glance | None
) -> Cost:
    """Whole pictures; `rate` a second are kept of the `given`, all of which are decoded."""
    size = extent(camera.buffer, camera.memory, rate, frame_bytes)
    asked = extent(camera.buffer, Size(2**62), rate, frame_bytes)
    needed = asked.shape(frame_bytes).file_bytes if asked else smallest(frame_bytes)
    taken = size.shape(frame_bytes).file_bytes if size else 0
    core_pct = None
    if seen is not None:
        ms = (seen.take_ms + seen.decode_ms) * given + seen.convert_ms * rate
        core_pct = round(ms / 10, 2)
    return Cost(size, taken, needed, core_pct, 0.0)


def encoded_cost(camera: Camera, rate: float, given: float, seen: Glance) -> Cost:
    """The camera's packets; those between the frames that are kept too, but of JPEGs."""
    asked = frames_of(Quota(camera.buffer, camera.memory), rate)
    apart = given / rate if seen.group > 1 else 1.0
    packets = asked * apart + seen.group
    shape = PacketShape(2 * CHUNK, 2 * asked)
    needed = shape.blocks_at + round(packets * (seen.bytes_a_frame + 100) * (1 + ROOM))
    needed = max(needed, shape.file_bytes)
    fits = min(1.0, camera.memory.bytes / needed)
    held = max(1, int(asked * fits))
    spare = max(0, camera.memory.bytes - needed) / max(1.0, seen.bytes_a_frame * apart)
    size = Extent(held, int(spare), shortened=held < asked)
    later_ms = seen.group * seen.decode_ms + seen.convert_ms
    taken = min(needed, camera.memory.bytes)
    return Cost(size, taken, needed, round(seen.take_ms * given / 10, 2), later_ms)


def advice(raw: Cost, encoded: Cost | None) -> tuple[str, str]:
    """Which store is advised, and why."""
    if encoded is None:
        return "raw", NO_PACKETS
    if raw.size is None or raw.size.shortened:
        return "encoded", "memory does not hold the history raw"
    if encoded.later_ms > LATE_MS:
        return "raw", f"encoded, the first answer may come {encoded.later_ms:.0f} ms later"
    if raw.bytes >= LARGE or (raw.core_pct or 0.0) >= CORE_PCT:
        return "encoded", "it costs least between triggers"
    return "raw", "it costs little, and answers at once"


def told(camera: Camera, raw: Cost, encoded: Cost | None, seen: Glance | None) -> dict[str, Any]:
    """For the report."""
    advised, why = advice(raw, encoded)
    about: dict[str, Any] = {
        "configured": camera.store, "advised": advised, "why": why, "raw": _cost(raw),
    }  # fmt: skip
    if encoded is not None and seen is not None:
        about["encoded"] = _cost(encoded) | {
            "codec": seen.codec,
            "group": seen.group,
            "bytes_a_frame": round(seen.bytes_a_frame),
            "decode_ms": round(seen.decode_ms, 2),
        }
    return about


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "bytes": cost.needed,
        "core_pct": cost.core_pct,
        "first_answer_later_ms": round(cost.later_ms, 1),
    }
