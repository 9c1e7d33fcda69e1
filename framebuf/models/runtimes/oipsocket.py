"""An HTTP connection with one moment by which all is over, however slowly a server drips."""

from __future__ import annotations

import io
import socket
import ssl
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from framebuf.config.endpoints import split

if TYPE_CHECKING:
    from framebuf.models.runtimes.oipservers import Servers

CHUNK = 2**20
"""Bytes that are sent in one go, to look at the clock between."""


class Connection(HTTPConnection):
    """http.client's; connecting, sending and receiving end at `until_ns`, with a TimeoutError.

    Belongs to one thread at a time.
    """

    def __init__(self, servers: Servers, address: str) -> None:
        self._where = split(address)
        super().__init__(*self._where)
        self._servers = servers
        self.until_ns = 0
        """Monotonic."""

    def connect(self) -> None:
        raw = socket.create_connection(self._where, timeout=_left_s(self.until_ns))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._servers.endpoints.tls:
                context = ssl.create_default_context(cafile=self._servers.ca_file)
                raw.settimeout(_left_s(self.until_ns))
                raw = context.wrap_socket(raw, server_hostname=self._where[0])
        except BaseException:
            raw.close()
            raise
        self.sock = _Socket(raw, self)


class _Socket:
    """What http.client needs of a socket; each wait ends at the connection's moment."""

    def __init__(self, raw: socket.socket, owner: Connection) -> None:
        self._raw = raw
        self._owner = owner

    def sendall(self, data: Any) -> None:
        view = memoryview(data)
        for at in range(0, len(view), CHUNK):
            self._raw.settimeout(_left_s(self._owner.until_ns))
            self._raw.sendall(view[at : at + CHUNK])

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Received(self._raw.makefile("rb", buffering=0), self))

    def wait(self) -> None:
        """Before it is read from."""
        self._raw.settimeout(_left_s(self._owner.until_ns))

    def close(self) -> None:
        self._raw.close()


class _Received(io.RawIOBase):
    """What comes. The socket's own reader keeps it open until both are closed."""

    def __init__(self, raw: socket.SocketIO, owner: _Socket) -> None:
        self._raw = raw
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._owner.wait()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left_s(until_ns: int) -> float:
    left_ns = until_ns - time.monotonic_ns()
    if left_ns <= 0:
        raise TimeoutError
    return left_ns / 1e9
