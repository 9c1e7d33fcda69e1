"""The application: which path is answered by what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from framebuf.service.web import readiness
from framebuf.service.web.body import read_body
from framebuf.service.web.exposition import Exposition
from framebuf.service.web.guard import COOKIE, Guard
from framebuf.service.web.live import Live
from framebuf.service.web.page import Page
from framebuf.service.web.statics import Statics
from framebuf.service.web.token import SESSION_S

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from framebuf.contract import Stats
    from framebuf.service.web.inbox import Inbox
    from framebuf.service.web.token import Token
    from framebuf.service.web.view import Running, View

FORM_BYTES = 2048
WRONG_S = 0.5
"""A wrong token is answered so much later."""


class App:
    """ASGI. Only the thread `web`, which serves one request after the other between awaits."""

    def __init__(self, view: View, token: Token, inbox: Inbox) -> None:
        self.live = Live(view, inbox)
        self._view = view
        self._token = token
        self._statics = Statics()
        self._exposition = Exposition(view.config.node.name, self._stats)
        page = Page(view, token, self.live)
        routes = [
            Route("/", self._index),
            Route("/login", self._form, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/static/{name:path}", self._static),
            Route("/metrics", self._metrics),
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            *page.routes(),
        ]
        hosts = () if view.config.web is None else view.config.web.hosts
        self._guard = Guard(Starlette(routes=routes), token, hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guard(scope, receive, send)

    # for machines ---------------------------------------------------------------------------

    async def _metrics(self, request: Request) -> Response:
        if self._view.running is None:
            return JSONResponse({"error": "the node is starting"}, 503, {"retry-after": "5"})
        text, media_type = self._exposition.render(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    async def _health(self, request: Request) -> Response:
        return _verdict(request, readiness.unhealthy(self._view))

    async def _ready(self, request: Request) -> Response:
        return _verdict(request, readiness.unready(self._view))

    def _stats(self) -> tuple[Stats, bool]:
        running: Running | None = self._view.running
        if running is None:
            raise RuntimeError("there are no stats before the node runs")
        return running.census.take(), running.broker.connected.is_set()

    # for people -----------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        return self._statics.answer(request, "index.html")

    async def _static(self, request: Request) -> Response:
        return self._statics.answer(request, request.path_params["name"])

    async def _form(self, request: Request) -> Response:
        if not self._token.is_wanted or request.state.known:
            return RedirectResponse("/", 303)
        answer = self._statics.answer(request, "login.html")
        # With no-referrer a browser would not say where the form comes from (Origin: null)
        answer.headers["referrer-policy"] = "same-origin"
        return answer

    async def _log_in(self, request: Request) -> Response:
        text = (await read_body(request, FORM_BYTES)).decode("utf-8", "replace")
        given = parse_qs(text, max_num_fields=4).get("token", [""])[0].strip()
        if not self._token.is_right(given):
            await asyncio.sleep(WRONG_S)
            return RedirectResponse("/login#wrong", 303)
        answer = RedirectResponse("/", 303)
        if self._token.is_wanted:
            # Not Secure: the node speaks HTTP, and a proxy with TLS may add it
            answer.set_cookie(
                COOKIE, self._token.session(), SESSION_S, httponly=True, samesite="strict"
            )
        return answer

    async def _log_out(self, _: Request) -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _verdict(request: Request, reasons: readiness.Reasons) -> Response:
    """200 or 503, and why for who may know."""
    said: dict[str, object] = {"ok": not reasons}
    if request.state.known:
        said["reasons"] = reasons
    return JSONResponse(said, 503 if reasons else 200)
