"""The publisher: one thread that hands messages to the connection, in order."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from framebuf.service.backoff import Pause
from framebuf.service.limits import Limits
from framebuf.service.outbox import Outbox, Outgoing
from framebuf.service.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.service.ears import Welcome
    from framebuf.service.health import Counters
    from framebuf.service.message import Refusal

_log = logging.getLogger(__name__)

MAX_STRANGERS = 1000
"""Answers to rejected triggers that may wait; more are dropped and counted."""
MOST_TRIES = 8
"""Times that a message is sent again which the broker refuses for quota: half a minute in all."""
MAX_TOLD = 1000
"""Topics whose troubles the log has had; more are only counted."""


class Link(Protocol):
    """A connection, as the publisher sees it."""

    def publish(self, message: Outgoing) -> int | None:
        """Hand a message over: its packet id, None where it was dropped (QoS 0)."""


@dataclass(frozen=True, slots=True)
class _Connected:
    link: Link
    welcome: Welcome


@dataclass(frozen=True, slots=True)
class _Answered:
    mid: int
    refusal: Refusal | None


class Publisher:
    """The thread `mqtt-publish` owns the outbox; every other thread sends it events.

    A lock around the outbox would not do: the client calls back with its own lock held, and takes
    that same lock to publish.
    """

    def __init__(self, greeting: Callable[[], Sequence[Outgoing]], counters: Counters) -> None:
        """`greeting` is what goes out first on each connection."""
        self.connected = threading.Event()
        self._greeting = greeting
        self._counters = counters
        # one event a publish, PUBACK or connection; bounded as the outbox is
        self._events: SimpleQueue[Outgoing | _Answered | _Connected | str] = SimpleQueue()
        self._outbox = Outbox()
        self._link: Link | None = None
        self._limits = Limits()
        self._pause = Pause()
        self._told: set[tuple[str, str]] = set()
        self._strangers = threading.Semaphore(MAX_STRANGERS)
        self._stop_by = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt-publish", daemon=True)
        self.pulse = Pulse(self._thread)

    @property
    def max_packet(self) -> int | None:
        """Bytes of the largest packet that the broker takes, as far as known. Any thread."""
        return self._limits.max_packet

    def start(self) -> None:
        self._thread.start()

    def publish(self, message: Outgoing) -> None:
        """Send in order; kept while the broker is away, but for QoS 0. Any thread."""
        self._events.put(message)

    def answer_stranger(self, message: Outgoing) -> None:
        """As `publish`, for what anybody can cause; dropped and counted where too many wait."""
        if not self._strangers.acquire(blocking=False):
            self._counters.add("acks_dropped")
            _settle(message)
            return

        def settle() -> None:
            self._strangers.release()
            _settle(message)

        self.publish(replace(message, acknowledged=settle))

    def acknowledge(self, mid: int, refusal: Refusal | None) -> None:
        """The broker has answered for packet `mid` of the connection. Any thread."""
        self._events.put(_Answered(mid, refusal))

    def connect(self, link: Link, welcome: Welcome) -> None:
        """The broker took a connection. The thread that turns it, as with `acknowledge`."""
        self._events.put(_Connected(link, welcome))

    def disconnect(self, *, garbled: bool = False) -> None:
        """The connection is over; `garbled`: over an answer that could not be read."""
        self._events.put("garbled" if garbled else "disconnected")

    def stop(self, last: Sequence[Outgoing], timeout_s: float) -> None:
        """Send `last`, wait for what is under way, end the thread."""
        for message in last:
            self.publish(message)
        self._stop_by = time.monotonic() + timeout_s
        self._events.put("stop")
        self._thread.join(timeout_s + 1.0)

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        event = self._events.get()
        while event != "stop":
            self.pulse.beat()
            self._take(event)
            try:  # take what else is there before publishing: fewer turns under load
                event = self._events.get_nowait()
            except Empty:
                self._pump()
                self.pulse.rest()
                event = self._wait()
        self._finish()

    def _wait(self, longest_s: float | None = None) -> Outgoing | _Answered | _Connected | str:
        """The next event, or "go on" after a pause.

        Raises:
            Empty: none for `longest_s`.
        """
        pause_s = self._pause.left_s() if self._outbox.is_held else None
        if pause_s is None or (longest_s is not None and longest_s <= pause_s):
            return self._events.get(timeout=longest_s)
        try:
            return self._events.get(timeout=max(0.0, pause_s))
        except Empty:
            return "go on"

    def _finish(self) -> None:
        """Send what is left, and wait until the broker has it."""
        self._pump()
        while self.connected.is_set() and len(self._outbox):
            try:
                left = max(0.0, self._stop_by - time.monotonic())
                self._take(self._wait(left))
            except Empty:
                return
            self._pump()

    def _take(self, event: Outgoing | _Answered | _Connected | str) -> None:
        if isinstance(event, Outgoing):
            if event.qos or self._link is not None:
                self._outbox.add(event)
            else:
                self._counters.add("unsent_qos0")
        elif isinstance(event, _Answered):
            message = self._outbox.acknowledge(event.mid)
            if message is not None:
                self._answered(message, event.refusal)
        elif isinstance(event, _Connected):
            self._link = event.link
            self._outbox.window = event.welcome.window
            self._limits.told(event.welcome.max_packet)
            self._outbox.add_first(list(self._greeting()))
            self.connected.set()
        elif event != "go on":
            self._link = None
            self.connected.clear()
            garbled = event == "garbled"
            poison = self._outbox.recall(1) if garbled else self._outbox.recall()
            if poison is not None:
                self._give_up(poison, garbled=garbled)

    def _give_up(self, message: Outgoing, *, garbled: bool) -> None:
        """Connections end over it, and would for ever: less of it may do, else it is not sent."""
        self._tell_once(message.topic, "ends the connection over it")
        if garbled:
            self._limits.learn(message)
        if message.smaller is None:
            self._counters.add("messages_given_up")
            self._limits.give_up(message)
            _settle(message)
            return
        less = message.smaller(message.payload, len(message.payload) - 1 if garbled else 0)
        self._counters.add("messages_reduced")
        self._outbox.add_first([replace(message, payload=less, smaller=None)])

    def _answered(self, message: Outgoing, refusal: Refusal | None) -> None:
        if refusal is None:
            self._pause.reset()
        else:
            if refusal.quota and message.tries < MOST_TRIES:
                self._counters.add("publishes_retried")
                self._outbox.hold(replace(message, tries=message.tries + 1))
                self._pause.begin()
                return
            if refusal.too_large:
                self._limits.learn(message)
                if message.smaller is not None:
                    self._outbox.add_first([message])
                    return
                self._counters.add("messages_too_large")
            else:
                self._counters.add("publishes_denied" if refusal.denied else "publishes_refused")
            self._tell_once(message.topic, f"refuses: {refusal.why}")
        _settle(message)

    def _pump(self) -> None:
        if self._outbox.is_held and self._pause.left_s() <= 0:
            self._outbox.release()
        while self._link is not None and (message := self._outbox.next()) is not None:
            fitting = self._limits.fitting(message)
            if fitting is None:
                self._counters.add("messages_too_large")
                self._tell_once(
                    message.topic,
                    f"does not take {message.size()} bytes: not sent",
                )
                _settle(message)
                continue
            if fitting is not message:
                self._counters.add("messages_reduced")
            mid = self._link.publish(fitting)
            if mid is None:
                self._counters.add("unsent_qos0")
            elif fitting.qos:
                self._outbox.sent(mid, fitting)

    def _tell_once(self, topic: str, what: str) -> None:
        if (topic, what) not in self._told and len(self._told) < MAX_TOLD:
            self._told.add((topic, what))
            _log.warning("%s: the broker %s", topic, what)

    def __repr__(self) -> str:
        state = "connected" if self.connected.is_set() else "away"
        return f"<Publisher {state}, {self._outbox!r}>"


def _settle(message: Outgoing) -> None:
    if message.acknowledged is not None:
        message.acknowledged()
