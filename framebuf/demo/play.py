"""The demo itself: triggers sent, answers shown, pictures written."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from framebuf.demo import scene
from framebuf.demo.album import Album
from framebuf.demo.gallery import Gallery
from framebuf.demo.screen import Screen
from framebuf.demo.stage import Stage, set_up
from framebuf.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from framebuf.service.caller import Answer, Caller

EVERY_S = 5.0
"""From one trigger to the next."""
ANSWER_S = 40.0
"""Longer than the trigger's own deadline."""
FILL_S = 10.0
"""For the camera's first frames."""
ROUND_S = 30.0
"""For the second round of the pictures, once some are answered: a busy machine is slow to come."""

Document = dict[str, Any]


@dataclass(slots=True)
class Exchange:
    """One trigger and what came back."""

    trigger: Document
    results: list[Document] = field(default_factory=list)
    done: Document = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    error: Document | None = None
    """Code and message, where the trigger was rejected."""

    def take(self, answer: Answer) -> bool:
        """Keep an answer; True when it was the last."""
        if answer.leaf == "result":
            self.results.append(answer.document)
        elif answer.leaf == "done":
            self.done = answer.document
        elif answer.leaf == "ack":
            self.error = answer.document.get("error")
        return bool(self.done or self.error)


def once(
    source: str | None, out: Path, *, broker: str | None, quiet: bool, models: Sequence[str]
) -> Exchange:
    """One trigger, its results shown as they come unless `quiet`. Main thread only.

    `models` is one of `scene.CHOICES`.

    Raises:
        FramebufError: something is missing, or did not start.
    """
    screen = Screen(quiet=quiet)
    with ExitStack() as stack:
        stage = _open(stack, screen, source, broker, models)
        album = _album(stage, screen, out)
        exchange = Exchange(_trigger(1))
        screen.sent(stage.caller.topic, exchange.trigger)
        gallery = Gallery()
        for answer in _answers(stage.caller, exchange):
            _show(screen, gallery, answer, own=True)
        _write(album, screen, exchange)
    return exchange


def for_ever(source: str | None, out: Path, *, broker: str | None, models: Sequence[str]) -> None:
    """A trigger every few seconds, anybody's answered and shown, until KeyboardInterrupt.

    Raises:
        FramebufError: as `once`.
        KeyboardInterrupt: before all runs.
    """
    screen = Screen(quiet=False)
    with ExitStack() as stack:
        stage = _open(stack, screen, source, broker, models)
        album = _album(stage, screen, out)
        screen.invite(stage)
        try:
            _serve(stage.caller, screen, album)
        except KeyboardInterrupt:
            screen.say("stopping")


def _open(
    stack: ExitStack,
    screen: Screen,
    source: str | None,
    broker: str | None,
    models: Sequence[str],
) -> Stage:
    with screen.status("starting") as status:
        stage = stack.enter_context(set_up(source, broker, status.update, models))
        status.update("filling the buffer")
        _fill(stage.caller)
    screen.introduce(stage)
    return stage


def _album(stage: Stage, screen: Screen, out: Path) -> Album | None:
    album = Album(out, stage.source)
    if album.possible:
        return album
    screen.say("No pictures are written: a live stream's frames cannot be read again.")
    return None


def _fill(caller: Caller) -> None:
    """Wait until a trigger gets all it asks for.

    The largest picture makes a new ring, and what was in the old one is lost: the window has to
    lie in the pictures' second round.

    Raises:
        SourceError: no frame came.
    """
    began = time.monotonic()
    probes = 0
    while True:
        probes += 1
        probe = Exchange(_trigger(probes) | {"id": f"warm-up-{probes}"})
        for _ in _answers(caller, probe):
            pass
        seqs = [result["frame"]["seq"] for result in probe.results]
        if seqs and min(seqs) >= scene.FRAMES and not probe.done.get("missing"):
            return
        if time.monotonic() - began > (ROUND_S if seqs else FILL_S):
            break
        time.sleep(0.1)
    if not probe.results:
        why = probe.error["message"] if probe.error else "the daemon did not answer"
        raise SourceError(f"the camera gave no frames within {FILL_S:g} s: {why}")


def _serve(caller: Caller, screen: Screen, album: Album | None) -> None:
    open_ones: dict[str, Exchange] = {}
    gallery = Gallery()
    sent, due = 0, time.monotonic()
    while True:
        if time.monotonic() >= due:
            due += EVERY_S
            sent += 1
            trigger = _trigger(sent)
            open_ones[trigger["id"]] = Exchange(trigger)
            screen.sent(caller.topic, trigger)
            caller.send(trigger)
        answer = caller.hear(due - time.monotonic())
        if answer is None or answer.leaf == "status":
            continue
        id = answer.document["id"]
        _show(screen, gallery, answer, own=id in open_ones)
        exchange = open_ones.setdefault(id, Exchange({"id": id}))
        if exchange.take(answer):
            del open_ones[id]
            _write(album, screen, exchange)


def _trigger(number: int) -> Document:
    return {"id": f"demo-{number}", "mode": "window", "before": scene.FRAMES}


def _answers(caller: Caller, exchange: Exchange) -> Iterator[Answer]:
    """Send the trigger; yield what comes back until the last, or until there has been silence."""
    caller.send(exchange.trigger)
    while (answer := caller.hear(ANSWER_S)) is not None:
        if answer.document.get("id") != exchange.trigger["id"]:
            continue
        yield answer
        if exchange.take(answer):
            return


def _show(screen: Screen, gallery: Gallery, answer: Answer, *, own: bool) -> None:
    if answer.leaf == "ack":
        screen.acknowledged(answer.document, own=own)
    elif answer.leaf == "result":
        screen.result(answer.document, gallery.meet(answer.document))
    else:
        screen.done(answer.document)


def _write(album: Album | None, screen: Screen, exchange: Exchange) -> None:
    if album is not None and exchange.results:
        exchange.files = album.write(exchange.results)
        screen.files(exchange.files)
