"""The entry point, `framebuf` or `python -m framebuf`.

A daemon runs for months: started as its unit file starts it, it goes without the library that
reads command lines, and what that brings along: 12 MB, and a tenth of a second of start-up.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from framebuf import shell


def main() -> None:
    """Do what the command line says. Ctrl-C is no traceback while the rest is imported either."""
    shell.end_process(partial(shell.leave_with, _work))


def _work() -> None:
    path = daemons_configuration(sys.argv[1:])
    if path is None:
        from framebuf.cli import main as command_line  # noqa: PLC0415

        command_line()
    else:
        from framebuf.service.start import start  # noqa: PLC0415

        start(path)


def daemons_configuration(words: list[str]) -> Path | None:
    """FILE of `run -c FILE` and its like; None: any other line, which the commands read."""
    match words:
        case ["run", "-c" | "--config", file] if file and not file.startswith("-"):
            return Path(file)
    return None


if __name__ == "__main__":
    main()
