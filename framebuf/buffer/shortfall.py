"""What a window lacks of the frames it asks for, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framebuf.buffer.buffer import Buffer
    from framebuf.buffer.window import Window
    from framebuf.contract import Reason


def shortfall(window: Window, buffer: Buffer, now_ns: int) -> dict[Reason, int]:
    """How many of its frames there are not: with those asked for, never more than `max_frames`."""
    gone = forgotten(window, buffer)
    absent = window.within_maximum(_not_captured(window, buffer), gone)
    lost = window.within_maximum(_lost_in_gaps(window, buffer, now_ns), gone + absent)
    return {"evicted": gone, "not_captured": absent, "camera_gap": lost}


def forgotten(window: Window, buffer: Buffer) -> int:
    """Frames that were there, and of which not even the stamps are known any more."""
    spec = window.spec
    later = buffer.forgotten(spec.moment_ns + 1, spec.moment_ns + spec.after.ns)
    gone = _forgotten_before(window, buffer) + later
    return window.within_maximum(gone // spec.stride)


def _forgotten_before(window: Window, buffer: Buffer) -> int:
    """Of those at or before the moment."""
    spec = window.spec
    if _counted(window):
        start_ns, most = 0, _counted(window) - window.before
    elif spec.before is not None:
        start_ns, most = spec.moment_ns - spec.before.ns, spec.max_frames * spec.stride
    else:
        whole = buffer.extent.history if buffer.extent else 0
        start_ns, most = spec.moment_ns - whole * (buffer.period_ns() or 0), whole - window.before
    return min(max(0, most), buffer.forgotten(start_ns, spec.moment_ns))


def _counted(window: Window) -> int:
    """How many frames at or before the moment it asks for by number; 0: by time."""
    spec = window.spec
    return 1 if spec.is_moment else (spec.before and spec.before.frames) or 0


def _not_captured(window: Window, buffer: Buffer) -> int:
    """Frames of a counted side that there were not."""
    spec, stride = window.spec, window.spec.stride
    missing = 0
    counted = _counted(window)
    known = window.before + (_forgotten_before(window, buffer) if counted else 0)
    if counted > known:
        missing += -(-counted // stride) - -(-known // stride)
    if spec.after.frames:
        missing += spec.after.frames // stride - window.after // stride
    return missing


def _lost_in_gaps(window: Window, buffer: Buffer, now_ns: int) -> int:
    """Frames of a timed side that the camera was away for; an estimate by its rate."""
    spec = window.spec
    if spec.is_moment:
        return 0
    start, end = spec.moment_ns, spec.end_ns or spec.moment_ns
    if spec.before is None:
        start = spec.moment_ns if window.first_ns is None else window.first_ns
    elif spec.before.frames is None:
        start -= spec.before.ns
    if start >= end:
        return 0
    return buffer.lost_in_gaps(start, end, now_ns) // spec.stride
