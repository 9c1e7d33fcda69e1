"""The guard: who is let in to which path, before any of it is looked at."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from framebuf.service.web.token import Token

COOKIE = "framebuf"
OPEN = ("/healthz", "/readyz", "/login")
"""For strangers too: yes or no, and the form that asks for the token."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "manifest-src 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
"""Of every answer; no-store is for pictures of people, and static files say otherwise."""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Guard:
    """ASGI middleware in front of the application. Only the thread `web`."""

    def __init__(self, app: ASGIApp, token: Token, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._token = token
        own = socket.gethostname()
        self._hosts = {
            name.lower() for name in ("localhost", own, f"{own.split('.')[0]}.local", *hosts)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        guarded = _Guarded(send)
        refusal = self._refusal(scope, headers)
        scope["state"]["known"] = self._is_known(headers)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """What somebody gets who is not let in."""
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112, 6.1: two ends of one body, of which a proxy before us may see the other
            return _say(400, "the body has two lengths", {"connection": "close"})
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _say(421, "this name is not the node's; add it to hosts of [web]")
        if scope["method"] not in ("GET", "HEAD") and not self._is_own_page(headers, host):
            return _say(403, "another site's page may not send anything here")
        path = scope["path"]
        if path in OPEN or path.startswith("/static/") or self._is_known(headers):
            return None
        if path == "/" and scope["method"] == "GET":
            return RedirectResponse("/login", 303)
        return _say(401, "the node's token is wanted", {"www-authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this node.

        An address does: to read the node by rebinding, a foreign page must have a name.
        """
        match = _AUTHORITY.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._hosts
        return True

    @staticmethod
    def _is_own_page(headers: Headers, host: str) -> bool:
        """Whether the browser says that the node's own page is asking; every browser says."""
        _, _, authority = headers.get("origin", "").partition("://")
        site = headers.get("sec-fetch-site", "same-origin")
        return authority.lower() == host.lower() and site == "same-origin"

    def _is_known(self, headers: Headers) -> bool:
        """Whether somebody brings the token, or a session made of it."""
        if not self._token.is_wanted:
            return True
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._token.is_right(credentials.strip())
        # As browsers write them: another service on this host may keep JSON in its cookie, over
        # which the standard library's parser gives up, and ports do not keep cookies apart
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return cookie is not None and self._token.is_session(cookie)


class _Guarded:
    """A `send` that adds the headers."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _say(status: int, what: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": what}, status, headers)
