"""An ASGI application asked without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(app: Any, path: str, method: str = "GET", *, body: bytes = b"", **headers: str) -> Answer:
    """One request; underscores in header names are dashes, and host is the node by default."""
    return asyncio.run(asked(app, path, method, body=body, **headers))


async def asked(
    app: Any, path: str, method: str = "GET", *, body: bytes = b"", **headers: str
) -> Answer:
    headers = {"host": "127.0.0.1:8790"} | headers
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
        "state": {},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8790),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    answer = Answer()

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {
                name.decode().lower(): value.decode() for name, value in message["headers"]
            }
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer
