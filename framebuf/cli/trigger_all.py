"""framebuf trigger --all: one trigger to every node below the base topic."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from framebuf.cli.answers import code_of, line_of
from framebuf.cli.text import printable
from framebuf.cli.where import FAILED, NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framebuf.config import Mqtt
    from framebuf.service.sighting import Sighting
    from framebuf.service.visitor import Visitor
    from framebuf.service.volley import Answered, Target, Volley

LOOK_S = 5.0


def trigger_all(
    mqtt: Mqtt,
    document: dict[str, Any],
    camera: str | None,
    *,
    wait: bool,
    json: bool,
    timeout_s: float,
) -> int:
    """Send it to all cameras of that name, or to all cameras; returns the exit status."""
    import msgspec  # noqa: PLC0415 - --help stays quick

    from framebuf.service.fleet import RETAINED, Fleet  # noqa: PLC0415
    from framebuf.service.visitor import NoAnswerError, Visitor  # noqa: PLC0415
    from framebuf.service.volley import ANSWERS, Volley  # noqa: PLC0415

    volley = Volley(mqtt.base, document["id"])
    nodes: list[Sighting] = []
    topics = tuple(f"{mqtt.base}/+/{leaf}" for leaf in (*RETAINED, *ANSWERS))
    try:
        with Visitor(mqtt, topics, retained=True) as visitor:
            fleet = Fleet(mqtt.base)
            # info is not waited for: an account that may trigger need not be allowed to read it
            fleet.look(visitor, LOOK_S, lambda node: node.status is not None)
            nodes = [node for node in fleet.nodes if _asked(node, camera)]
            online = {node.name: _asked(node, camera) for node in nodes if node.is_online}
            if not nodes:
                whose = f"a camera {camera}" if camera else "a camera"
                what = f"no node below {mqtt.base} on {visitor.where} has {whose}"
                typer.echo(f"framebuf: {what}", err=True)
            if not json:
                _say_offline(nodes)
            volley.fire(visitor, document, online)
            _gather(visitor, volley, wait=wait, quiet=json, timeout_s=timeout_s)
    except NoAnswerError as error:
        typer.echo(f"framebuf: {error}", err=True)
    if json:
        said = {"id": volley.id, "nodes": [_document(node, volley, camera) for node in nodes]}
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    return max((_code(node, volley, wait=wait) for node in nodes), default=NO_ANSWER)


def _asked(node: Sighting, camera: str | None) -> list[str]:
    """The cameras of a node that are meant."""
    return [name for name in node.cameras if camera in (None, name)]


def _gather(visitor: Visitor, volley: Volley, *, wait: bool, quiet: bool, timeout_s: float) -> None:
    """Hear the nodes out, and say a line for each that is through.

    Raises:
        NoAnswerError: nothing more came for `timeout_s`, though more was to come.
    """
    from framebuf.service.visitor import NoAnswerError  # noqa: PLC0415

    left = set(volley.targets)
    end = time.monotonic() + timeout_s
    while left:
        message = visitor.hear(end - time.monotonic())
        if message is None:
            _say(volley, left, quiet=quiet)
            raise NoAnswerError(
                f"{len(left)} of {len(volley.targets)} nodes have not answered "
                f"within {timeout_s:g} s of the last answer"
            )
        name = volley.take(message)
        if name is None:
            continue
        end = time.monotonic() + timeout_s
        if name in left and volley.targets[name].is_over(wait=wait):
            left.remove(name)
            _say(volley, [name], quiet=quiet)


def _say(volley: Volley, names: Iterable[str], *, quiet: bool) -> None:
    for name in sorted(names):
        if not quiet:
            typer.echo(f"{printable(name)}  {_line(volley.targets[name])}")


def _say_offline(nodes: Iterable[Sighting]) -> None:
    for node in nodes:
        if not node.is_online:
            typer.echo(f"{printable(node.name)}  offline: not asked")


def _line(target: Target) -> str:
    """What a node's cameras have answered, in one line."""
    if target.ack is not None:
        return _ack(target.ack)
    return "; ".join(f"{printable(name)} {_answer(a)}" for name, a in target.cameras.items())


def _answer(answered: Answered) -> str:
    if answered.done is not None:
        return printable(line_of("done", answered.done))
    if answered.ack is None:
        return "no answer"
    return _ack(answered.ack)


def _ack(ack: dict[str, Any]) -> str:
    """Without the id, which is the same for all."""
    return printable(line_of("ack", ack)).replace(f" {ack['id']}", "", 1)


def _code(node: Sighting, volley: Volley, *, wait: bool) -> int:
    target = volley.targets.get(node.name)
    if target is None:
        return NO_ANSWER
    if target.ack is not None:
        return FAILED
    return max(code_of(a.done, a.ack, wait=wait) for a in target.cameras.values())


def _document(node: Sighting, volley: Volley, camera: str | None) -> dict[str, Any]:
    target = volley.targets.get(node.name)
    silent = {name: {"ack": None, "done": None} for name in _asked(node, camera)}
    heard = {
        name: {"ack": answered.ack, "done": answered.done}
        for name, answered in (target.cameras if target else {}).items()
    }
    return {
        "node": node.name,
        "status": node.status,
        "ack": target.ack if target else None,
        "cameras": silent | heard,
    }
