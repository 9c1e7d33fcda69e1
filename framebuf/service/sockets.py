"""Small messages without delay, whatever Nagle's algorithm and delayed ACKs make of them."""

from __future__ import annotations

import os
import socket
from typing import Any


def send_at_once(sock: Any) -> None:
    """Do not hold a small packet back until the last one is acknowledged: 40 ms each."""
    # A copy of the descriptor, for what paho wraps around websockets is no socket
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        if same.family in (socket.AF_INET, socket.AF_INET6):
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(sock: Any) -> None:
    """Ask TCP not to sit on its next ACK for 40 ms, as a PUBACK alone would let it.

    Brokers leave Nagle's algorithm on and hold the next trigger back until that ACK. The option is
    spent with each use (tcp(7)).
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
