"""The thread `web`: it listens, is patient only so long, and ends."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from framebuf.service.web import protocol, server
from framebuf.service.web.server import Server
from tests.ports import free_port
from tests.unit.rings import ring_folder
from tests.unit.test_web_page import Site

PATIENCE_S = 30.0


@pytest.fixture
def site():
    with ring_folder() as directory:
        yield Site(directory)


@contextmanager
def serving(site, port: int):
    web = Server(site.app(), ("127.0.0.1", port))
    web.start()
    try:
        wait(lambda: answers(port))
        yield web
    finally:
        web.stop(60.0)
        assert not web._thread.is_alive()


def wait(ready) -> None:
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def answers(port: int) -> bool:
    try:
        return get(port, "/healthz") == 200
    except OSError:
        return False


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def ended(connection: socket.socket) -> bool:
    """Whether the other side hangs up, in time."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def test_who_is_slow_to_ask_is_hung_up_on_and_others_are_served(site, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    port = free_port()
    with serving(site, port):
        with connected(port) as silent, connected(port) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127")
            assert ended(silent)
            assert ended(slow)
        with connected(port) as second:  # the second request of a connection is no better
            second.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /healthz HTT")
            assert ended(second)
        monkeypatch.undo()  # who is only slow on a busy machine is to be served
        assert get(port, "/healthz") == 200


def test_an_event_stream_outlives_the_patience_with_heads(site, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 1.0)
    port = free_port()
    with serving(site, port), connected(port) as viewer:
        viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        text, begun = b"", time.monotonic()
        while text.count(b"event: strip") < 3 or time.monotonic() < begun + 1.2:
            got = viewer.recv(65536)
            assert got, text[-500:]
            text += got


def test_a_head_without_end_is_refused(site):
    port = free_port()
    with serving(site, port):
        with connected(port) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 40_000)
            assert ended(endless)
        assert get(port, "/healthz") == 200


def test_a_request_of_two_lengths_is_refused_and_what_follows_it_is_not_read(site):
    port = free_port()
    host = f"Host: 127.0.0.1:{port}\r\n".encode()
    lengths = b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with serving(site, port), socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        post = b"POST /api/preview HTTP/1.1\r\n" + host + lengths
        sock.sendall(post + b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n")
        said = b""
        while part := sock.recv(65536):
            said += part
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_connections_beyond_the_limit_are_answered_503(site, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    port = free_port()
    with serving(site, port):
        held = [connected(port) for _ in range(4)]
        try:
            wait(lambda: get(port, "/healthz") == 503)
        finally:
            for connection in held:
                connection.close()
        wait(lambda: get(port, "/healthz") == 200)


def test_a_stop_does_not_wait_for_viewers(site):
    port = free_port()
    with serving(site, port), connected(port) as viewer:
        viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert viewer.recv(100).startswith(b"HTTP/1.1 200")


def test_an_address_that_is_taken_is_told_and_tried_again(site, monkeypatch, caplog):
    monkeypatch.setattr(server, "AGAIN_S", 0.05)
    port = free_port()
    other = socket.create_server(("127.0.0.1", port))
    web = Server(site.app(), ("127.0.0.1", port))
    web.start()
    try:
        with caplog.at_level(logging.ERROR):
            wait(lambda: "no page at 127.0.0.1" in caplog.text)
        other.close()
        wait(lambda: answers(port))
        assert caplog.text.count("no page at") == 1
    finally:
        other.close()
        web.stop(60.0)


def test_a_stop_while_the_address_is_taken_ends_too(site):
    with socket.create_server(("127.0.0.1", free_port())) as other:
        web = Server(site.app(), other.getsockname())
        web.start()
        web.stop(60.0)
        assert not web._thread.is_alive()


class Flood:
    """An application that has more to say than any buffer holds."""

    MOST = 4096

    def __init__(self):
        self.live = SimpleNamespace(close=lambda: None)
        self.sent = 0
        self.ended = threading.Event()

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.MOST):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent += 1
        self.ended.set()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def test_who_does_not_read_is_let_go_and_takes_no_memory(monkeypatch):
    monkeypatch.setattr(protocol, "SEND_S", 0.3)
    port, flood = free_port(), Flood()
    web = Server(flood, ("127.0.0.1", port))
    web.start()
    try:
        wait(lambda: listens(port))
        with connected(port) as deaf:
            deaf.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert flood.ended.wait(PATIENCE_S), "it waits for who does not read"
            got = 0
            with suppress(ConnectionResetError):
                while more := deaf.recv(2**20):
                    got += len(more)
            assert got < flood.MOST * 65536 / 4, "all of it was kept for who does not read"
    finally:
        web.stop(60.0)


def listens(port: int) -> bool:
    try:
        connected(port).close()
    except OSError:
        return False
    return True
