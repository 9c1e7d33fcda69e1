"""The page's own files, read once: no thread waits for a disk, and no path leads elsewhere."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}


class Statics:
    """Files by name. Only the thread `web`."""

    def __init__(self) -> None:
        folder = files("framebuf.service.web") / "static"
        self._files = {
            entry.name: entry.read_bytes()
            for entry in folder.iterdir()
            if entry.name.rpartition(".")[2] in TYPES
        }
        self._tags = {
            name: f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            for name, content in self._files.items()
        }

    def answer(self, request: Request, name: str, status: int = 200) -> Response:
        """A file, or that there is none, or that the browser has it already."""
        content = self._files.get(name)
        if content is None:
            return Response("there is nothing here\n", 404, media_type="text/plain")
        headers = {"etag": self._tags[name], "cache-control": "no-cache"}
        if status == 200 and request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        headers["content-type"] = TYPES[name.rpartition(".")[2]]
        return Response(content, status, headers)

    def __repr__(self) -> str:
        return f"<Statics {', '.join(sorted(self._files))}>"
