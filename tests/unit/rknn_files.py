"""Made .rknn files, of any content."""

from __future__ import annotations

import json
import struct


def emit(out, value):
    """Append a value of a FlatBuffer; a table is a dict by slot, (form, numbers) a vector."""
    if isinstance(value, dict):
        vtable = len(out)
        count = max(value, default=-1) + 1
        out += struct.pack("<HH", 4 + 2 * count, 4 + 4 * count) + bytes(2 * count)
        at = len(out)
        out += struct.pack("<i", at - vtable) + bytes(4 * count)
        for slot, field in value.items():
            place = at + 4 + 4 * slot
            struct.pack_into("<H", out, vtable + 4 + 2 * slot, place - at)
            if isinstance(field, int):
                struct.pack_into("<I", out, place, field)
            else:
                struct.pack_into("<I", out, place, emit(out, field) - place)
        return at
    at = len(out)
    if isinstance(value, list):
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for index, item in enumerate(value):
            place = at + 4 + 4 * index
            struct.pack_into("<I", out, place, emit(out, item) - place)
        return at
    if isinstance(value, tuple):
        form, numbers = value
        out += struct.pack(f"<I{len(numbers)}{form}", len(numbers), *numbers)
        return at
    data = value.encode() if isinstance(value, str) else value
    out += struct.pack("<I", len(data)) + data + b"\0"
    return at


def tensor(name, shape, kind=3, scales=(0.5,), zero_points=(-3,)):
    return {0: kind, 4: ("I", shape), 5: name, 10: ("f", scales), 11: ("i", zero_points)}


def rknn(path, root=None, *, document=None, form=6, fields=None):
    """A .rknn file as rknn-toolkit2 lays it out, with `fields` of its root replaced."""
    graph = {
        0: [tensor("weights", (9,)), tensor("in", (1, 3, 20, 10)), tensor("out", (1, 7))],
        2: ("I", (1,)),
        3: ("I", (2,)),
    }
    if root is None:
        root = {2: [graph], 8: "RK3588", 14: "4"}
    root = {slot: value for slot, value in (root | (fields or {})).items() if value is not None}
    buffer = bytearray(b"\0\0\0\0RKNN")
    struct.pack_into("<I", buffer, 0, emit(buffer, root))
    if document is None:
        document = {"version": "2.3.2", "target_platform": ["rk3588"]}
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    header = b"RKNN\0\0\0\0" + struct.pack("<QQ", form, len(buffer))
    header += bytes((24 if form & 0xFF <= 1 else 64) - len(header))
    path.write_bytes(header + buffer + struct.pack("<Q", len(text)) + text)
    return path


def ends(*tensors, inputs=(0,), outputs=(0,)):
    return {2: [{0: list(tensors), 2: ("I", inputs), 3: ("I", outputs)}]}
