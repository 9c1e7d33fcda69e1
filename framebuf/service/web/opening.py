"""The web of a node, for the daemon: open, start, shown what runs, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.errors import ConfigError
from framebuf.service.web.app import App
from framebuf.service.web.inbox import Inbox
from framebuf.service.web.server import Server
from framebuf.service.web.token import Token
from framebuf.service.web.view import Running, View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.camera import Camera
    from framebuf.config import Config
    from framebuf.contract import Topics
    from framebuf.service.broker import Broker
    from framebuf.service.census import Census
    from framebuf.service.feed import Feed
    from framebuf.service.replies import Onlooker
    from framebuf.service.requests import Requests
    from framebuf.service.state import State


class Web:
    """The main thread's; `onlooker` is for the requests' thread."""

    def __init__(self, view: View, server: Server, inbox: Inbox) -> None:
        self._view = view
        self._server = server
        self.onlooker: Onlooker = inbox.put

    @classmethod
    def open(
        cls,
        config: Config,
        topics: Topics,
        buffers: Mapping[str, Buffer],
        cameras: Mapping[str, Camera],
        hanging: Callable[[int], Mapping[str, int]],
    ) -> Web:
        """Everything but the socket, which the thread opens.

        Raises:
            ConfigError: there is no [web], or its token cannot be used.
        """
        if config.web is None:
            raise ConfigError("web", "is missing", "write [web]")
        token = Token.read(config.web.token_file)
        view = View(config, topics, buffers, cameras, hanging)
        inbox = Inbox()
        return cls(view, Server(App(view, token, inbox), config.web.address), inbox)

    def start(self) -> None:
        self._server.start()

    def show(
        self,
        census: Census,
        broker: Broker,
        requests: Requests,
        feeds: Sequence[Feed],
        state: State,
    ) -> None:
        """The models are loaded: this is the whole node."""
        by_name = {feed.camera.name: feed for feed in feeds}
        self._view.running = Running(census, broker, requests, by_name, state)

    def stop(self) -> None:
        self._server.stop()

    def __repr__(self) -> str:
        return f"<Web {self._server!r}>"
