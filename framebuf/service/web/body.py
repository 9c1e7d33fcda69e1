"""What somebody sends: so many bytes, in so much time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_S = 10.0


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request, no more than `limit` bytes.

    Raises:
        HTTPException: 413 it is larger, 408 it does not come, 400 nor does the rest of it.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise HTTPException(413, f"more than {limit} bytes")
                parts.append(part)
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    except TimeoutError as error:
        raise HTTPException(408, "the body did not come in time") from error
    return b"".join(parts)
