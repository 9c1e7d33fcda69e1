"""What a node publishes, held against its AsyncAPI document: topics, QoS, retain, payloads."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastjsonschema

from framebuf.contract.asyncapi import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.service.messages import Message

DOCUMENT = document("test", base="B")
LEVEL = r"[^/]+"


@dataclass(frozen=True)
class Channel:
    """One topic that nodes write on, or hear."""

    topic: re.Pattern[str]
    """Below the base topic and the node's name."""
    sent: bool
    qos: int
    retain: bool
    text: tuple[str, ...] | None
    """What it may say, where it is no JSON."""
    is_json: bool
    validators: tuple[Callable[[Any], Any], ...]
    """One of them must take it."""


def faults_of_node(messages: Iterable[Message], prefix: str) -> list[str]:
    """What is wrong with messages on `<base>/<node>/…`; triggers, which anybody sends, aside."""
    found = []
    for message in messages:
        if message.topic.startswith(prefix):
            said = "; ".join(_faults(message, message.topic.removeprefix(prefix)))
            if said:
                found.append(f"{message.topic}: {said}: {message.payload[:300]!r}")
    return found


def _faults(message: Message, topic: str) -> Iterator[str]:
    channel = next((one for one in channels() if one.topic.fullmatch(topic)), None)
    if channel is None:
        yield "no channel has this topic"
        return
    if not channel.sent:
        return
    if message.qos not in (None, channel.qos):
        yield f"QoS {message.qos}, not {channel.qos}"
    if message.retain and not channel.retain:
        yield "it is retained"
    if channel.text is not None and message.payload.decode("utf-8", "replace") not in channel.text:
        yield f"it is none of {channel.text}"
    if channel.is_json:
        wrong = [_wrong(message.document, validate) for validate in channel.validators]
        if all(wrong):
            yield " and ".join(map(str, wrong))


def _wrong(document: Any, validate: Callable[[Any], Any]) -> str | None:
    try:
        validate(document)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error)[:200]
    return None


@functools.cache
def channels() -> tuple[Channel, ...]:
    """Compiled once."""
    return tuple(_channel(operation) for operation in DOCUMENT["operations"].values())


def _channel(operation: dict[str, Any]) -> Channel:
    described = DOCUMENT["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
    topic = described["address"].removeprefix("B/{node}/")
    messages = [DOCUMENT["components"]["messages"][name] for name in described["messages"]]
    payloads = [message["payload"] for message in messages]
    mqtt = operation["bindings"]["mqtt"]
    texts = [text for payload in payloads for text in payload.get("enum", ())]
    is_json = all("contentType" not in message for message in messages)
    return Channel(
        re.compile(re.sub(r"\\{\w+\\}", LEVEL, re.escape(topic))),
        operation["action"] == "send",
        mqtt["qos"],
        mqtt["retain"],
        tuple(texts) or None,
        is_json,
        tuple(map(_compiled, payloads)) if is_json else (),
    )


def _compiled(schema: dict[str, Any]) -> Callable[[Any], Any]:
    """To Python: each message of each test goes through it, and jsonschema takes a millisecond."""
    whole = {"components": DOCUMENT["components"], **schema}
    whole["$schema"] = "http://json-schema.org/draft-07/schema"
    found: Callable[[Any], Any] = fastjsonschema.compile(whole, use_default=False)
    return found
