"""The NAL units of H.264 and H.265: those before a picture's first slice, and what they say."""

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
_LONGEST_SET = 4096


def parameter_sets(codec: str, data: bytes, extradata: bytes) -> tuple[bytes, ...]:
    """The sequence parameter sets that stand in a packet itself, before its first slice.

    `extradata` says whether units stand behind start codes or behind their lengths (ISO/IEC
    14496-15, 5.3.3.1 and 8.3.3.1: its first byte is 1 then).
    """
    if codec not in _SETS:
        return ()
    found = []
    for unit in units(codec, data, extradata):
        kind = kind_of(codec, unit)
        if kind in _SLICES[codec]:
            break
        if kind in _SETS[codec]:
            found.append(unit)
    return tuple(found)


def first_slice(codec: str, data: bytes, extradata: bytes) -> bytes:
    """The first slice of a packet, or its beginning; empty where there is none."""
    slices = (u for u in units(codec, data, extradata) if kind_of(codec, u) in _SLICES[codec])
    return next(slices, b"")


def kept_sets(extradata: bytes) -> tuple[bytes, ...]:
    """The sequence parameter sets of H.264 that stand outside the packets."""
    if extradata[:1] != b"\x01":
        return tuple(unit for unit in _by_start_code(extradata) if kind_of("h264", unit) == 7)
    found, at = [], 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        length = int.from_bytes(extradata[at : at + 2], "big")
        found.append(extradata[at + 2 : at + 2 + length])
        at += 2 + length
    return tuple(found)


def kind_of(codec: str, unit: bytes) -> int:
    """Its type; −1 of an empty one."""
    if not unit:
        return -1
    return unit[0] & 0x1F if codec == "h264" else (unit[0] >> 1) & 0x3F


def units(codec: str, data: bytes, extradata: bytes) -> Iterator[bytes]:
    """The first units of a packet; of long ones the beginning, where nothing says how long."""
    by_length = extradata[:1] == b"\x01"
    return _by_length(data, codec, extradata) if by_length else _by_start_code(data)


def _by_start_code(data: bytes) -> Iterator[bytes]:
    at = data.find(_START)
    for _ in range(_MOST_UNITS):
        if at < 0:
            return
        end = data.find(_START, at + 3, at + 2**16)  # a slice is long, and of no interest
        unit = data[at + 3 : at + 3 + _LONGEST_SET] if end < 0 else data[at + 3 : end]
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
        yield data[at : at + min(length, _LONGEST_SET)]
        at += length
