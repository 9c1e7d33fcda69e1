"""The parameter sets of a key frame: when they change, size and more of a stream may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\x00\x00\x01"
_SETS = {"h264": frozenset((7,)), "hevc": frozenset((32, 33))}
"""Types of NAL units (ITU-T H.264, table 7-1; H.265, table 7-1): SPS; VPS and SPS."""
_SLICES = {"h264": range(1, 6), "hevc": range(32)}
_MOST_UNITS = 32
"""Before the first slice; more is no access unit."""


def parameter_sets(codec: str, data: bytes, extradata: bytes) -> tuple[bytes, ...]:
    """The sequence parameter sets that stand in a packet itself, before its first slice.

    `extradata` says whether units stand behind start codes or behind their lengths (ISO/IEC
    14496-15, 5.3.3.1 and 8.3.3.1: its first byte is 1 then).
    """
    if codec not in _SETS:
        return ()
    lengths = extradata[:1] == b"\x01" and not data.startswith((_START, b"\x00" + _START))
    found = []
    for unit in _by_length(data, codec, extradata) if lengths else _by_start_code(data):
        kind = _kind(codec, unit)
        if kind in _SLICES[codec]:
            break
        if kind in _SETS[codec]:
            found.append(unit)
    return tuple(found)


def _kind(codec: str, unit: bytes) -> int:
    if not unit:
        return -1
    return unit[0] & 0x1F if codec == "h264" else (unit[0] >> 1) & 0x3F


def _by_start_code(data: bytes) -> Iterator[bytes]:
    at = data.find(_START)
    for _ in range(_MOST_UNITS):
        if at < 0:
            return
        end = data.find(_START, at + 3, at + 2**16)  # a slice is long, and of no interest
        unit = data[at + 3 : at + 3 + 2**12] if end < 0 else data[at + 3 : end]
        yield unit.rstrip(b"\x00")
        at = end


def _by_length(data: bytes, codec: str, extradata: bytes) -> Iterator[bytes]:
    place = 4 if codec == "h264" else 21
    size = (extradata[place] & 3) + 1 if len(extradata) > place else 4
    at = 0
    for _ in range(_MOST_UNITS):
        length = int.from_bytes(data[at : at + size], "big")
        at += size
        if not length or at >= len(data):
            return
        yield data[at : at + length]
        at += length
