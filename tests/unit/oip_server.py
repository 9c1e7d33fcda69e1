"""A small server of the Open Inference Protocol over HTTP, with vices on order.

Its network: pictures of 4×6 pixels, uint8, NHWC, any batch. `sum` is each picture's sum, FP32;
`first` its first two numbers, INT32.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.config.endpoints import Endpoints
from framebuf.models.runtimes.oipservers import Servers

if TYPE_CHECKING:
    from framebuf.models.runtimes.oip import OipRuntime

INPUT = {"name": "images", "datatype": "UINT8", "shape": [-1, 4, 6, 3]}
OUTPUTS = [
    {"name": "sum", "datatype": "FP32", "shape": [-1, 1]},
    {"name": "first", "datatype": "INT32", "shape": [-1, 2]},
]
LENGTH = "Inference-Header-Content-Length"
LONG_NS = 100 * 10**9
TENSOR = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)


def servers(scheme: str, *fakes: Any, **keys: Any) -> Servers:
    """The client's side of some fakes; it gives up late, and does not wait for who is away."""
    addresses = tuple(fake.address for fake in fakes)
    return Servers(
        Endpoints(scheme, addresses, "net"), **({"timeout_ns": LONG_NS, "patient": False} | keys)
    )


def assert_answered(runtime: OipRuntime, tensor: np.ndarray = TENSOR) -> None:
    for got, want in zip(runtime.infer(tensor), compute(tensor).values(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)


def compute(tensor: np.ndarray) -> dict[str, np.ndarray]:
    rows = tensor.reshape(len(tensor), -1)
    return {
        "sum": rows.sum(1, dtype=np.float32)[:, None],
        "first": rows[:, :2].astype(np.int32),
    }


class FakeServer:
    """What it is asked, and how it answers; tests change the latter at any time."""

    def __init__(self) -> None:
        self.about: Any = {
            "name": "fake", "version": "1.0", "extensions": ["binary_tensor_data"],
        }  # fmt: skip
        self.metadata: Any = {"name": "net", "inputs": [INPUT], "outputs": OUTPUTS}
        self.config: Any = {"max_batch_size": 8}
        """None: it has no such page, as all but Triton."""
        self.status: tuple[int, bytes] | None = None
        """How an inference is refused."""
        self.head: Callable[[dict[str, Any]], Any] = lambda head: head
        self.body: Callable[[bytes], bytes] = lambda body: body
        """Tensors as they go out."""
        self.raw: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Answers an inference in some way of its own."""
        self.closes = False
        """It closes the connection after an answer, and does not say so."""
        self.hold = threading.Event()
        """Unset: inferences wait for it."""
        self.hold.set()
        self.entered = threading.Semaphore(0)
        """One more for each inference that has come."""
        self.batches: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.address = ""
        self.running = True

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        length = int(handler.headers[LENGTH])
        question = json.loads(body[:length])
        (given,) = question["inputs"]
        tensor = np.frombuffer(body[length:], np.uint8).reshape(given["shape"])
        self.batches.append(len(tensor))
        self.entered.release()
        self.hold.wait()
        if self.status is not None:
            reply(handler, *self.status)
            return
        if self.raw is not None:
            self.raw(handler)
            return
        computed = compute(tensor)
        outputs, parts = [], []
        for asked in question["outputs"]:
            array = computed[asked["name"]]
            datatype = {"float32": "FP32", "int32": "INT32"}[array.dtype.name]
            parts.append(array.tobytes())
            outputs.append({
                "name": asked["name"], "datatype": datatype, "shape": list(array.shape),
                "parameters": {"binary_data_size": len(parts[-1])},
            })  # fmt: skip
        told = self.head({"id": question["id"], "model_name": "net", "outputs": outputs})
        head = json.dumps(told).encode()
        handler.close_connection = self.closes
        reply(handler, 200, head + self.body(b"".join(parts)), {LENGTH: str(len(head))})


def reply(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeServer

    def setup(self) -> None:
        super().setup()
        self.fake.connections += 1

    def do_GET(self) -> None:
        fake = self.fake
        self.fake.headers.append(dict(self.headers))
        pages = {
            "/v2": fake.about, "/v2/models/net": fake.metadata,
            "/v2/models/net/config": fake.config,
        }  # fmt: skip
        page = pages.get(self.path)
        if page is None:
            reply(self, 404, b'{"error": "no such page"}')
        else:
            reply(self, 200, page if isinstance(page, bytes) else json.dumps(page).encode())

    def do_POST(self) -> None:
        self.fake.headers.append(dict(self.headers))
        self.fake.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        """Quietly."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sockets: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """A client that goes is no news."""


@contextmanager
def serving(
    fake: FakeServer | None = None, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[FakeServer]:
    """Serve on 127.0.0.1 while the block runs; at its end connections are cut, as by kill -9."""
    fake = fake or FakeServer()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = _Quiet(("127.0.0.1", port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fake-oip")
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        fake.hold.set()
        for each in tuple(server.sockets):
            server.shutdown_request(each)
