"""The commands. One small file each; what is heavy is imported when a command runs."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, cast

import typer
from typer.core import TyperCommand

from framebuf import __version__
from framebuf.cli import batch, bench, check, convert, demo, inspect, run, status, trigger
from framebuf.errors import ConfigError, FramebufError

EX_CONFIG = 78
"""sysexits.h: no restart mends it."""

WRONG_USE = 2
"""Exit status where an option or argument is wrong."""

WrongUseError = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""click's ClickException, of which newer versions of typer have a copy of their own."""

UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Why standard output cannot be written."""

app = typer.Typer(
    name="framebuf",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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


def main() -> None:
    """The entry point: errors are one line on standard error, never a traceback."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # × and → where the locale has none
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except ConfigError as error:
        code = _fail(str(error), EX_CONFIG)
    except FramebufError as error:
        code = _fail(str(error), 1)
    except WrongUseError as error:
        code = _fail(_usage(error), WRONG_USE)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except OSError as error:
        if error.filename is not None:
            code = _fail(f"{os.fsdecode(error.filename)}: {error.strerror}", 1)
        elif error.errno in UNWRITABLE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where its rest goes
            reader_gone = error.errno == errno.EPIPE
            code = 1 if reader_gone else _fail(f"cannot write: {error.strerror}", 1)
        else:
            raise
    sys.exit(code or 0)


def _open_what_is_closed() -> None:
    """What was closed as `>&-` does is written to no file that is opened later."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def _fail(message: str, code: int) -> int:
    print(f"framebuf: {message}", file=sys.stderr)  # noqa: T201
    return code


def _usage(error: Any) -> str:
    """What click says of wrong options, on one line."""
    command = error.ctx.command_path if error.ctx else "framebuf"
    what = " ".join(error.format_message().split()).removesuffix(".")
    return f"{what} (see {command} --help)"
