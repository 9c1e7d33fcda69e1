"""Intake: a message on a trigger topic becomes an accepted order, or an ack that says why not."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from framebuf import contract
from framebuf.errors import ContractError
from framebuf.service.orders import read_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from framebuf.contract import Topics, Trigger
    from framebuf.service.feed import Feed
    from framebuf.service.health import Counters
    from framebuf.service.known import KnownIds
    from framebuf.service.message import Message
    from framebuf.service.orders import Order
    from framebuf.service.replies import Replies
    from framebuf.service.response import Response, Responses

MAX_MESSAGE = 200
"""Characters of an error's message that repeats what a stranger wrote."""


class Intake:
    """Decides about triggers, on the requests' thread."""

    def __init__(
        self,
        topics: Topics,
        feeds: Mapping[str, Feed],
        known: KnownIds,
        replies: Replies,
        counters: Counters,
        responses: Responses,
        admit: Callable[[Feed, Order], None],
        settle: Callable[[], None],
    ) -> None:
        """`admit` takes an order, or raises ContractError; `settle` accepts what was admitted."""
        self._node_topic = topics.of_node("trigger")
        self._feeds = feeds
        self._camera_of = {topics.of_camera(name, "trigger"): name for name in feeds}
        self._known = known
        self._replies = replies
        self._counters = counters
        self._responses = responses
        self._admit = admit
        self._settle = settle

    def take(self, message: Message) -> None:
        """Admit what it asks for, or answer why not."""
        camera = self._camera_of.get(message.topic)
        if camera is not None:
            self._take(camera, message, partial(contract.decode_trigger, message.payload))
        elif message.topic == self._node_topic:
            self._take_for_node(message)
        else:
            self._counters.add("messages_ignored")

    def _take_for_node(self, message: Message) -> None:
        """A trigger for several cameras: one request each, each with its own ack."""
        response = None
        try:
            response = self._check(message)
            trigger = contract.decode_node_trigger(message.payload)
        except ContractError as error:
            self._replies.rejected_for_node(error, response)
            return
        absent = [name for name in dict.fromkeys(trigger.cameras) if name not in self._feeds]
        if absent:
            names = ", ".join(ascii(name)[1:-1] for name in absent[:5])
            what = f"{len(absent)} of its cameras are not here: {names}"
            fault = ContractError("bad_payload", what[:MAX_MESSAGE], trigger.id)
            self._replies.rejected_for_node(fault, response)
        for name in dict.fromkeys(trigger.cameras):
            if name in self._feeds:
                self._take(name, message, partial(contract.for_camera, trigger))

    def _take(self, name: str, message: Message, decode: Callable[[], Trigger]) -> None:
        feed = self._feeds[name]
        response = None
        try:
            response = self._check(message)
            trigger = decode()
            if trigger.id is not None and self._answer_again(name, trigger.id, response):
                return
            order = read_order(
                trigger,
                feed.camera,
                feed.buffer,
                message.received,
                kept=message.kept,
                response=response,
            )
            self._admit(feed, order)
        except ContractError as error:
            self._replies.rejected(name, error, response)

    def _check(self, message: Message) -> Response | None:
        """What concerns the message, not its payload; where else its answers go."""
        response = self._responses.of(message)
        if message.retained:
            raise ContractError(
                "retained",
                "a retained trigger would fire again; publish it without retain",
                contract.read_id(message.payload),
            )
        waited_ns = time.monotonic_ns() - message.received.mono_ns
        if message.expiry_s is not None and waited_ns > message.expiry_s * 10**9:
            raise ContractError(
                "stale", "its Message Expiry ran out here", contract.read_id(message.payload)
            )
        return response

    def _answer_again(self, camera: str, id: str, response: Response | None) -> bool:
        """Whether the id is known; its done is then published once more."""
        known = self._known.find(camera, id)
        if known is not None and known.done is None:
            self._settle()  # it may be of this very turn, and be refused yet
            known = self._known.find(camera, id)
        if known is None:
            return False
        self._replies.duplicate(camera, id, known, response)
        if response is not None and known.done is None:
            asked = self._known.ask(camera, id, response)
            self._counters.add("responses_dropped", int(not asked))
        return True
