"""A TCP proxy before an MQTT broker: passes all on, or breaks the line as it is told.

It knows MQTT's framing (MQTT 5, section 2.1), no more: a type, a length, and that many bytes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Self

PUBACK = 4
CHUNK = 65536


@dataclass(slots=True, eq=False)
class Line:
    """One connection: the client's end and the broker's."""

    client: socket.socket
    broker: socket.socket
    withheld: list[bytes] = field(default_factory=list)

    def reset(self) -> None:
        """End it as a crash of the network would: no goodbye, what is under way is lost."""
        for end in (self.client, self.broker):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Any thread may order; `_changed` guards the lines, what they withhold, and the orders."""

    def __init__(self, port: int, broker_port: int) -> None:
        self.port = port
        self._broker_port = broker_port
        self._changed = threading.Condition()
        self._lines: list[Line] = []
        self._withholds = False
        self._stalls = False
        self._refuses = False
        self._withheld = 0
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()

    def __enter__(self) -> Self:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        self._start(self._accept, "proxy")
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._stalls = False
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(60)
        self._listener.close()

    @property
    def withheld(self) -> int:
        """PUBACKs that were withheld from the client, ever."""
        with self._changed:
            return self._withheld

    def withhold(self) -> None:
        """From now on the broker's PUBACKs do not reach the client; all else does."""
        with self._changed:
            self._withholds = True

    def release(self) -> None:
        """PUBACKs pass again, those withheld on lines that still stand first."""
        with self._changed:
            self._withholds = False
            for line in self._lines:
                for packet in line.withheld:
                    with contextlib.suppress(OSError):
                        line.client.sendall(packet)
                line.withheld.clear()

    def stall(self) -> None:
        """From now on nothing passes, and nothing is refused: the line is dead and open."""
        with self._changed:
            self._stalls = True

    def go_on(self) -> None:
        with self._changed:
            self._stalls = False
            self._changed.notify_all()

    def cut(self, *, refuse: bool = False) -> None:
        """End all connections; `refuse` those to come until `restore`."""
        with self._changed:
            self._refuses = refuse
            for line in self._lines:
                line.withheld.clear()
                line.reset()

    def restore(self) -> None:
        with self._changed:
            self._refuses = False

    # the threads: one accepts, two a line ---------------------------------------------------

    def _start(self, target: object, name: str, *args: object) -> None:
        thread = threading.Thread(target=target, name=name, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                refuses = self._refuses or self._closing
            try:
                if refuses:
                    raise ConnectionRefusedError
                broker = socket.create_connection(("127.0.0.1", self._broker_port), 5)
            except OSError:
                client.close()
                continue
            for end in (client, broker):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Line(client, broker)
            with self._changed:
                self._lines.append(line)
            self._start(self._pass_to_broker, "proxy-up", line)
            self._start(self._pass_to_client, "proxy-down", line)

    def _pass_to_broker(self, line: Line) -> None:
        with contextlib.suppress(OSError):
            while data := line.client.recv(CHUNK):
                self._wait_while_stalled()
                line.broker.sendall(data)
        line.reset()

    def _pass_to_client(self, line: Line) -> None:
        waiting = bytearray()
        with contextlib.suppress(OSError):
            while data := line.broker.recv(CHUNK):
                waiting += data
                self._wait_while_stalled()
                while (size := packet_size(waiting)) is not None and len(waiting) >= size:
                    packet = bytes(waiting[:size])
                    del waiting[:size]
                    self._deliver(line, packet)
        line.reset()
        with self._changed:
            self._lines.remove(line)
        line.client.close()
        line.broker.close()

    def _deliver(self, line: Line, packet: bytes) -> None:
        with self._changed:
            if self._withholds and packet[0] >> 4 == PUBACK:
                line.withheld.append(packet)
                self._withheld += 1
                return
        line.client.sendall(packet)

    def _wait_while_stalled(self) -> None:
        with self._changed:
            while self._stalls:
                self._changed.wait()

    def __repr__(self) -> str:
        return f"<Proxy {self.port} to {self._broker_port}, {self.withheld} withheld>"


def packet_size(data: bytes | bytearray) -> int | None:
    """Bytes of the MQTT packet that `data` begins with; None: that cannot be told yet."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return 2 + place + length
    return None
