"""A small gRPC server of the Open Inference Protocol, with vices on order; same network as HTTP's.

Its messages are written here by hand, by the specification, and not by what is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from tests.unit.oip_server import INPUT, OUTPUTS, compute

SERVICE = "inference.GRPCInferenceService"


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(data)) + data


def end(told: dict[str, Any], packed: bool = True) -> bytes:
    shape = told["shape"]
    axes = (
        field(3, b"".join(map(varint, shape))) if packed else b"".join(field(3, n) for n in shape)
    )
    return field(1, told["name"]) + field(2, told["datatype"]) + axes


def fields(message: bytes) -> list[tuple[int, Any]]:
    found, at = [], 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            found.append((tag >> 3, number()))
        else:
            assert tag & 7 == 2
            size = number()
            found.append((tag >> 3, message[at : at + size]))
            at += size
    return found


def _each(packed: bytes) -> list[bytes]:
    """The varints of a packed field, apart."""
    found, begun = [], 0
    for at, byte in enumerate(packed):
        if byte < 128:
            found.append(packed[begun : at + 1])
            begun = at + 1
    return found


class FakeGrpc:
    """What it is asked, and how it answers; tests change the latter at any time."""

    def __init__(self) -> None:
        self.packed = True
        self.largest: int | None = 8
        """None: it has no such call, as all but Triton."""
        self.typed = False
        """FP32 as typed contents, not raw ones."""
        self.fails: tuple[Any, str] | None = None
        """The status of an inference."""
        self.answer: Callable[[bytes], bytes] = lambda message: message
        self.batches: list[int] = []
        self.metadata: list[dict[str, Any]] = []
        self.address = ""

    def call(self, method: str, message: bytes, context: Any) -> bytes:
        self.metadata.append(dict(context.invocation_metadata()))
        if method == "ServerMetadata":
            return field(1, "fake") + field(2, "2.0") + field(3, "whatever")
        if method == "ModelMetadata":
            assert dict(fields(message))[1] == b"net"
            told = field(1, "net") + field(4, end(INPUT, self.packed))
            return told + b"".join(field(5, end(each, self.packed)) for each in OUTPUTS)
        if method == "ModelConfig":
            if self.largest is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such call")
            return field(1, field(1, "net") + field(4, self.largest))
        if self.fails is not None:
            context.abort(*self.fails)
        return self.answer(self.infer(message))

    def infer(self, message: bytes) -> bytes:
        asked = fields(message)
        (given,) = (fields(value) for number, value in asked if number == 5)
        axes = dict(given)[3]
        shape = [number for _, number in fields(b"\0".join([b"", *_each(axes)]))]
        (raw,) = (value for number, value in asked if number == 7)
        tensor = np.frombuffer(raw, np.uint8).reshape(shape)
        self.batches.append(len(tensor))
        computed = compute(tensor)
        names = [fields(value)[0][1].decode() for number, value in asked if number == 6]
        (id,) = (value.decode() for number, value in asked if number == 3)
        out = field(1, "net") + field(3, id)
        for name in names:
            datatype = {"float32": "FP32", "int32": "INT32"}[computed[name].dtype.name]
            told = end({"name": name, "datatype": datatype, "shape": computed[name].shape})
            if self.typed:
                told += field(5, field(6, computed[name].tobytes()))
            out += field(5, told)
        if not self.typed:
            out += b"".join(field(6, computed[name].tobytes()) for name in names)
        return out


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, fake: FakeGrpc) -> None:
        self._fake = fake

    def service(self, details: Any) -> Any:
        service, _, method = details.method.lstrip("/").partition("/")
        if service != SERVICE:
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._fake.call(method, message, context)
        )


@contextmanager
def serving_grpc(fake: FakeGrpc | None = None, credentials: Any = None) -> Iterator[FakeGrpc]:
    """Serve on 127.0.0.1 while the block runs."""
    fake = fake or FakeGrpc()
    with ThreadPoolExecutor(4, "fake-grpc") as threads:
        limits = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        server = grpc.server(threads, handlers=[_Handlers(fake)], options=limits)
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        fake.address = f"127.0.0.1:{port}"
        server.start()
        try:
            yield fake
        finally:
            server.stop(None).wait()
