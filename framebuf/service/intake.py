"""Intake: a message on a trigger topic becomes an accepted order, or an ack that says why not."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from framebuf import contract
from framebuf.errors import ContractError
from framebuf.service.orders import read_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from framebuf.contract import Topics, Trigger
    from framebuf.service.broker import Message
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.known import KnownIds
    from framebuf.service.orders import Order
    from framebuf.service.replies import Replies

_log = logging.getLogger(__name__)


class Intake:
    """Decides about triggers, on the requests' thread. `accept` may still refuse an order."""

    def __init__(
        self,
        topics: Topics,
        feeds: Mapping[str, Feed],
        known: KnownIds,
        replies: Replies,
        counters: Counters,
        accept: Callable[[Feed, Order], None],
    ) -> None:
        self._node_topic = topics.of_node("trigger")
        self._feeds = feeds
        self._camera_of = {topics.of_camera(name, "trigger"): name for name in feeds}
        self._known = known
        self._replies = replies
        self._counters = counters
        self._accept = accept

    def take(self, message: Message) -> None:
        """Accept or answer; afterwards the message is taken care of."""
        camera = self._camera_of.get(message.topic)
        if camera is not None:
            self._take(camera, message, partial(contract.decode_trigger, message.payload))
        elif message.topic == self._node_topic:
            self._take_for_node(message)
        else:
            self._counters.add("messages_ignored")

    def _take_for_node(self, message: Message) -> None:
        """A trigger for several cameras: one request each, each with its own ack."""
        try:
            trigger = contract.decode_node_trigger(message.payload)
        except ContractError as error:
            self._counters.add(f"rejected_{error.code}")
            _log.info("a trigger for the node was rejected: %r", str(error))
            return
        for name in dict.fromkeys(trigger.cameras):
            if name in self._feeds:
                self._take(name, message, partial(contract.for_camera, trigger))
            else:
                self._counters.add("rejected_bad_payload")
                _log.info("a trigger names the camera %.64r, which is not here", name)

    def _take(self, name: str, message: Message, decode: Callable[[], Trigger]) -> None:
        feed = self._feeds[name]
        try:
            if message.retained:
                _refuse_retained(message)
            trigger = decode()
            if trigger.id is not None and self._answer_again(name, trigger.id):
                return
            self._accept(
                feed,
                read_order(trigger, feed.camera, feed.buffer, message.received, kept=message.kept),
            )
        except ContractError as error:
            self._replies.rejected(name, error)

    def _answer_again(self, camera: str, id: str) -> bool:
        """Whether the id is known; its done is then published once more."""
        known = self._known.find(camera, id)
        if known is None:
            return False
        self._replies.duplicate(camera, id, known)
        return True


def _refuse_retained(message: Message) -> None:
    raise ContractError(
        "retained",
        "a retained trigger would fire again; publish it without retain",
        contract.read_id(message.payload),
    )
