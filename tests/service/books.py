"""Holds the books of a node from MQTT alone, and says what does not add up.

    with Books.open(port, node="gate-7") as books:
        id = books.send_trigger("gate", {"before": 8})
        books.wait_done(id)
        books.fence("gate")
        request = books.check_request(id)

What is checked stands in `rules.py`, `shapes.py` and `asyncapi.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Self

from tests.service.asyncapi import faults_of_node
from tests.service.listener import TIMEOUT_S, BooksError, Listener
from tests.service.messages import Document, Message, Request
from tests.service.rules import drain_faults, rejection_faults, request_faults, retain_faults
from tests.service.shapes import faults_of

SPOKEN = ("ack", "result", "done")


class Books(Listener):
    """Hears one node; the checks judge what has come until they are called."""

    def __init__(
        self,
        port: int,
        node: str,
        base: str,
        host: str = "127.0.0.1",
        also: Sequence[str] = (),
        qos: int = 1,
    ) -> None:
        super().__init__(host, port, [f"{base}/{node}/#", *also], qos)
        self.node = node
        self.strangers: set[str] = set()
        """Ids that others write on the node's topics, without being asked."""
        self.prefix = f"{base}/{node}/"

    @classmethod
    def open(
        cls,
        port: int,
        node: str,
        base: str = "framebuf",
        host: str = "127.0.0.1",
        also: Sequence[str] = (),
        qos: int = 1,
    ) -> Self:
        """Listen to `<base>/<node>/#` and to the filters of `also` (Response Topics)."""
        books = cls(port, node, base, host, also, qos)
        books.start()
        return books

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        if raised[0] is None:
            self.check_schemas()

    def check_schemas(self) -> None:
        """Hold all that the node has said against its AsyncAPI document; `with` ends in this."""
        heard = (
            message
            for message in self.messages
            if (message.topic, message.payload) not in self.published
            and message.id not in self.strangers
        )
        _raise("schemas", faults_of_node(heard, self.prefix))

    def __repr__(self) -> str:
        dones = sum(m.leaf == "done" for m in self.messages)
        return f"<Books {self.prefix} {len(self.messages)} messages, {dones} done>"

    def send_trigger(
        self,
        camera: str | None,
        document: Document | bytes | None = None,
        *,
        retain: bool = False,
        properties: dict[str, Any] | None = None,
    ) -> str:
        """Publish a trigger for a camera, or for the node without one; its id, made if need be.

        Bytes go out as they are and None as an empty payload: the id is "" then.
        """
        payload, id = document or b"", ""
        if isinstance(payload, dict):
            payload = {"id": f"books-{uuid.uuid4().hex}", **payload}
            id, payload = str(payload["id"]), json.dumps(payload).encode()
        topic = f"{self.prefix}{camera}/trigger" if camera else f"{self.prefix}trigger"
        self.publish(topic, payload, retain=retain, properties=properties)
        return id

    def wait_text(self, topic: str, text: str, timeout_s: float = TIMEOUT_S) -> Message:
        """Until the newest message of a plain-text topic, as `gate/availability`, says so."""

        def newest_says(messages: Sequence[Message]) -> Message | None:
            newest = next((m for m in reversed(messages) if m.topic == self.prefix + topic), None)
            return newest if newest and newest.payload == text.encode() else None

        return self.wait_for(newest_says, timeout_s, f"{topic} {text}")

    def wait_subscribed(self, after: int) -> None:
        """Until the node hears triggers on a connection that it made after a message's order.

        Its greeting goes out behind its subscriptions, and its log tells of neither.
        """
        topic = f"{self.prefix}status"
        self.wait_message(
            lambda m: m.topic == topic and m.payload == b"online", what="a greeting", after=after
        )

    def wait_ack(self, id: str, camera: str | None = None, **wait: Any) -> Message:
        """The first ack of an id, or the first after the order of `after`."""
        return self._wait("ack", id, camera, **wait)

    def wait_done(self, id: str, camera: str | None = None, **wait: Any) -> Message:
        """The first done of an id, or the first after the order of `after`."""
        return self._wait("done", id, camera, **wait)

    def wait_results(
        self, id: str, count: int, camera: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> tuple[Message, ...]:
        """Until so many results of an id have come."""

        def enough(messages: Sequence[Message]) -> tuple[Message, ...] | None:
            found = Request.of(messages, id, camera).results
            return found if len(found) >= count else None

        return self.wait_for(enough, timeout_s, f"{count} results of {id}")

    def fence(self, camera: str, timeout_s: float = TIMEOUT_S) -> None:
        """Until all has come that the daemon published before now: it must refuse one trigger.

        One connection keeps its order, so what it said earlier arrives earlier.
        """
        id = self.send_trigger(camera, {"id": f"fence-{uuid.uuid4().hex}", "no_such_field": 1})
        self.wait_ack(id, camera, timeout_s=timeout_s)

    def request(self, id: str, camera: str | None = None) -> Request:
        """All that has been said about an id; of a Response Topic nothing."""
        return Request.of(self._own(), id, camera)

    def check_request(
        self,
        id: str,
        camera: str | None = None,
        *,
        duplicates: int = 0,
        is_redelivered: bool = False,
    ) -> Request:
        """Hold an accepted id against the whole contract; what was said about it."""
        request = self.request(id, camera)
        faults = request_faults(
            request,
            self._trigger(id, camera),
            duplicates=duplicates,
            is_redelivered=is_redelivered,
        )
        _raise(f"request {id}", faults)
        return request

    def check_rejected(self, id: str, code: str, camera: str | None = None) -> Message:
        """Hold a refused id: one ack with this code, nothing else; that ack."""
        request = self.request(id, camera)
        _raise(f"request {id}", rejection_faults(request, code))
        return request.acks[0]

    def check_drains(self, ids: Iterable[str]) -> None:
        """Among these drains, no frame was answered twice."""
        wanted = set(ids)
        results = [m.document for m in self._own() if m.leaf == "result" and m.id in wanted]
        _raise("drains", drain_faults(results))

    def check_everything(self, *, is_redelivered: bool = False) -> list[Request]:
        """Hold all that has been heard: every id ended as it should, nothing is left over."""
        own = self._own()
        spoken = [m for m in own if m.leaf in SPOKEN]
        faults = retain_faults(own)
        faults += [f for m in spoken if m.id is None for f in faults_of(m.leaf, m.document)]
        requests = []
        for camera, id in dict.fromkeys((m.camera, m.id) for m in spoken if m.id is not None):
            request = self.request(id, camera)
            statuses = [m.document.get("status") for m in request.acks]
            if statuses and set(statuses) == {"rejected"}:
                found = rejection_faults(request)
            else:
                requests.append(request)
                found = request_faults(
                    request,
                    self._trigger(id, camera),
                    duplicates=statuses.count("duplicate"),
                    is_redelivered=is_redelivered,
                )
            faults += [f"{camera} {id}: {fault}" for fault in found]
        _raise("books", faults)
        return requests

    def _own(self) -> list[Message]:
        return [m for m in self.messages if m.topic.startswith(self.prefix)]

    def _trigger(self, id: str, camera: str | None) -> Document | None:
        """The first trigger with this id, whoever sent it."""
        for m in self._own():
            if m.leaf == "trigger" and m.id == id and m.camera in (camera or m.camera, self.node):
                found: Document = m.document
                return found
        return None

    def _wait(self, leaf: str, id: str, camera: str | None, **wait: Any) -> Message:
        def matches(m: Message) -> bool:
            return m.leaf == leaf and m.id == id and camera in (None, m.camera)

        return self.wait_message(matches, what=f"{leaf} of {id}", **wait)


def _raise(of: str, faults: list[str]) -> None:
    if faults:
        raise BooksError("\n  ".join([f"{of}: {len(faults)} faults", *faults]))
