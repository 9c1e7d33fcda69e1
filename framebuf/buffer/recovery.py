"""What a process that died, or stopped, left in the folder of the rings."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.buffer import layout
from framebuf.buffer.directory import SUFFIX, mapped
from framebuf.buffer.history import Stamp
from framebuf.buffer.ring import FrameRing
from framebuf.buffer.slots import Slots
from framebuf.errors import RingError
from framebuf.frames import LIVE, Origin
from framebuf.units import Moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from framebuf.buffer.directory import RingDirectory

_log = logging.getLogger(__name__)

_LIMIT = 2**62
"""No seq and no time is beyond: that is 146 years in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a ring file says of itself."""

    shape: layout.Shape
    boot_id: str
    camera: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A ring of before, whose frames can be leased, and the stamps that it knows, by seq."""

    ring: FrameRing
    stamps: list[Stamp]


def number_of(file_name: str, camera: str, suffix: str = SUFFIX) -> int | None:
    """Which of the camera's rings a file is by its name; None: it is not the camera's."""
    owner, _, number = file_name.removesuffix(suffix).rpartition(".")
    return int(number) if owner == camera and number.isdecimal() and len(number) < 19 else None


def recover(
    directory: RingDirectory, file_name: str, camera: str, boot_id: str, now_ns: int
) -> Recovered:
    """The ring in a file of this boot, every frame in it whole.

    Reads the tables, not the pixels. Whatever the file holds, it costs no more memory than there
    is of it. What is inconsistent in a table is passed over.

    Raises:
        RingError: it is no ring that could be used. It says why.
    """
    try:
        file = directory.open_file(file_name)
    except OSError as error:
        raise RingError(error.strerror) from error
    try:
        header = read_header(file)
        if header.camera != camera:
            raise RingError(f"is a ring of camera {header.camera}")
        if header.boot_id != boot_id:
            raise RingError("is a ring of another boot")
        shape = header.shape
        has = os.fstat(file).st_blocks * 512
        os.posix_fallocate(file, 0, shape.pixels_at)
        memory = mapped(file, shape.file_bytes, whole=has >= shape.file_bytes)
        table = stamp_table(memory, shape.stamps_at, shape.stamps, now_ns)
        frames = _frames(shape, memory, table, now_ns)
        absent = _without_memory(file, has, shape, [number for _, number in frames])
    except OSError as error:
        raise RingError(error.strerror) from error
    finally:
        os.close(file)
    rows: NDArray[Any] = np.ndarray(shape.slots, layout.SLOT, memory, offset=shape.slots_at)
    held = {n: (seq, _origin(rows[n])) for seq, n in frames if n not in absent}
    # What is no frame must not look like one later, when a newer stamp has taken its entry
    left = np.ones(shape.slots, bool)
    left[list(held)] = False
    rows["generation"][left] = 0
    for number in absent:  # what it has is not enough
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_REMOVE, shape.slot_at(number), shape.stride)
    use = Slots(shape.slots, absent, held)
    return Recovered(FrameRing(camera, shape, memory, file_name, use), as_stamps(table))


def read_row(file: int, magic: bytes, version: int) -> Any:
    """The HEADER of an open file that has this magic and version.

    Raises:
        RingError: it is not such a file.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise RingError("is not a file")
    data = os.pread(file, layout.HEADER.itemsize, 0)
    if len(data) < layout.HEADER.itemsize:
        raise RingError("is shorter than a header")
    row = np.frombuffer(data, layout.HEADER)[0]
    if row["magic"] != magic:
        raise RingError("is not a ring, or one that was never finished")
    if row["version"] != version:
        raise RingError(f"is a ring of version {row['version']}, not {version}")
    if row["page"] != layout.PAGE:
        raise RingError(f"has pages of {row['page']} bytes, not {layout.PAGE}")
    return row


def whose(row: Any) -> tuple[str, str]:
    """Boot id and camera of a HEADER.

    Raises:
        RingError: they are not legible.
    """
    try:
        return row["boot_id"].decode("ascii"), row["camera"].decode("ascii")
    except UnicodeDecodeError as error:
        raise RingError("has no legible header") from error


def read_header(file: int) -> Header:
    """What an open file says of itself, checked against what it is.

    Raises:
        RingError: it is not a ring, or not a whole one.
        OSError: it cannot be read.
    """
    about = os.fstat(file)
    row = read_row(file, layout.MAGIC, layout.VERSION)
    slots, stride, stamps = (int(row[name]) for name in ("slots", "stride", "stamps"))
    shape = layout.Shape(slots, stride, stamps)
    if not slots or not stamps or not stride or stride != shape.stride:
        raise RingError(f"says {slots} slots of {stride} bytes, {stamps} stamps")
    if shape.file_bytes != about.st_size:
        raise RingError(f"has {about.st_size} bytes, not the {shape.file_bytes} that it says")
    if about.st_blocks * 512 < shape.pixels_at:
        raise RingError("has holes where its tables should be")
    return Header(shape, *whose(row))


def remove_broken(directory: RingDirectory, name: str, error: OSError | RingError) -> None:
    """Remove a file that cannot be used, with a warning."""
    what = error.strerror if isinstance(error, OSError) else error
    _log.warning("%s %s: removing it", directory.path / name, what)
    try:
        directory.remove(name)
    except OSError as stays:
        _log.warning("%s stays: %s", directory.path / name, stays.strerror)


def stamp_table(memory: mmap.mmap, at: int, count: int, now_ns: int) -> NDArray[Any]:
    """The consistent entries of the table there, by seq, their times ascending too."""
    table = np.array(np.ndarray(count, layout.STAMP, memory, offset=at))
    seq = table["seq"]
    good = (table["mark"] == seq + np.uint64(1)) & (seq < _LIMIT)
    good &= seq % np.uint64(count) == np.arange(count, dtype=np.uint64)
    good &= _sane(table, now_ns)
    table = table[good]
    table = table[np.argsort(table["seq"])]
    ascending = table["mono_ns"] >= np.maximum.accumulate(table["mono_ns"])
    return np.asarray(table[ascending])


def _sane(table: NDArray[Any], now_ns: int) -> NDArray[np.bool_]:
    """Where the times are of this boot, and can be written as a date."""
    mono, utc = table["mono_ns"], table["utc_ns"]
    return np.asarray((mono >= 0) & (mono <= now_ns) & (utc >= 0) & (utc < _LIMIT))


def _frames(
    shape: layout.Shape, memory: mmap.mmap, stamps: NDArray[Any], now_ns: int
) -> list[tuple[int, int]]:
    """Seq and slot of each whole frame, by seq.

    A slot agrees with the stamp of its seq; only where a newer stamp has taken that entry, because
    the frame was leased for long, it stands alone.
    """
    rows = np.array(np.ndarray(shape.slots, layout.SLOT, memory, offset=shape.slots_at))
    generation = rows["generation"]
    # One by one as Python's integers: their product must not wrap
    area = rows["height"].astype(np.uint64) * rows["width"].astype(np.uint64)
    good = (generation > 0) & (generation <= _LIMIT) & _sane(rows, now_ns)
    good &= (area > 0) & (area <= shape.stride // 3)
    good &= (rows["position"] >= -1) & (rows["failed"] <= 1)
    stamped = {int(row["seq"]): row for row in stamps}
    newest = int(stamps["seq"][-1]) if len(stamps) else -1
    found: dict[int, int] = {}
    for number in np.flatnonzero(good):
        row = rows[number]
        seq = int(row["generation"]) - 1
        stamp = stamped.get(seq)
        if stamp is None:
            known = seq <= newest + 1 - shape.stamps  # one may be half written
        else:
            known = stamp["mono_ns"] == row["mono_ns"] and stamp["utc_ns"] == row["utc_ns"]
        if known and seq not in found:
            found[seq] = int(number)
    return sorted(found.items())


def _without_memory(file: int, has: int, shape: layout.Shape, held: list[int]) -> set[int]:
    """The slots to go without memory, of a file that has so many bytes of it.

    Where that is not enough for all, it goes to those that hold a frame, the newest first. What a
    hole is cannot be asked: to a tmpfs, memory that was allocated and never touched is one.

    Raises:
        OSError: there is no room, after all.
    """
    if has >= shape.file_bytes:
        return set()
    count = (has - shape.pixels_at) // shape.stride
    there = held[-count:] if count else []
    for number in there:
        os.posix_fallocate(file, shape.slot_at(number), shape.stride)
    return set(range(shape.slots)).difference(there)


def _origin(row: NDArray[Any]) -> Origin:
    position = int(row["position"])
    name = bytes(row["file"]).decode("utf-8", "surrogateescape")
    if position < 0 and not name:
        return LIVE
    return Origin(position if position >= 0 else None, name or None)


def as_stamps(table: NDArray[Any]) -> list[Stamp]:
    """Of a table's consistent entries."""
    return [
        Stamp(
            int(row["seq"]),
            Moment(int(row["mono_ns"]), int(row["utc_ns"])),
            dropped=bool(int(row["flags"]) & layout.STAMP_DROPPED),
            after_gap=bool(int(row["flags"]) & layout.STAMP_AFTER_GAP),
        )
        for row in table
    ]
