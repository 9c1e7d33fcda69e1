"""TCP ports for what the tests start, whoever else asks the machine for one meanwhile."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []
"""Until this process ends: a broker that was stopped finds its port again."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens, and which is nobody else's.

    A socket that is bound to it and does not listen holds it: the kernel gives it to no outgoing
    connection and to nobody who takes any port, and a connection to it is refused. Whoever asks for
    it by number with SO_REUSEADDR, as servers do, may listen (socket(7)).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _HELD.append(holder)
    port: int = holder.getsockname()[1]
    return port
