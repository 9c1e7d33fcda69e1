"""The publisher: one thread that hands messages to the MQTT client, in order."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from framebuf.service.outbox import Outbox, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.service.health import Counters

MAX_STRANGERS = 1000
"""Answers to rejected triggers that may wait; more are dropped and counted."""


class Publisher:
    """The thread `mqtt-publish` owns the outbox; every other thread sends it events.

    A lock around the outbox would not do: the client calls back with its own lock held, and takes
    that same lock to publish.
    """

    def __init__(
        self,
        hand_over: Callable[[Outgoing], int | None],
        greeting: Callable[[], Sequence[Outgoing]],
        counters: Counters,
    ) -> None:
        """`hand_over` gives a message to the client: its packet id, None where not taken."""
        self.connected = threading.Event()
        self._hand_over = hand_over
        self._greeting = greeting
        self._counters = counters
        # one event a publish, PUBACK or connection; bounded as the outbox is
        self._events: SimpleQueue[Outgoing | int | str] = SimpleQueue()
        self._outbox = Outbox()
        self._strangers = threading.Semaphore(MAX_STRANGERS)
        self._stop_by = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt-publish", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, message: Outgoing) -> None:
        """Send in order; kept while the broker is away, but for QoS 0. Any thread."""
        self._events.put(message)

    def answer_stranger(self, message: Outgoing) -> None:
        """As `publish`, for what anybody can cause; dropped and counted where too many wait."""
        if not self._strangers.acquire(blocking=False):
            self._counters.add("acks_dropped")
            return
        release = self._strangers.release
        self.publish(Outgoing(message.topic, message.payload, acknowledged=release))

    def acknowledge(self, mid: int) -> None:
        """The broker has packet `mid`. Any thread."""
        self._events.put(mid)

    def connect(self) -> None:
        """The client is connected. Any thread."""
        self._events.put("connected")

    def disconnect(self) -> None:
        """The client lost the broker. Any thread."""
        self._events.put("disconnected")

    def stop(self, last: Sequence[Outgoing], timeout_s: float) -> None:
        """Send `last`, wait for what is under way, end the thread."""
        for message in last:
            self.publish(message)
        self._stop_by = time.monotonic() + timeout_s
        self._events.put("stop")
        self._thread.join(timeout_s + 1.0)

    def _run(self) -> None:
        event = self._events.get()
        while event != "stop":
            self._take(event)
            try:  # take what else is there before publishing: fewer turns under load
                event = self._events.get_nowait()
            except Empty:
                self._pump()
                event = self._events.get()
        self._finish()

    def _finish(self) -> None:
        """Send what is left, and wait until the broker has it."""
        self._pump()
        while self.connected.is_set() and len(self._outbox):
            try:
                left = max(0.0, self._stop_by - time.monotonic())
                self._take(self._events.get(timeout=left))
            except Empty:
                return
            self._pump()

    def _take(self, event: Outgoing | int | str) -> None:
        if isinstance(event, Outgoing):
            if event.qos or self.connected.is_set():
                self._outbox.add(event)
            else:
                self._counters.add("unsent_qos0")
        elif isinstance(event, int):
            done = self._outbox.acknowledge(event)
            if done is not None and done.acknowledged is not None:
                done.acknowledged()
        elif event == "connected":
            self._outbox.drop_retained()  # states of the past; the greeting tells those of now
            self._outbox.add_first(list(self._greeting()))
            self.connected.set()
        else:
            self.connected.clear()

    def _pump(self) -> None:
        while self.connected.is_set() and (message := self._outbox.next()) is not None:
            mid = self._hand_over(message)
            if mid is None:
                self._counters.add("unsent_qos0")
            elif message.qos:
                self._outbox.sent(mid, message)

    def __repr__(self) -> str:
        state = "connected" if self.connected.is_set() else "away"
        return f"<Publisher {state}, {self._outbox!r}>"
