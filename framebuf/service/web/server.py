"""The server: one thread that listens, and that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from framebuf.service.web.protocol import PatientProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.service.web.app import App

_log = logging.getLogger(__name__)

CONNECTIONS = 512
"""At once: a browser opens seven, one for events and six that fetch. One more is answered 503."""
HEAD_BYTES = 16 * 1024
AGAIN_S = 5.0
"""After so long an address that is taken is tried again."""
LEAVE_S = 1
"""A stop waits so long for answers under way."""


class Server:
    """The thread `web`. `start` and `stop` belong to the main thread.

    An address that cannot be had takes no camera away: the log says so, and it is tried again.
    """

    def __init__(self, app: App, address: tuple[str, int]) -> None:
        self._app = app
        self._address = address
        self._stopping = threading.Event()
        self._end: Callable[[], object] | None = None  # a reference, set by the thread
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        self._stopping.set()
        end = self._end
        if end is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                end()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with self._listen() as listener:
            if not self._stopping.is_set():
                asyncio.run(self._serve(listener))

    def _listen(self) -> socket.socket:
        """The listening socket; one that does not listen once it is to stop."""
        host, port = self._address
        told = ""
        while True:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            if self._stopping.is_set():
                return listener
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, port))
            except OSError as error:
                listener.close()
                if told != str(error):
                    told = str(error)
                    _log.error("no page at %s port %d: %s; trying on", host, port, told)
                self._stopping.wait(AGAIN_S)
            else:
                return listener

    async def _serve(self, listener: socket.socket) -> None:
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it tells of every bad request
        config = uvicorn.Config(
            self._app,
            http=PatientProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            backlog=CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=LEAVE_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        server = uvicorn.Server(config)

        def end() -> None:
            self._app.live.close()
            server.should_exit = True

        self._end = partial(asyncio.get_running_loop().call_soon_threadsafe, end)
        if self._stopping.is_set():
            return
        _log.info("the page is at http://%s:%d/", *self._address)
        await server.serve(sockets=[listener])

    def __repr__(self) -> str:
        state = "serves" if self._end is not None else "does not serve yet"
        return f"<Server {self._address[0]}:{self._address[1]} {state}>"
