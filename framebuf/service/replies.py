"""Replies: what goes out about triggers, counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from framebuf import contract
from framebuf.contract import Ack
from framebuf.results import Failure
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framebuf.contract import Done, Topics
    from framebuf.errors import ContractError
    from framebuf.service.health import Counters
    from framebuf.service.item import Item
    from framebuf.service.known import Known
    from framebuf.service.orders import Order
    from framebuf.service.post import Post
    from framebuf.service.response import Response

    Smaller = Callable[[bytes, int], bytes]
    Onlooker = Callable[[Literal["ack", "result", "done"], str, bytes], None]
    """Is told the leaf of the topic, the camera, and the payload."""

_log = logging.getLogger(__name__)

LEVELS = {"partial": logging.WARNING, "failed": logging.ERROR}
"""Of the line that a request ends with, where not all went well."""
LENGTH_BYTES = 6
"""By so much the two lengths in a packet's head grow with a payload."""


class Replies:
    """Only the requests' thread. What strangers cause is bounded by the broker.

    All of it goes to the camera's own topics, and to the Response Topic that a trigger names.
    """

    def __init__(
        self, topics: Topics, broker: Post, counters: Counters, onlooker: Onlooker | None = None
    ) -> None:
        """`onlooker` is told each document too, whatever becomes of it at the broker."""
        self._topics = topics
        self._broker = broker
        self._counters = counters
        self._onlooker = onlooker

    def room(self, camera: str, response: Response | None) -> int | None:
        """Bytes that a result may have; None: the broker names no limit."""
        limit = self._broker.max_packet
        if limit is None:
            return None
        topic = self._topics.of_camera(camera, "result")
        sizes = [Outgoing(topic, b"").size()]
        if response is not None:
            sizes.append(Outgoing(response.topic, b"", correlation=response.correlation).size())
        return max(0, limit - max(sizes) - LENGTH_BYTES)

    def accepted(self, order: Order, confirmed: Callable[[], None]) -> None:
        """`confirmed` is called once the broker has it."""
        self._counters.add("triggers_accepted")
        ack = contract.encode(Ack(id=order.id, camera=order.camera, status="accepted"))
        self._show("ack", order.camera, ack)
        self._publish(self._of(order.camera, "ack"), ack, order.response, acknowledged=confirmed)

    def rejected(self, camera: str, error: ContractError, response: Response | None) -> None:
        self._reject(self._of(camera, "ack"), camera, error, response)

    def rejected_for_node(self, error: ContractError, response: Response | None) -> None:
        """A trigger for several cameras, in whole or for cameras that are not here."""
        self._reject(self._topics.of_node("ack"), None, error, response)

    def duplicate(self, camera: str, id: str, known: Known, response: Response | None) -> None:
        """Its done is published once more, where there is one."""
        self._counters.add("triggers_duplicate")
        first_at = contract.utc_text(known.first_at_ns)
        ack = Ack(id=id, camera=camera, status="duplicate", first_at=first_at)
        self._answer_stranger(
            self._of(camera, "ack"), contract.encode(ack), response, contract.smaller_ack
        )
        if known.done is not None:
            self._answer_stranger(
                self._of(camera, "done"), known.done, response, contract.smaller_done
            )

    def result(self, order: Order, item: Item, confirmed: Callable[[], None]) -> None:
        """Its picture first. `confirmed` is called once the broker has it."""
        camera = order.camera
        if item.jpeg:
            leaf = f"image/{order.id}/{item.asked.index}"
            self._broker.publish(Outgoing(self._topics.of_camera(camera, leaf), item.jpeg, qos=0))
            item.jpeg = b""  # the request may stay open for long
        self._counters.add("results")
        self._show("result", camera, item.payload)
        topic, smaller = self._of(camera, "result"), contract.smaller_result
        self._publish(topic, item.payload, order.response, smaller, confirmed)
        item.payload = b""

    def done(
        self,
        done: Done,
        payload: bytes,
        responses: Sequence[Response],
        confirmed: Callable[[], None],
    ) -> None:
        """`payload` is `done`, encoded; `confirmed` is called once the broker has it."""
        self._counters.add(f"done_{done.event_type}")
        self._counters.add("results_failed", done.failed)
        for reason, count in done.missing.items():
            self._counters.add(f"missing_{reason}", count)
        self._show("done", done.camera, payload)
        first, *others = responses or (None,)
        topic, smaller = self._of(done.camera, "done"), contract.smaller_done
        self._publish(topic, payload, first, smaller, confirmed)
        for response in others:
            self._respond(payload, response, smaller)
        _log.log(
            LEVELS.get(done.event_type, logging.INFO),
            "request %s of camera %s: %s, %d of %d frames in %.0f ms%s",
            done.id,
            done.camera,
            done.event_type,
            done.published,
            done.requested,
            done.ms.total,
            _shortfall(done),
            extra={
                "REQUEST_ID": done.id,
                "CAMERA": done.camera,
                "EVENT": f"request_{done.event_type}",
            },
        )

    def _reject(
        self, topic: str, camera: str | None, error: ContractError, response: Response | None
    ) -> None:
        self._counters.add(f"rejected_{error.code}")
        failure = Failure(error.code, str(error))
        ack = contract.encode(Ack(id=error.id, camera=camera, status="rejected", error=failure))
        if camera is not None:
            self._show("ack", camera, ack)
        self._answer_stranger(topic, ack, response, contract.smaller_ack)

    def _show(self, leaf: Literal["ack", "result", "done"], camera: str, payload: bytes) -> None:
        if self._onlooker is not None:
            self._onlooker(leaf, camera, payload)

    def _publish(
        self,
        topic: str,
        payload: bytes,
        response: Response | None,
        smaller: Smaller | None = None,
        acknowledged: Callable[[], None] | None = None,
    ) -> None:
        self._broker.publish(Outgoing(topic, payload, acknowledged=acknowledged, smaller=smaller))
        if response is not None:
            self._respond(payload, response, smaller)

    def _respond(self, payload: bytes, response: Response, smaller: Smaller | None) -> None:
        self._counters.add("responses")
        self._broker.publish(
            Outgoing(response.topic, payload, correlation=response.correlation, smaller=smaller)
        )

    def _answer_stranger(
        self,
        topic: str,
        payload: bytes,
        response: Response | None,
        smaller: Smaller | None = None,
    ) -> None:
        self._broker.answer_stranger(Outgoing(topic, payload, smaller=smaller))
        if response is not None:
            self._counters.add("responses")
            self._broker.answer_stranger(
                Outgoing(response.topic, payload, correlation=response.correlation, smaller=smaller)
            )

    def _of(self, camera: str, leaf: str) -> str:
        return self._topics.of_camera(camera, leaf)


def _shortfall(done: Done) -> str:
    """What was missing and what failed, for the log."""
    parts = [f"{count} {reason}" for reason, count in done.missing.items()]
    if done.failed:
        parts.append(f"{done.failed} with an error")
    return f"; {', '.join(parts)}" if parts else ""
