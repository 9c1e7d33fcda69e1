"""uvicorn's HTTP protocol, with an end to the patience with who is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

HEAD_S = 10.0
"""How long a request's head may take, from the connection or the head's first byte."""


SEND_S = 10.0
"""Who takes none of what waits for it, 64 KiB or more, for so long is let go."""


class PatientProtocol(H11Protocol):
    """uvicorn ends connections that idle between requests, not those slow to ask or to read."""

    _late: asyncio.TimerHandle | None = None
    _full: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forgive()  # the head is there
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forgive()
        if self._full is not None:
            self._full.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # close() would wait for the reader, who does not read
        self._full = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not under_way and self.conn.trailing_data[0]:
            self._wait()  # the next head has begun
        else:
            self._forgive()  # else the keep-alive time-out takes over

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._hang_up)

    def _forgive(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        self.transport.abort()
