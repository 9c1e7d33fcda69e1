"""The worker in the toolkit's environment, as a process that never outlives us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.models.toolkit.environment import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKER = Path(__file__).parent / "worker"


def run(python: Path, job: Path, log: Path, said: Callable[[str], None]) -> int:
    """Run a job, telling its phases; the exit code, below 0 a signal's number."""
    with (
        log.open("w") as output,
        _ended(
            subprocess.Popen(
                [python, WORKER, job],
                stdout=subprocess.PIPE,
                stderr=output,
                stdin=subprocess.DEVNULL,
                text=True,
                env=clean(),
                cwd=log.parent,  # the toolkit leaves files where it stands
                start_new_session=True,
            )
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            said(json.loads(line)["phase"])
        return process.wait()


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever happens here, the worker and what it started end with it."""
    try:
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.wait()


def kept(log: Path) -> Path:
    """A log outside of the scratch folder, for people to read."""
    with tempfile.NamedTemporaryFile(
        prefix="framebuf-convert-", suffix=".log", delete=False
    ) as file:
        file.write(log.read_bytes())
    return Path(file.name)
