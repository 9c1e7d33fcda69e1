"""A server in a process of its own, with all that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

READY_S = 120.0
"""A server on a machine that is busy."""
ENDS_S = 10.0


def nothing() -> None:
    """There is nothing to clean."""


class ServerProcess:
    """Ended with all of its children, which are of its process group."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], log: Path, clean: Callable[[], None]
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._clean = clean

    @classmethod
    def start(
        cls, name: str, command: list[str], environ: dict[str, str], log: Path,
        clean: Callable[[], None] = nothing,
    ) -> ServerProcess:  # fmt: skip
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, cwd=log.parent,
            )  # fmt: skip
        return cls(name, process, log, clean)

    def until(self, ready: Callable[[], bool]) -> ServerProcess:
        """Wait until it is; fails with its log where it ends, or is not in time."""
        end = time.monotonic() + READY_S
        while not ready():
            alive = self._process.poll() is None
            if not alive or time.monotonic() > end:
                self.stop()
                state = "is not ready" if alive else f"ended with {self._process.returncode}"
                raise AssertionError(f"{self.name} {state}:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)
        return self

    def signal(self, number: int) -> None:
        """To it and its children."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """As a power cut: -9."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._clean()

    def stop(self) -> None:
        """Safe to call twice."""
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self._process.wait()
        self._clean()
