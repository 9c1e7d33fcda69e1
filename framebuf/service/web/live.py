"""What the page shows, as it changes: made once for all who look, and not at all for nobody."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from framebuf.service.web.chronicle import Chronicle
from framebuf.service.web.pictures import Pictures
from framebuf.service.web.portrait import portrait
from framebuf.service.web.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from framebuf.service.web.inbox import Inbox
    from framebuf.service.web.view import View

_log = logging.getLogger(__name__)

TICK_S = 0.5
SLOW = 2
"""Of so many ticks one looks at the node and the buffers; requests are looked at in each."""
VIEWERS = 64
"""At once; one more is turned away."""
CHUNK_BYTES = 256 * 1024
"""Of the last results that a page gets which has just been opened."""
QUIET_S = 15.0
"""A comment goes out so often, that proxies and browsers see that somebody is there."""


class Part(NamedTuple):
    """One piece of the page, as an event (WHATWG HTML, server-sent events)."""

    version: int
    event: bytes


class Live:
    """Only the thread `web`.

    The page is made of parts, each with the version at which it changed. A viewer is sent what is
    newer than what it has; one that reads slowly has no queue, it gets the newest when it is ready.
    """

    def __init__(self, view: View, inbox: Inbox) -> None:
        self.pictures = Pictures(view.buffers)
        self._view = view
        self._chronicle = Chronicle(inbox)
        self._strips = [
            Strip(camera, view.buffers[camera.name], self.pictures) for camera in view.config.camera
        ]
        self._parts: dict[str, Part] = {}  # in the order of their versions
        self._said: dict[str, bytes] = {}
        self._version = 0
        self._turned = -1  # the version that viewers were told of
        self._chunks: dict[str, int] = {}  # parts with results, and their bytes
        self._viewers: set[asyncio.Event] = set()  # of each, what tells it of a new version
        self._ticking: asyncio.Task[None] | None = None
        self._closed = False

    def is_full(self) -> bool:
        return len(self._viewers) >= VIEWERS

    def close(self) -> None:
        """Let all viewers go. Once."""
        self._closed = True
        self.pictures.close()
        for turned in self._viewers:
            turned.set()
        if self._ticking is not None:
            self._ticking.cancel()

    async def follow(
        self, send: Callable[[bytes], Awaitable[None]], gone: asyncio.Future[None]
    ) -> None:
        """Send one viewer its events, until it is gone or the node stops."""
        turned = asyncio.Event()
        gone.add_done_callback(lambda _: turned.set())
        self._viewers.add(turned)
        try:
            if self._ticking is None or self._ticking.done():
                self._ticking = asyncio.create_task(self._tick())
                self._ticking.add_done_callback(_told)
            seen = 0
            while not (self._closed or gone.done()):
                turned.clear()
                fresh, seen = self._since(seen), self._version
                await send(b"".join(fresh) or b": still here\n\n")
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_S):
                        await turned.wait()
        finally:
            self._viewers.discard(turned)

    def _since(self, version: int) -> list[bytes]:
        fresh = []
        for part in reversed(self._parts.values()):
            if part.version <= version:
                break
            fresh.append(part.event)
        return fresh[::-1]

    async def _tick(self) -> None:
        turn = 0
        while self._viewers and not self._closed:
            self._tell_requests()
            if turn % SLOW == 0:
                self._put("node", "node", portrait(self._view, self.pictures.shed))
                for strip in self._strips:
                    self._put(f"strip/{strip.name}", "strip", strip.look())
            self._turn()
            if turn % SLOW == 0:
                for strip in self._strips:
                    await self._add_pictures(strip)
            turn += 1
            await asyncio.sleep(TICK_S)

    def _turn(self) -> None:
        if self._version == self._turned:
            return
        self._turned = self._version
        for turned in self._viewers:
            turned.set()

    async def _add_pictures(self, strip: Strip) -> None:
        """Those that are due, as far as there is time; others may be served between two."""
        missing = strip.missing_pictures()
        prefix = f"picture/{strip.name}/"
        for name in [name for name in self._parts if name.startswith(prefix)]:
            if int(name.removeprefix(prefix)) not in strip.shown:
                self._drop(name)
        for stamp in missing:
            if not self.pictures.may_make():
                return
            strip.show(stamp)
            self._put(f"{prefix}{stamp.seq}", "picture", strip.shown[stamp.seq])
            await asyncio.sleep(0)

    def _tell_requests(self) -> None:
        running = self._view.running
        fresh = self._chronicle.read(running.feeds if running is not None else {})
        for (camera, id_), results in fresh.items():
            name = f"results/{self._version}/{camera}/{id_}"
            self._put(name, "results", {"camera": camera, "id": id_, "results": results})
            self._chunks[name] = len(self._parts[name].event)
        while sum(self._chunks.values()) > CHUNK_BYTES:
            oldest = next(iter(self._chunks))
            del self._chunks[oldest]
            self._drop(oldest)
        told = {f"request/{'/'.join(key)}": one for key, one in self._chronicle.requests.items()}
        for name in [name for name in self._parts if name.startswith("request/")]:
            if name not in told:
                self._drop(name)
        for name, one in told.items():
            self._put(name, "request", one)

    def _put(self, name: str, event: str, document: Any) -> None:
        """A part as it is now; nothing where it has not changed."""
        said = msgspec.json.encode(document)
        if self._said.get(name) == said:
            return
        self._drop(name)
        self._version += 1
        self._said[name] = said
        self._parts[name] = Part(self._version, b"event: %s\ndata: %s\n\n" % (event.encode(), said))

    def _drop(self, name: str) -> None:
        self._parts.pop(name, None)
        self._said.pop(name, None)

    def __repr__(self) -> str:
        return f"<Live {len(self._viewers)} viewers, {len(self._parts)} parts>"


def _told(ticking: asyncio.Task[None]) -> None:
    """A fault of the page ends no process: the log has it, and the next viewer starts it anew."""
    if not ticking.cancelled() and (error := ticking.exception()) is not None:
        _log.error("the page stands still", exc_info=error)
