"""A broker of few words: stands in front of a real one, and turns down what it is told to."""

from __future__ import annotations

import asyncio
import threading
from typing import Literal, Self

PUBLISH, PUBACK, SUBACK = 0x30, 0x40, 0x90
NOT_AUTHORIZED = 0x87
QUOTA_EXCEEDED = 0x97


class Gateway:
    """Takes connections on its port and passes them on. Its attributes may change at any time."""

    def __init__(self, port: int, behind: int) -> None:
        self.port = port
        self.without_5: Literal["says so", "closes"] | None = None
        """What it does with a CONNECT of MQTT 5; None: passes it on."""
        self.denies_subscriptions = False
        self.closes_on: bytes | None = None
        """It ends a connection over a packet of the client with these bytes."""
        self.keeps_pubacks_of: Literal["broker", "client"] | None = None
        """Whose acknowledgements it swallows."""
        self.over_quota = 0
        """So many of the client's next publishes of QoS 1 are refused for quota, not passed on."""
        self.connects: list[bytes] = []
        """The CONNECTs so far, without their fixed headers."""
        self._behind = behind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gateway")
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    @property
    def levels(self) -> list[int]:
        """The protocol levels of the CONNECTs so far."""
        return [connect[6] for connect in self.connects]

    def hold(self) -> None:
        """End every connection; those that come now wait, and nobody answers them."""
        self._loop.call_soon_threadsafe(self._open.clear)
        self.drop_all()

    def let_in(self) -> None:
        """Pass on those that wait, and all that come."""
        self._loop.call_soon_threadsafe(self._open.set)

    def drop_all(self, last: bytes = b"") -> None:
        """End every connection, without a word or with these last ones to the client."""
        self._loop.call_soon_threadsafe(self._cancel, last)

    def _cancel(self, last: bytes = b"") -> None:
        for writer in tuple(self._writers):
            if last and writer.get_extra_info("sockname")[1] == self.port:
                writer.write(last)
                writer.close()
            else:
                writer.transport.abort()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self._up.set()
        await self._stop.wait()
        server.close()
        self._open.set()
        self._cancel()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=2.0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task])

    async def _pass_on(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        writers = [back]
        try:
            self._writers.add(back)
            await self._open.wait()
            head, body = await _packet(client)
            self.connects.append(body)
            if body[6] == 5 and self.without_5:
                if self.without_5 == "says so":
                    back.write(b"\x20\x02\x00\x01")
                    await back.drain()
                return
            broker, on = await asyncio.open_connection("127.0.0.1", self._behind)
            writers.append(on)
            self._writers.add(on)
            on.write(head + body)
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._copy(client, on, back)),
                    asyncio.ensure_future(self._copy(broker, back)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for writer in writers:
                self._writers.discard(writer)
                writer.transport.abort()

    async def _copy(
        self,
        source: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        back: asyncio.StreamWriter | None = None,
    ) -> None:
        """`back` is where the client's own packets are answered."""
        try:
            while True:
                head, body = await _packet(source)
                speaker = "broker" if back is None else "client"
                if head[0] == PUBACK and self.keeps_pubacks_of == speaker:
                    continue
                if head[0] == SUBACK and self.denies_subscriptions:
                    body = body[:-1] + bytes([NOT_AUTHORIZED])
                if self.closes_on is not None and self.closes_on in body:
                    return
                if back is not None and self.over_quota and head[0] & 0xF6 == PUBLISH | 2:
                    self.over_quota -= 1
                    mid = 2 + int.from_bytes(body[:2], "big")
                    back.write(bytes([PUBACK, 4, *body[mid : mid + 2], QUOTA_EXCEEDED, 0]))
                    continue
                to.write(head + body)
                await to.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass


async def _packet(source: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The fixed header and the rest of one MQTT packet."""
    head = await source.readexactly(2)
    length, shift = head[-1] & 0x7F, 7
    while head[-1] & 0x80:
        head += await source.readexactly(1)
        length |= (head[-1] & 0x7F) << shift
        shift += 7
    return head, await source.readexactly(length)
