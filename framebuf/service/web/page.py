"""What the page asks for: events, pictures, what a trigger would take, and to send one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from framebuf.contract import decode_trigger
from framebuf.errors import ContractError
from framebuf.service.message import Message
from framebuf.service.orders import made_up_id
from framebuf.service.web.body import read_body
from framebuf.service.web.pictures import WIDTHS, NoTimeError
from framebuf.service.web.preview import preview
from framebuf.units import Moment

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from framebuf.service.web.live import Live
    from framebuf.service.web.token import Token
    from framebuf.service.web.view import Running, View

MOST_BYTES = 65 * 1024
"""A trigger, which has at most 64 KiB, and the camera's name around it."""
KEY_HEADER = "x-framebuf-key"
BUSY = {"retry-after": "2"}


class _Order(msgspec.Struct, frozen=True):
    """What the page sends."""

    camera: str
    trigger: msgspec.Raw = msgspec.Raw(b"{}")


class Page:
    """Only the thread `web`."""

    def __init__(self, view: View, token: Token, live: Live) -> None:
        self._view = view
        self._token = token
        self._live = live

    def routes(self) -> list[Route]:
        return [
            Route("/api/events", self._events),
            Route("/api/key", self._key),
            Route("/api/picture/{camera}/{seq:int}", self._picture),
            Route("/api/preview", self._preview, methods=["POST"]),
            Route("/api/trigger", self._trigger, methods=["POST"]),
        ]

    async def _events(self, _: Request) -> Any:
        if self._live.is_full():
            return JSONResponse({"error": "too many are looking; try again"}, 503, BUSY)
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application of its own, to know when the viewer goes."""
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.create_task(_until_gone(receive))

        async def say(text: bytes) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": True})

        try:
            await self._live.follow(say, gone)
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _key(self, _: Request) -> Response:
        return JSONResponse({"key": self._token.form_key})

    async def _picture(self, request: Request) -> Response:
        camera, seq = request.path_params["camera"], request.path_params["seq"]
        width = request.query_params.get("width", str(WIDTHS[1]))
        if camera not in self._view.buffers or width not in map(str, WIDTHS):
            raise HTTPException(404, "no such picture")
        try:
            jpeg = await self._live.pictures.picture(camera, seq, int(width))
        except NoTimeError:
            return JSONResponse({"error": "no time for pictures now"}, 503, BUSY)
        if jpeg is None:
            raise HTTPException(404, "the frame is no longer in the buffer, or cannot be shown")
        return Response(jpeg, media_type="image/jpeg")

    async def _preview(self, request: Request) -> Response:
        order, running = await self._order(request)
        try:
            told = preview(running.feeds[order.camera], bytes(order.trigger))
        except ContractError as error:
            return JSONResponse({"error": {"code": error.code, "message": str(error)}}, 422)
        return JSONResponse(told)

    async def _trigger(self, request: Request) -> Response:
        web = self._view.config.web
        if web is None or not web.allow_trigger:
            raise HTTPException(403, "triggers from the page are off: allow_trigger of [web]")
        if not self._token.is_form_key(request.headers.get(KEY_HEADER, "")):
            raise HTTPException(403, "not the page of this start of the node: load it again")
        order, running = await self._order(request)
        try:
            given = decode_trigger(bytes(order.trigger))
        except ContractError as error:
            return JSONResponse({"error": {"code": error.code, "message": str(error)}}, 422)
        fields: dict[str, msgspec.Raw | str] = msgspec.json.decode(
            order.trigger, type=dict[str, msgspec.Raw]
        )
        fields["id"] = given.id or made_up_id()
        received = Moment(time.monotonic_ns(), time.time_ns())
        topic = self._view.topics.of_camera(order.camera, "trigger")
        # As a message from the broker that nobody waits a PUBACK for
        running.requests.receive(Message(topic, msgspec.json.encode(fields), received, qos=0))
        return JSONResponse({"id": fields["id"]}, 202)

    async def _order(self, request: Request) -> tuple[_Order, Running]:
        """A trigger for a camera of this node, and the node.

        Raises:
            HTTPException: it is none, or the node is not there yet.
        """
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "application/json is expected")
        try:
            order = msgspec.json.decode(await read_body(request, MOST_BYTES), type=_Order)
        except (msgspec.DecodeError, RecursionError) as error:
            raise HTTPException(400, f"not a trigger for a camera: {error}") from error
        running = self._view.running
        if running is None:
            raise HTTPException(503, "the node is starting", BUSY)
        if order.camera not in running.feeds:
            raise HTTPException(404, "there is no such camera")
        return order, running


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
