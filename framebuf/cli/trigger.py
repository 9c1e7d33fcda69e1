"""framebuf trigger: ask a camera's buffer from the command line."""

from __future__ import annotations

import logging
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framebuf.cli import where
from framebuf.cli.answers import code_of, line_of

if TYPE_CHECKING:
    from framebuf.config import Mqtt
    from framebuf.contract import Topics


def add_to(app: typer.Typer) -> None:
    app.command("trigger")(trigger)


def trigger(
    camera: Annotated[
        str | None, typer.Argument(help="The camera's name; with --all, none means every camera.")
    ] = None,
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
    config: where.ConfigOption = None,
    host: where.HostOption = None,
    port: where.PortOption = None,
    node: where.NodeOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every node below the base topic, at once.")
    ] = False,
    base: where.BaseOption = None,
    timeout: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds of silence to give up after.")
    ] = 35.0,
) -> None:
    """Send a trigger to a camera, and show what comes back.

    Exit 0 complete (or accepted, without --wait), 3 partial, 4 failed or rejected, 5 no answer.
    With --all: to that camera of each node that has one, or to all their cameras; a line a node,
    and the worst of their exit statuses. A node that is offline is not asked, and counts as 5.

    Example: framebuf trigger gate --before 1.5s --after 8 --wait

    Example: framebuf trigger --all --wait --host broker.local
    """
    from framebuf.service.orders import made_up_id  # noqa: PLC0415 - --help stays quick

    logging.basicConfig(level="WARNING", format="framebuf: %(message)s")
    if math.isnan(timeout):
        raise typer.BadParameter("nan is no time", param_hint="--timeout")
    if camera is None and not every:
        raise typer.BadParameter("name a camera, or give --all", param_hint="CAMERA")
    if every and node is not None:
        raise typer.BadParameter("goes not with --all", param_hint="--node")
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
        "meta": _meta(meta),
    }
    document = {key: value for key, value in asked.items() if value is not None}
    _check(document)
    mqtt, topics = where.broker_of(config, host, port, node, base, camera=camera, any_node=every)
    if camera is None or every:
        from framebuf.cli.trigger_all import trigger_all  # noqa: PLC0415

        code = trigger_all(mqtt, document, camera, wait=wait, json=json, timeout_s=timeout)
    else:
        code = _trigger_one(mqtt, topics, document, camera, wait=wait, json=json, timeout_s=timeout)
    raise typer.Exit(code)


def _trigger_one(
    mqtt: Mqtt,
    topics: Topics,
    document: dict[str, Any],
    camera: str,
    *,
    wait: bool,
    json: bool,
    timeout_s: float,
) -> int:
    import msgspec  # noqa: PLC0415

    from framebuf.service.caller import Caller  # noqa: PLC0415
    from framebuf.service.visitor import NoAnswerError  # noqa: PLC0415

    said: dict[str, Any] = {"ack": None, "results": [], "done": None}
    try:
        with Caller(mqtt, topics, camera) as caller:
            for answer in caller.trigger(document, timeout_s):
                if answer.leaf == "result":
                    said["results"].append(answer.document)
                else:
                    said[answer.leaf] = answer.document
                if not json:
                    typer.echo(line_of(answer.leaf, answer.document))
                if not wait and answer.leaf == "ack":
                    break
    except NoAnswerError as error:
        typer.echo(f"framebuf: {error}", err=True)
    if json:
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    return code_of(said["done"], said["ack"], wait=wait)


def _span(text: str | None) -> str | int | None:
    if text is None or len(text) > 10 or not (text.isascii() and text.isdigit()):
        return text
    return int(text)


def _meta(text: str | None) -> Any:
    """None: there is none.

    Raises:
        BadParameter: it is not JSON.
    """
    import msgspec  # noqa: PLC0415

    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--meta") from error


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
