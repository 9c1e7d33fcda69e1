"""framebuf trigger: ask a camera's buffer from the command line."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framebuf.cli.config_file import DEFAULT_PATH

if TYPE_CHECKING:
    from framebuf.config import Mqtt
    from framebuf.contract import Topics

EXIT = {"complete": 0, "partial": 3, "failed": 4}
REJECTED = 4
NO_ANSWER = 5


def add_to(app: typer.Typer) -> None:
    app.command("trigger")(trigger)


def trigger(
    camera: Annotated[str, typer.Argument(help="The camera's name.")],
    before: Annotated[str | None, typer.Option(help='"1.5s", or a number of frames.')] = None,
    after: Annotated[str | None, typer.Option(help='"500ms", or a number of frames.')] = None,
    frames: Annotated[int | None, typer.Option(help="At most so many, evenly spread.")] = None,
    stride: Annotated[int | None, typer.Option(help="Every k-th frame.")] = None,
    mode: Annotated[str | None, typer.Option(help="drain or window.")] = None,
    at: Annotated[str | None, typer.Option(help="The event's time, RFC 3339.")] = None,
    deadline: Annotated[str | None, typer.Option(help='"2s"')] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    meta: Annotated[str | None, typer.Option(help="JSON that comes back in done.")] = None,
    id: Annotated[str | None, typer.Option(help="Default: one is made up.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show the results, then done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="Whose broker and node to use.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The broker, instead of -c's.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port.")] = None,
    node: Annotated[str | None, typer.Option(help="The node's name.")] = None,
    base: Annotated[str | None, typer.Option(help="The base topic.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds of silence to give up after.")
    ] = 35.0,
) -> None:
    """Send a trigger to a camera, and show what comes back.

    Exit 0 complete (or accepted, without --wait), 3 partial, 4 failed or rejected, 5 no answer.

    Example: framebuf trigger gate --before 1.5s --after 8 --wait
    """
    import msgspec  # noqa: PLC0415 - --help stays quick

    from framebuf.service.caller import Caller, NoAnswerError  # noqa: PLC0415
    from framebuf.service.orders import made_up_id  # noqa: PLC0415

    logging.basicConfig(level="WARNING", format="framebuf: %(message)s")
    if math.isnan(timeout):
        raise typer.BadParameter("nan is no time", param_hint="--timeout")
    try:
        told = None if meta is None else msgspec.json.decode(meta)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--meta") from error
    asked = {
        "id": id or made_up_id(),
        "at": at,
        "before": _span(before),
        "after": _span(after),
        "max_frames": frames,
        "stride": stride,
        "mode": mode,
        "deadline": deadline,
        "priority": priority,
        "meta": told,
    }
    document = {key: value for key, value in asked.items() if value is not None}
    _check(document)
    mqtt, topics = _broker(config, camera, host, port, node, base)
    said: dict[str, Any] = {"ack": None, "results": [], "done": None}
    code = NO_ANSWER
    try:
        with Caller(mqtt, topics, camera) as caller:
            for answer in caller.trigger(document, timeout):
                if answer.leaf == "result":
                    said["results"].append(answer.document)
                else:
                    said[answer.leaf] = answer.document
                    code = _code(answer.document, code)
                if not json:
                    typer.echo(line_of(answer.leaf, answer.document))
                if not wait and answer.leaf == "ack":
                    break
    except NoAnswerError as error:
        typer.echo(f"framebuf: {error}", err=True)
    if json:
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    raise typer.Exit(code)


def line_of(leaf: str, document: dict[str, Any]) -> str:
    """One message of the contract as a line for people."""
    if leaf == "ack":
        error = document.get("error") or {}
        why = f" {error.get('code')}: {error.get('message')}" if error else ""
        return f"{document['status']} {document['id']}{why}"
    if leaf == "done":
        parts = [
            f"{document['event_type']}: {document['published']} of {document['requested']} frames "
            f"in {document['ms']['total']:.0f} ms"
        ]
        parts += [f"{count} missing: {reason}" for reason, count in document["missing"].items()]
        if document["already_claimed"]:
            parts.append(f"{document['already_claimed']} claimed by earlier drains")
        return ", ".join(parts)
    frame = document["frame"]
    return f"{document['index']:4d}  {frame['at']}  {frame['offset_ms']:+6d} ms  {found(document)}"


def found(document: dict[str, Any]) -> str:
    """What a result says, briefly."""
    error = document.get("error")
    failure = [f"error {error['code']}: {error['message']}"] if error else []
    if "detections" in document:
        objects = ", ".join(map(_object, document["detections"])) or "nothing"
        return "; ".join([objects, *failure])
    if failure:
        return failure[0]
    if "classes" in document:
        return ", ".join(f"{c['label']} {c['score']:.2f}" for c in document["classes"][:2])
    if "embedding" in document:
        return f"embedding of {document['embedding']['dim']}"
    return "tensors"


def _object(detection: dict[str, Any]) -> str:
    """Its label and score, and the best class that a second model gave it."""
    best = "".join(f" ({c['label']} {c['score']:.2f})" for c in detection.get("classes", [])[:1])
    return f"{detection['label']} {detection['score']:.2f}{best}"


def _code(document: dict[str, Any], code: int) -> int:
    if "event_type" in document:
        return EXIT[document["event_type"]]
    return {"accepted": 0, "duplicate": 0, "rejected": REJECTED}.get(document["status"], code)


def _span(text: str | None) -> str | int | None:
    if text is None or len(text) > 10 or not (text.isascii() and text.isdigit()):
        return text
    return int(text)


def _check(document: dict[str, Any]) -> None:
    """What the node would refuse unread is an error here; it could not say of whose trigger.

    Raises:
        BadParameter: the trigger is none.
    """
    import msgspec  # noqa: PLC0415

    from framebuf.contract import decode_trigger  # noqa: PLC0415
    from framebuf.errors import ContractError  # noqa: PLC0415

    try:
        decode_trigger(msgspec.json.encode(document))
    except (ContractError, UnicodeError, RecursionError) as error:
        raise typer.BadParameter(f"the trigger is none: {error}") from error


def _broker(
    config: Path | None,
    camera: str,
    host: str | None,
    port: int | None,
    node: str | None,
    base: str | None,
) -> tuple[Mqtt, Topics]:
    """From the options, else from a configuration file that is there, else the defaults.

    Raises:
        BadParameter: a name cannot be a topic's.
    """
    import msgspec  # noqa: PLC0415

    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf.contract import Topics  # noqa: PLC0415

    path = config or (DEFAULT_PATH if DEFAULT_PATH.exists() and not (host and node) else None)
    if path is not None:
        loaded = configuration.load(path).config
        mqtt, name = loaded.mqtt, loaded.node.name
    else:
        mqtt, name = configuration.Mqtt(), configuration.Node().name
    given = {"host": host, "port": port, "base": base}
    mqtt = msgspec.structs.replace(mqtt, **{k: v for k, v in given.items() if v is not None})
    for hint, value, kind in (
        ("CAMERA", camera, configuration.Name),
        ("--node", node or name, configuration.Name),
        ("--base", mqtt.base, configuration.Base),
        ("--host", mqtt.host, configuration.Host),
    ):
        try:
            msgspec.convert(value, kind)
        except (msgspec.ValidationError, UnicodeError) as error:
            raise typer.BadParameter(f"{value!a} cannot be one", param_hint=hint) from error
    return mqtt, Topics(mqtt.base, node or name)
