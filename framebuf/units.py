"""Durations, spans, sizes and times as people write them in the configuration and in messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LONGEST_NS = 10_000 * 86400 * SECOND_NS
"""Ten thousand days. More would leave the calendar, and the 32 bits of MQTT's intervals."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|h|d)", re.ASCII)
_DURATION_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?(B|KiB|MiB|GiB|kB|MB|GB)", re.ASCII)
_SIZE_BYTES = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
# RFC 3339 section 5.6; a leap second is read as the second before it, and what is finer than
# nanoseconds is left out
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,9})\d*)?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)

DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\d{1,9}(\.\d{1,9})? ?(ms|s|m|h|d)$",
    "examples": ["1500ms", "2s", "1h"],
}
SPAN_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, DURATION_SCHEMA]}
SIZE_SCHEMA = {
    "type": "string",
    "pattern": r"^\d{1,9}(\.\d{1,3})? ?(B|KiB|MiB|GiB|kB|MB|GB)$",
    "examples": ["512 MiB"],
}


# Not dataclasses to msgspec: it would decode them field by field, so __slots__ and __init__ by hand
class Duration:
    """A length of time, written `"1500ms"`, `"2s"`, `"1.5h"`."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read `text`.

        Raises:
            ValueError: it is no string, has no unit, or is longer than `LONGEST_NS`.
        """
        if not isinstance(text, str) or not (match := _DURATION.fullmatch(text)):
            raise ValueError(f'{_shown(text)} is no duration: write "1500ms", "2s", "5m" or "1h"')
        ns = round(Decimal(match[1]) * _DURATION_NS[match[2]])
        if ns > LONGEST_NS:
            raise ValueError(f"{text} is too long: give at most {LONGEST_NS // 86400 // 10**9}d")
        return cls(ns)

    @classmethod
    def of_seconds(cls, seconds: float) -> Duration:
        return cls(round(seconds * SECOND_NS))

    @property
    def s(self) -> float:
        """The same in seconds."""
        return self.ns / SECOND_NS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __str__(self) -> str:
        unit, power = ("ms", 6) if self.ns < SECOND_NS else ("s", 9)
        whole, rest = divmod(self.ns, 10**power)
        return f"{whole}.{rest:0{power}}".rstrip("0").rstrip(".") + unit

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"


class Span:
    """A stretch of the buffer: a duration, or a number of frames (then `frames` is not None)."""

    __slots__ = ("frames", "ns")

    def __init__(self, *, frames: int | None = None, ns: int = 0) -> None:
        self.frames = frames
        self.ns = ns

    @classmethod
    def parse(cls, value: object) -> Span:
        """Read an integer as frames, a string as a duration.

        Raises:
            ValueError: it is neither, or negative.
        """
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < 2**31:
                raise ValueError(f"{_shown(value)} frames are out of range: give 0 to {2**31 - 1}")
            return cls(frames=value)
        return cls(ns=Duration.parse(value).ns)

    @property
    def is_zero(self) -> bool:
        return not self.frames and not self.ns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and (other.frames, other.ns) == (self.frames, self.ns)

    def __hash__(self) -> int:
        return hash((self.frames, self.ns))

    def __str__(self) -> str:
        return str(Duration(self.ns)) if self.frames is None else f"{self.frames} frames"

    def __repr__(self) -> str:
        return f"Span({str(self)!r})"


class Size:
    """An amount of memory, written `"512 MiB"`."""

    __slots__ = ("bytes",)

    def __init__(self, bytes: int) -> None:
        self.bytes = bytes

    @classmethod
    def parse(cls, text: object) -> Size:
        """Read `text`.

        Raises:
            ValueError: it is no string, or has no unit.
        """
        if not isinstance(text, str) or not (match := _SIZE.fullmatch(text)):
            raise ValueError(f'{_shown(text)} is no size: write "512 MiB" or "2 GB"')
        return cls(round(Decimal(match[1]) * _SIZE_BYTES[match[2]]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and other.bytes == self.bytes

    def __hash__(self) -> int:
        return hash(self.bytes)

    def __str__(self) -> str:
        units = ("GiB", "GB", "MiB", "MB", "KiB", "kB", "B")
        unit = next(unit for unit in units if self.bytes % _SIZE_BYTES[unit] == 0)
        return f"{self.bytes // _SIZE_BYTES[unit]} {unit}"

    def __repr__(self) -> str:
        return f"Size({str(self)!r})"


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One instant on both clocks of this machine."""

    mono_ns: int
    """CLOCK_MONOTONIC, nanoseconds. All selection is by this one."""

    utc_ns: int
    """Nanoseconds since the UNIX epoch, for people and messages."""

    def shifted(self, ns: int) -> Moment:
        return Moment(self.mono_ns + ns, self.utc_ns + ns)


def rfc3339(utc_ns: int) -> str:
    """UTC nanoseconds as `2026-11-22T06:30:00.120Z` (RFC 3339, milliseconds, rounded down)."""
    at = _EPOCH + timedelta(microseconds=utc_ns // 1000)
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_rfc3339(text: object) -> int:
    """RFC 3339 as nanoseconds since the UNIX epoch.

    Raises:
        ValueError: it is no such string, or has no time zone.
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'{_shown(text)} is no RFC 3339 time: write "2026-11-22T06:30:00.120Z"')
    day, hour, minute, second, fraction, zone = match.groups()
    zone = "+00:00" if zone in "Zz" else zone
    try:
        at = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second.replace('60', '59')}{zone}")
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is not on the calendar: {error}") from error
    whole = (at - _EPOCH) // timedelta(seconds=1)
    return whole * SECOND_NS + int((fraction or "").ljust(9, "0"))


def _shown(value: object) -> str:
    """A foreign value, short enough for a message. Never converts a huge integer to text."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge integer"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
