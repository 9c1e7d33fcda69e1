"""The commands. One small file each; what is heavy is imported when a command runs."""

from __future__ import annotations

from typing import Any, cast, get_type_hints

import typer
from typer.core import TyperCommand

from framebuf import __version__, shell
from framebuf.cli import batch, bench, check, convert, demo, inspect, run, status, trigger

WRONG_USE = 2
"""Exit status where an option or argument is wrong."""

WrongUseError = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""click's ClickException, of which newer versions of typer have a copy of their own."""

app = typer.Typer(
    name="framebuf",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich takes longer than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Command(TyperCommand):
    """A command that has framebuf's own --version too."""

    def get_params(self, ctx: Any) -> list[Any]:
        ours = [each for each in ctx.find_root().command.params if each.name == "version"]
        return [*super().get_params(ctx), *ours]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"framebuf {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False,
        "--version",
        callback=_version,
        is_eager=True,
        expose_value=False,
        help="Print the version and exit.",
    ),
) -> None:
    """Keep the last camera frames; on an MQTT trigger, infer on them in batches and publish.

    Try it: framebuf demo --once
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(WRONG_USE)


for command in (run, demo, check, trigger, status, batch, bench, inspect, convert):
    command.add_to(app)
for registered in app.registered_commands:
    registered.cls = _Command
    if registered.callback is not None:  # else typer evaluates each annotation four times
        hints = get_type_hints(registered.callback, include_extras=True)
        registered.callback.__annotations__ = hints


def main() -> None:
    """Do what the command line says: errors are one line on standard error, never a traceback."""
    shell.leave_with(_work)


def _work() -> int | None:
    try:
        code: int | None = app(standalone_mode=False)
    except WrongUseError as error:
        return shell.fail(_usage(error), WRONG_USE)
    except typer.Abort:
        return 130
    return code


def _usage(error: Any) -> str:
    """What click says of wrong options, on one line."""
    command = error.ctx.command_path if error.ctx else "framebuf"
    what = " ".join(error.format_message().split()).removesuffix(".")
    return f"{what} (see {command} --help)"
