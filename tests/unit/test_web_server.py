"""The thread `web`: it listens, is patient only so long, and ends."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import time
from contextlib import contextmanager

import pytest

from framebuf.service.web import guard, protocol, server
from framebuf.service.web.guard import Guard
from framebuf.service.web.server import Server
from framebuf.service.web.token import Token
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
        web.stop()
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


def test_who_is_slow_to_ask_is_hung_up_on_and_others_are_served(site, free_port, monkeypatch):
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
        assert get(port, "/healthz") == 200


def test_an_event_stream_outlives_the_patience_with_heads(site, free_port, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    port = free_port()
    with serving(site, port), connected(port) as viewer:
        viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        text, begun = b"", time.monotonic()
        while text.count(b"event: strip") < 3 or time.monotonic() < begun + 0.5:
            got = viewer.recv(65536)
            assert got, text[-500:]
            text += got


def test_a_head_without_end_is_refused(site, free_port):
    port = free_port()
    with serving(site, port):
        with connected(port) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 40_000)
            assert ended(endless)
        assert get(port, "/healthz") == 200


def test_connections_beyond_the_limit_are_answered_503(site, free_port, monkeypatch):
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


def test_a_stop_does_not_wait_for_viewers(site, free_port):
    port = free_port()
    with serving(site, port), connected(port) as viewer:
        viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert viewer.recv(100).startswith(b"HTTP/1.1 200")


def test_an_address_that_is_taken_is_told_and_tried_again(site, free_port, monkeypatch, caplog):
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
        web.stop()


def test_a_stop_while_the_address_is_taken_ends_too(site, free_port):
    with socket.create_server(("127.0.0.1", free_port())) as other:
        web = Server(site.app(), other.getsockname())
        web.start()
        web.stop()
        assert not web._thread.is_alive()


def test_who_takes_no_byte_of_an_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(guard, "SEND_S", 0.05)

    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def stuck(message):
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": "/", "state": {}}
    scope["headers"] = [(b"host", b"localhost")]
    with pytest.raises(TimeoutError):
        asyncio.run(Guard(inner, Token(None), ())(scope, None, stuck))
