"""FlatBuffers of foreign files: every offset is checked before it is followed."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framebuf.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FlatBuffer:
    """A part of an open file. Only what is asked for is read: weights never are.

    Offsets are bytes from its start. The format: https://flatbuffers.dev/internals.
    """

    path: Path
    """Where an error is."""

    fd: int
    start: int
    length: int

    @property
    def root(self) -> Table:
        return self.table(0)

    @property
    def identifier(self) -> bytes:
        """Four bytes that say which kind of buffer it is."""
        return self.read(4, 4, "its identifier")

    def table(self, at: int) -> Table:
        """The table to which the offset at `at` points.

        Raises:
            ModelError: it or its vtable is outside.
        """
        at += self.number("<I", at, "a table")
        vtable = at - self.number("<i", at, "a table's vtable")
        size = self.number("<H", vtable, "a vtable")
        if size < 4 or size % 2:
            raise self.broken(f"expected a vtable of an even length of 4 or more, got {size}")
        entries = self.read(vtable, size, "a vtable")
        return Table(self, at, struct.unpack(f"<{size // 2}H", entries)[2:])

    def number(self, form: str, at: int, what: str) -> int:
        """One integer in struct's notation."""
        (value,) = struct.unpack(form, self.read(at, struct.calcsize(form), what))
        return int(value)

    def read(self, at: int, count: int, what: str) -> bytes:
        """Bytes, all of them, from inside the buffer.

        Raises:
            ModelError: they are outside, or the file is shorter than it says.
        """
        if at < 0 or at + count > self.length:
            raise self.broken(f"{what} has bytes {at} to {at + count} of {self.length}")
        data = os.pread(self.fd, count, self.start + at)
        if len(data) != count:
            raise self.broken(f"{what} is cut: expected {count} bytes, got {len(data)}")
        return data

    def broken(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: a broken .rknn file: {what}; convert the model again")


@dataclass(frozen=True, slots=True)
class Table:
    """One table. A field that is not there reads as None, or as an empty vector or text."""

    buffer: FlatBuffer
    at: int
    slots: tuple[int, ...]
    """Where each field is, from `at`; 0: it is not there."""

    def scalar(self, slot: int, form: str) -> int | None:
        """A field in place, in struct's notation."""
        at = self._field(slot)
        return None if at is None else self.buffer.number(form, at, f"field {slot}")

    def text(self, slot: int, most: int) -> str:
        """A string of at most `most` bytes; what is not UTF-8 in it is shown as �."""
        _, data = self._vector(slot, 1, most)
        return data.decode("utf-8", "replace")

    def numbers(self, slot: int, form: str, most: int) -> tuple[float, ...]:
        """A vector of at most `most` numbers, each in struct's notation."""
        count, data = self._vector(slot, struct.calcsize("<" + form), most)
        return struct.unpack(f"<{count}{form}", data)

    def tables(self, slot: int, most: int) -> range:
        """Where the offsets of a vector of tables are, for `FlatBuffer.table`; none is followed."""
        at = self._target(slot)
        if at is None:
            return range(0)
        count = self._count(slot, at, most)
        if at + 4 + 4 * count > self.buffer.length:
            raise self.buffer.broken(f"field {slot} has {count} tables, and ends outside")
        return range(at + 4, at + 4 + 4 * count, 4)

    def _vector(self, slot: int, size: int, most: int) -> tuple[int, bytes]:
        at = self._target(slot)
        if at is None:
            return 0, b""
        count = self._count(slot, at, most)
        return count, self.buffer.read(at + 4, count * size, f"field {slot}")

    def _count(self, slot: int, at: int, most: int) -> int:
        count = self.buffer.number("<I", at, f"the length of field {slot}")
        if count > most:
            raise self.buffer.broken(
                f"field {slot} has a length of {count}, expected {most} or less"
            )
        return count

    def _target(self, slot: int) -> int | None:
        """Where the offset in a field points."""
        at = self._field(slot)
        return None if at is None else at + self.buffer.number("<I", at, f"field {slot}")

    def _field(self, slot: int) -> int | None:
        if slot >= len(self.slots) or not self.slots[slot]:
            return None
        return self.at + self.slots[slot]
