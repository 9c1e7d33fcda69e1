"""What a model file says of its own use, in rknn-toolkit2's custom string.

`rknn.config(custom_string=…)` keeps up to 1024 bytes in the file. Two forms are read:

    labels=person,car;task=detect;decoder=nanodet
    {"labels": ["person", "car"], "task": "detect", "decoder": "nanodet"}

The first has no escapes: a label with a comma or a semicolon needs the second.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CustomString:
    """A custom string, as far as it is understood. All is empty where it is somebody else's."""

    labels: tuple[str, ...] = ()
    """In class order."""
    task: str | None = None
    decoder: str | None = None
    other: dict[str, str] = field(default_factory=dict)
    """Names that are not framebuf's, and what they say."""

    @classmethod
    def parse(cls, text: str) -> CustomString:
        """Read either form. Text of another kind is no error, for any text may stand there."""
        text = text.strip("\0 \t\r\n")
        pairs = _document(text) if text.startswith("{") else _pairs(text)
        labels = pairs.pop("labels", ())
        task, decoder = pairs.pop("task", None), pairs.pop("decoder", None)
        return cls(
            _labels(labels),
            task if isinstance(task, str) else None,
            decoder if isinstance(decoder, str) else None,
            {name: value if isinstance(value, str) else json.dumps(value)
             for name, value in pairs.items()},
        )  # fmt: skip

    @property
    def text(self) -> str:
        """The custom string that says this, in the first form where that can."""
        said = {"labels": self.labels, "task": self.task, "decoder": self.decoder, **self.other}
        said = {name: value for name, value in said.items() if value}
        plain = {k: ",".join(v) if isinstance(v, tuple) else v for k, v in said.items()}
        text = ";".join(f"{name}={value}" for name, value in plain.items())
        if CustomString.parse(text) == self:
            return text
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate cannot be shown
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _pairs(text: str) -> dict[str, Any]:
    pairs = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals and name.strip().isidentifier():
            pairs[name.strip()] = value.strip()
    return pairs


def _labels(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [label.strip() for label in given.split(",")] if given else []
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given):
        return ()
    return tuple(given)
