"""What the demo tells a person: what runs, each result as it comes, and how to join in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from framebuf.capture.source import without_credentials
from framebuf.demo import scene
from framebuf.demo.album import title
from framebuf.demo.broker import HOST
from framebuf.service import drawing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.status import Status

    from framebuf.demo.gallery import Likeness
    from framebuf.demo.stage import Stage

Document = dict[str, Any]
MOST = 4
"""Findings of one frame that are shown; the rest is counted."""
_OUTCOME = {"complete": "bold green", "partial": "bold yellow", "failed": "bold red"}


class Screen:
    """Lines, coloured on a terminal and plain elsewhere. One thread."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: standard output is for a document; only a spinner, on standard error."""
        self._quiet = quiet
        self._console = Console(stderr=quiet, highlight=False, markup=False, soft_wrap=True)

    def status(self, text: str) -> Status:
        """A spinner while its block runs; nothing where there is no terminal."""
        return self._console.status(text)

    def introduce(self, stage: Stage) -> None:
        """Say what runs."""
        shipped = stage.source == str(scene.PHOTOS)
        source = "the sample pictures" if shipped else without_credentials(stage.source)
        self._say(Text("A camera, an MQTT broker and the daemon, on this machine alone:", "bold"))
        self._say(
            f"  camera   {source}, {scene.RATE} frames a second; "
            f"the last {scene.BUFFER_S} s are always in memory"
        )
        self._say(f"  model    NanoDet (COCO, 80 classes) on the CPU, batches of {_sizes(stage)}")
        if len(stage.models) > 1:
            self._say(
                f"           then MobileNetV2's embedding of each person found, "
                f"in batches of {_sizes(stage)}"
            )
        self._say(f"  broker   {stage.broker} on {HOST}, port {stage.port}")
        self._say(
            f"At each trigger the last {scene.FRAMES} frames go through the model: "
            "a result for each, then done."
        )
        self._say("")

    def invite(self, stage: Stage) -> None:
        """Say how to send a trigger oneself."""
        self._say("Trigger it yourself, from another terminal:")
        pub = f"mosquitto_pub -V mqttv5 -h {HOST} -p {stage.port} -t {stage.caller.topic} -n"
        tool = f"framebuf trigger {scene.CAMERA} --wait -c {stage.configuration}"
        self._say(Text(f"  {pub}\n  {tool}", "cyan"))
        self._say("Ctrl-C ends it and leaves nothing behind but the pictures.")
        self._say("")

    def sent(self, topic: str, trigger: Document) -> None:
        """A trigger went out."""
        text = msgspec.json.encode(trigger).decode()
        self._say(Text.assemble((f"→ {topic} ", "bold"), (text, "cyan")))

    def acknowledged(self, ack: Document, *, own: bool) -> None:
        """A trigger was answered; of our own only if it was rejected."""
        if ack["status"] == "rejected":
            error = ack["error"]
            self._say(Text(f"  rejected, {error['code']}: {error['message']}", "red"))
        elif not own:
            self._say(Text(f"→ your trigger {ack['id']}: {ack['status']}", "bold"))

    def result(self, result: Document, alike: Sequence[Likeness | None] = ()) -> None:
        """One frame was answered; `alike` is, for each detection, whom it looks like."""
        found = result.get("detections", [])
        for at, finding in enumerate(found[:MOST] or [None]):
            self._say(_head(result, first=at == 0) + _finding(result, finding) + _place(result, at))
            if finding is not None and at < len(alike) and (other := alike[at]) is not None:
                self._say(
                    Text(f"{'':22}most like the one in {other.where}: {other.cosine:.2f}", "dim")
                )
        if len(found) > MOST:
            self._say(Text(f"{'':22}… and {len(found) - MOST} more", "dim"))
        if found and "error" in result:
            self._say(Text(f"{'':22}") + _error(result))

    def done(self, done: Document) -> None:
        """A trigger was answered whole."""
        outcome = done["event_type"]
        counts = ", ".join(f"{count}× {label}" for label, count in done["summary"].items())
        missing = "".join(f", {count} missing: {why}" for why, count in done["missing"].items())
        failed = f", {done['failed']} failed" if done["failed"] else ""
        self._say(
            Text.assemble(
                (f"  {outcome}", _OUTCOME[outcome]),
                f": {done['published']} of {done['requested']} frames{missing}{failed}"
                f" in {done['ms']['total']:.0f} ms; {counts or 'nothing found'}",
            )
        )

    def files(self, files: Sequence[Path]) -> None:
        """Pictures were written."""
        if files:
            self._say(f"  {len(files) - 1} annotated pictures and {files[-1]}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self._say(text)

    def _say(self, text: Text | str) -> None:
        if not self._quiet:
            shown = Text(text) if isinstance(text, str) else text
            shown.rstrip()
            self._console.print(shown)


def _head(result: Document, *, first: bool) -> Text:
    name = title(result)
    shown = name if len(name) <= 16 else name[:15] + "…"
    return Text(f"  {result['index']:>2} {shown:<17}" if first else " " * 22)


def _finding(result: Document, finding: Document | None) -> Text:
    """Label, score, box; 43 columns."""
    if finding is None and "error" in result:
        return _error(result)
    if finding is None:
        return Text(f"{'nothing':<43}", "dim")
    blue, green, red = drawing.colour(finding["class_id"])
    x, y, width, height = (round(side) for side in finding["box"])
    box = f"{width}×{height} at {x},{y}"
    return Text.assemble(
        (f"{finding['label']:<14} ", f"bold rgb({red},{green},{blue})"),
        f"{finding['score']:.2f}  {box:<22}",
    )


def _error(result: Document) -> Text:
    return Text(f"{result['error']['code']}: {result['error']['message']}", "red")


def _place(result: Document, at: int) -> Text:
    """Which row of which batch, and that batch's milliseconds; on a frame's first line."""
    if at or "batch" not in result:
        return Text("")
    batch, infer = result["batch"], result["ms"]["infer"]
    row = f"row {batch['slot'] + 1} of {batch['size']}"
    return Text(f"{row:<12}{infer:>6.1f} ms", "dim")


def _sizes(stage: Stage) -> str:
    *few, most = stage.batch_sizes
    return f"{', '.join(map(str, few))} or {most}"
