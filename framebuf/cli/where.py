"""Whose broker and which nodes a command means: options, else a configuration, else defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framebuf.cli import config_file

if TYPE_CHECKING:
    from framebuf.config import Mqtt
    from framebuf.contract import Topics

ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", help="Whose broker and node; [mqtt] alone will do.")
]
HostOption = Annotated[str | None, typer.Option("--host", help="The broker, instead of -c's.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Its port.")]
NodeOption = Annotated[str | None, typer.Option("--node", help="The node's name.")]
BaseOption = Annotated[str | None, typer.Option("--base", help="The base topic.")]

PART, FAILED, NO_ANSWER = 3, 4, 5
"""Exit statuses beside 0: not all of it is as it should be, none of it is, nobody says."""


def broker_of(
    config: Path | None,
    host: str | None,
    port: int | None,
    node: str | None,
    base: str | None,
    *,
    camera: str | None = None,
    any_node: bool = False,
) -> tuple[Mqtt, Topics]:
    """From the options, else from a configuration file that is there, else the defaults.

    `camera` is checked with them; `any_node`: the node's name does not matter.

    Raises:
        BadParameter: a name cannot be a topic's.
    """
    import msgspec  # noqa: PLC0415 - --help stays quick

    from framebuf import config as configuration  # noqa: PLC0415
    from framebuf.contract import Topics  # noqa: PLC0415

    needless = host and (node or any_node)
    path = config
    if path is None and not needless and config_file.is_there():
        path = config_file.DEFAULT_PATH
    if path is not None:
        loaded = configuration.load_client(path).config
        mqtt, name = loaded.mqtt, loaded.node.name
    else:
        mqtt, name = configuration.Mqtt(), configuration.Node().name
    given = {"host": host, "port": port, "base": base}
    mqtt = msgspec.structs.replace(mqtt, **{k: v for k, v in given.items() if v is not None})
    name = name if node is None else node
    for hint, value, kind in (
        ("CAMERA", camera, configuration.Name),
        ("--node", name, configuration.Name),
        ("--base", mqtt.base, configuration.Base),
        ("--host", mqtt.host, configuration.Host),
    ):
        try:
            if value is not None:
                msgspec.convert(value, kind)
        except (msgspec.ValidationError, UnicodeError) as error:
            raise typer.BadParameter(f"{value!a} cannot be one", param_hint=hint) from error
    return mqtt, Topics(mqtt.base, name)
