"""Topics and payloads of the MQTT contract, typed. The JSON Schemas come out of these types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framebuf.contract.messages import (
    Ack,
    CameraInfo,
    Done,
    DoneTimings,
    FramePlace,
    Image,
    Info,
    LaneStats,
    ModelInfo,
    ModelStats,
    Outcome,
    Reason,
    Result,
    Stats,
    WindowTimes,
    encode,
    schema_of,
    utc_text,
)
from framebuf.contract.sizes import (
    TooLarge,
    fit_result,
    smaller_ack,
    smaller_done,
    smaller_result,
    smaller_stats,
)
from framebuf.contract.triggers import (
    MAX_AHEAD_NS,
    Images,
    NodeTrigger,
    Trigger,
    decode_node_trigger,
    decode_trigger,
    for_camera,
    read_id,
)

if TYPE_CHECKING:
    import msgspec

__all__ = [
    "MAX_AHEAD_NS",
    "MESSAGES",
    "Ack",
    "CameraInfo",
    "Done",
    "DoneTimings",
    "FramePlace",
    "Image",
    "Images",
    "Info",
    "LaneStats",
    "ModelInfo",
    "ModelStats",
    "NodeTrigger",
    "Outcome",
    "Reason",
    "Result",
    "Stats",
    "TooLarge",
    "Topics",
    "Trigger",
    "WindowTimes",
    "decode_node_trigger",
    "decode_trigger",
    "encode",
    "fit_result",
    "for_camera",
    "read_id",
    "schemas",
    "smaller_ack",
    "smaller_done",
    "smaller_result",
    "smaller_stats",
    "utc_text",
]


@dataclass(frozen=True, slots=True)
class Topics:
    """`B` is `<base>/<node>`, `C` is `B/<camera>`."""

    base: str
    node: str

    @property
    def node_root(self) -> str:
        return f"{self.base}/{self.node}"

    def of_node(self, leaf: str) -> str:
        return f"{self.base}/{self.node}/{leaf}"

    def of_camera(self, camera: str, leaf: str) -> str:
        return f"{self.base}/{self.node}/{camera}/{leaf}"


MESSAGES: tuple[type[msgspec.Struct], ...] = (
    Trigger,
    NodeTrigger,
    Ack,
    Result,
    Done,
    TooLarge,
    Info,
    Stats,
)


def schemas() -> dict[str, Any]:
    """JSON Schemas (2020-12) of all messages, by the type's name, in one document."""
    defs = schema_of(MESSAGES, "#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defs}
