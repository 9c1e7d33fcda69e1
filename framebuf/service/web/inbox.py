"""Inbox: what went out about triggers, for the page too; bounded, and nobody waits for a reader."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal, NamedTuple

Leaf = Literal["ack", "result", "done"]


class Heard(NamedTuple):
    """One document, as it goes to the broker."""

    leaf: Leaf
    camera: str
    payload: bytes


class Inbox:
    """The requests' thread puts, the thread `web` takes. `_lock` guards the queue and its size.

    Of more than `MOST_BYTES` the oldest go: a page that nobody looks at remembers the last requests
    and costs no more than that.
    """

    MOST_BYTES = 2 * 2**20
    LARGEST = 64 * 1024
    """A document beyond it (embeddings, raw outputs) is left out: a page shows none of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: deque[Heard] = deque()
        self._bytes = 0
        self.left_out = 0

    def put(self, leaf: Leaf, camera: str, payload: bytes) -> None:
        with self._lock:
            if len(payload) > self.LARGEST:
                self.left_out += 1
                return
            self._heard.append(Heard(leaf, camera, payload))
            self._bytes += len(payload)
            while self._bytes > self.MOST_BYTES:
                self._bytes -= len(self._heard.popleft().payload)
                self.left_out += 1

    def take(self) -> deque[Heard]:
        """All that is there, oldest first."""
        with self._lock:
            heard, self._heard, self._bytes = self._heard, deque(), 0
            return heard

    def __repr__(self) -> str:
        return f"<Inbox {len(self._heard)} documents, {self._bytes} bytes>"
