"""The contract as an AsyncAPI 3.0 document, out of the same types as everything else.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from framebuf.contract.messages import Ack, Done, Info, Result, Stats, schema_of
from framebuf.contract.sizes import TooLarge
from framebuf.contract.triggers import NodeTrigger, Trigger

Kind = type[msgspec.Struct] | str
"""A JSON message's type, or the name of one that is none, in `_PLAIN`."""

BINDING = "0.2.0"
"""Of MQTT: https://github.com/asyncapi/bindings/tree/master/mqtt"""


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic of the contract, below `<base>/{node}`."""

    key: str
    address: str
    action: Literal["send", "receive"]
    """What the node does."""
    kinds: tuple[Kind, ...]
    summary: str
    qos: int = 1
    retain: bool = False


CHANNELS = (
    Channel(
        "nodeStatus", "status", "send", ("State",), retain=True,
        summary="Whether the node is connected; offline is its last will, after 10 s.",
    ),
    Channel("nodeInfo", "info", "send", (Info,), "What the node is and has.", retain=True),
    Channel("nodeStats", "stats", "send", (Stats,), "The counters, once a minute.", qos=0),
    Channel(
        "nodeTrigger", "trigger", "receive", (NodeTrigger,),
        "A trigger for several cameras: one request each.",
    ),
    Channel("nodeAck", "ack", "send", (Ack,), "A trigger for several cameras is rejected."),
    Channel(
        "cameraAvailability", "{camera}/availability", "send", ("State",), retain=True,
        summary="Whether the camera's frames are fresh.",
    ),
    Channel(
        "cameraTrigger", "{camera}/trigger", "receive", (Trigger,),
        "An event: the frames around it are answered. An empty payload is a trigger too.",
    ),
    Channel("cameraAck", "{camera}/ack", "send", (Ack,), "What became of a trigger."),
    Channel(
        "cameraResult", "{camera}/result", "send", (Result, TooLarge),
        "One for each frame, in capture order.",
    ),
    Channel("cameraDone", "{camera}/done", "send", (Done, TooLarge), "Ends an accepted id."),
    Channel(
        "cameraImage", "{camera}/image/{id}/{index}", "send", ("Picture",), qos=0,
        summary="A frame with its boxes, before the result that it belongs to, if asked for.",
    ),
    Channel(
        "cameraLastImage", "{camera}/last_image", "send", ("Picture",), qos=0, retain=True,
        summary="The newest annotated frame, if switched on.",
    ),
)  # fmt: skip

PARAMETERS = {
    "node": "The node's name, [node] name in its configuration.",
    "camera": "The camera's name, [[camera]] name in the configuration.",
    "id": "The trigger's id.",
    "index": "The frame's place in the window, from 0.",
}

_PLAIN: dict[str, dict[str, Any]] = {
    "State": {
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["online", "offline"]},
    },
    "Picture": {
        "contentType": "image/jpeg",
        "payload": {"type": "string", "format": "binary", "description": "A JPEG file."},
    },
}
_RESPONSES: tuple[Kind, ...] = (Ack, Result, Done, TooLarge)


def document(
    version: str, base: str = "framebuf", host: str = "localhost", port: int = 1883
) -> dict[str, Any]:
    """For nodes of this version below `base` on the broker `host`."""
    kinds = dict.fromkeys(kind for channel in CHANNELS for kind in channel.kinds)
    addresses = {channel.key: f"{base}/{{node}}/{channel.address}" for channel in CHANNELS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "framebuf",
            "version": version,
            "description": "A camera's last frames go through a neural network when a trigger "
            "says so; an answer for each frame comes back. Fields are only ever added.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server(base, host, port)},
        "channels": {
            **{c.key: _channel(c.kinds, addresses[c.key], c.summary) for c in CHANNELS},
            "response": _channel(_RESPONSES, None, "A trigger's Response Topic (MQTT 5), if any."),
        },
        "operations": {_operation_key(channel): _operation(channel) for channel in CHANNELS},
        "components": {
            "parameters": {name: {"description": text} for name, text in PARAMETERS.items()},
            "messages": {_name(kind): _message(kind) for kind in kinds},
            "schemas": _schemas([kind for kind in kinds if not isinstance(kind, str)]),
        },
    }


def _server(base: str, host: str, port: int) -> dict[str, Any]:
    will = {"topic": f"{base}/{{node}}/status", "qos": 1, "message": "offline", "retain": True}
    return {
        "host": f"{host}:{port}",
        "protocol": "mqtt",
        "protocolVersion": "5",
        "bindings": {"mqtt": {"lastWill": will, "bindingVersion": BINDING}},
    }


def _channel(kinds: tuple[Kind, ...], address: str | None, summary: str) -> dict[str, Any]:
    named = [name for name in PARAMETERS if f"{{{name}}}" in (address or "")]
    return {
        "address": address,
        "summary": summary,
        "messages": {_name(k): {"$ref": f"#/components/messages/{_name(k)}"} for k in kinds},
        **({"parameters": {n: {"$ref": f"#/components/parameters/{n}"} for n in named}}
           if named else {}),
    }  # fmt: skip


def _operation_key(channel: Channel) -> str:
    return channel.action + channel.key[:1].upper() + channel.key[1:]


def _operation(channel: Channel) -> dict[str, Any]:
    bindings = {"qos": channel.qos, "retain": channel.retain, "bindingVersion": BINDING}
    found: dict[str, Any] = {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.key}"},
        "summary": channel.summary,
        "bindings": {"mqtt": bindings},
    }
    if channel.action == "receive":
        address = {"location": "$message.header#/responseTopic"}
        found["reply"] = {"address": address, "channel": {"$ref": "#/channels/response"}}
    return found


def _message(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, str):
        return {"name": kind, **_PLAIN[kind]}
    found: dict[str, Any] = {
        "name": kind.__name__,
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
    if "id" in kind.__struct_fields__:
        found["correlationId"] = {"location": "$message.payload#/id"}
    if issubclass(kind, Trigger | NodeTrigger):
        topic = {"type": "string", "description": "Response Topic of MQTT 5, if allowed."}
        found["headers"] = {"type": "object", "properties": {"responseTopic": topic}}
    return found


def _schemas(kinds: list[type[msgspec.Struct]]) -> dict[str, Any]:
    """As AsyncAPI has them, whose own schemas go beyond draft 07 of JSON Schema."""
    found: dict[str, Any] = _as_draft_07(schema_of(kinds, "#/components/schemas/{name}"))
    for kind in kinds:
        if "v" in kind.__struct_fields__:  # it has a default, and is always sent
            found[kind.__name__]["required"].insert(0, "v")
    return found


def _as_draft_07(schema: Any) -> Any:
    """With tuples as draft 07 writes them."""
    if isinstance(schema, list):
        return [_as_draft_07(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_draft_07(one) for key, one in schema.items()}
    if "prefixItems" in found:
        found["additionalItems"] = found["items"]
        found["items"] = found.pop("prefixItems")
    return found


def _name(kind: Kind) -> str:
    return kind if isinstance(kind, str) else kind.__name__
