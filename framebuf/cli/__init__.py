"""The commands. One small file each; what is heavy is imported when a command runs."""

from __future__ import annotations

import sys

import typer

from framebuf import __version__
from framebuf.cli import batch, bench, check, convert, demo, inspect, run, trigger
from framebuf.errors import ConfigError, FramebufError

EX_CONFIG = 78
"""sysexits.h: no restart mends it."""

app = typer.Typer(
    name="framebuf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"framebuf {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Keep the last camera frames; on an MQTT trigger, infer on them in batches and publish.

    Try it: framebuf demo --once
    """


for command in (run, demo, check, trigger, batch, bench, inspect, convert):
    command.add_to(app)


def main() -> None:
    """The entry point: errors of ours are one line on standard error, never a traceback."""
    try:
        app()
    except ConfigError as error:
        print(f"framebuf: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(EX_CONFIG)
    except FramebufError as error:
        print(f"framebuf: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
