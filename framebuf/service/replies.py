"""Replies: what goes out about triggers, on the camera's topics, counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from framebuf import contract
from framebuf.contract import Ack
from framebuf.results import Failure
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.contract import Done, Topics
    from framebuf.errors import ContractError
    from framebuf.service.broker import Broker
    from framebuf.service.health import Counters
    from framebuf.service.known import Known
    from framebuf.service.orders import Order
    from framebuf.service.request import Item

_log = logging.getLogger(__name__)


class Replies:
    """Any thread; holds nothing but its parts. What strangers cause is bounded by the broker."""

    def __init__(self, topics: Topics, broker: Broker, counters: Counters) -> None:
        self._topics = topics
        self._broker = broker
        self._counters = counters

    def accepted(self, order: Order) -> None:
        self._counters.add("triggers_accepted")
        ack = Ack(id=order.id, status="accepted")
        self._broker.publish(self._of(order.camera, "ack", contract.encode(ack)))

    def rejected(self, camera: str, error: ContractError) -> None:
        self._counters.add(f"rejected_{error.code}")
        failure = Failure(error.code, str(error))
        ack = Ack(id=error.id, status="rejected", error=failure)
        self._broker.answer_stranger(self._of(camera, "ack", contract.encode(ack)))

    def duplicate(self, camera: str, id: str, known: Known) -> None:
        """Its done is published once more, where there is one."""
        self._counters.add("triggers_duplicate")
        ack = Ack(id=id, status="duplicate", first_at=contract.utc_text(known.first_at_ns))
        self._broker.answer_stranger(self._of(camera, "ack", contract.encode(ack)))
        if known.done is not None:
            self._broker.answer_stranger(self._of(camera, "done", known.done))

    def result(self, order: Order, item: Item) -> None:
        """Its picture first. The frame is released once the broker has its result."""
        camera = order.camera
        if item.jpeg:
            leaf = f"image/{order.id}/{item.asked.index}"
            self._broker.publish(Outgoing(self._topics.of_camera(camera, leaf), item.jpeg, qos=0))
            item.jpeg = b""  # the request may stay open for long
        self._counters.add("results")
        self._broker.publish(self._of(camera, "result", item.payload, item.release))

    def done(self, done: Done, payload: bytes, confirmed: Callable[[], None]) -> None:
        """`payload` is `done`, encoded; `confirmed` is called once the broker has it."""
        self._counters.add(f"done_{done.event_type}")
        self._counters.add("results_failed", done.failed)
        for reason, count in done.missing.items():
            self._counters.add(f"missing_{reason}", count)
        self._broker.publish(self._of(done.camera, "done", payload, confirmed))
        _log.info(
            "request %s of camera %s: %s, %d of %d frames in %.0f ms",
            done.id,
            done.camera,
            done.event_type,
            done.published,
            done.requested,
            done.ms.total,
            extra={"REQUEST_ID": done.id, "CAMERA": done.camera, "EVENT": done.event_type},
        )

    def _of(
        self,
        camera: str,
        leaf: str,
        payload: bytes,
        acknowledged: Callable[[], None] | None = None,
    ) -> Outgoing:
        return Outgoing(self._topics.of_camera(camera, leaf), payload, acknowledged=acknowledged)
