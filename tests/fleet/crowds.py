"""The processes of the crowd, from the test's side."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

REPO = Path(__file__).parents[2]
A_PROCESS = 75
"""Nodes: each has 11 open files, and paho's select() takes no descriptor beyond 1023."""
START_S = 120.0


class Crowd:
    """One process. Its output is read by a thread of its own."""

    def __init__(self, names: list[str], folder: Path, rings: Path, port: int, password: Path):
        self.names = names
        self.greeted: list[tuple[str, float]] = []
        """Node and monotonic second of each connection that a broker took."""
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._log = folder / f"{names[0]}.log"
        command = [
            sys.executable, "-m", "tests.fleet.crowd",
            ",".join(names), folder, rings, str(port), password,
        ]  # fmt: skip
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
        self._thread = threading.Thread(target=self._read, name=f"crowd-{names[0]}")
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "node" in said:
                self.greeted.append((said["node"], said["at_s"]))
            else:
                self._answers.put(said)

    def wait_ready(self) -> None:
        assert self._answer(START_S)["ready"] == len(self.names)

    def figures(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer(60.0)

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"the crowd is silent:\n{self._log.read_text()}") from None

    def check_alive(self) -> None:
        assert self._process.poll() is None, f"a crowd ended:\n{self._log.read_text()}"

    def ask_to_stop(self) -> None:
        """Its nodes say goodbye."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def stop(self, timeout_s: float = 60.0) -> int:
        """After `ask_to_stop`; returns its exit code."""
        try:
            return self._process.wait(timeout_s)
        finally:
            self._process.kill()
            self._process.wait(10)
            self._thread.join(10)
            assert self._process.stdout is not None
            self._process.stdout.close()


class Crowds:
    """All processes, with so many nodes each as `A_PROCESS` says."""

    def __init__(self, names: list[str], folder: Path, rings: Path, port: int, password: Path):
        self._crowds = [
            Crowd(names[at : at + A_PROCESS], folder, rings, port, password)
            for at in range(0, len(names), A_PROCESS)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._crowds)

    def wait_ready(self) -> None:
        for crowd in self._crowds:
            crowd.wait_ready()

    def greeted(self, since_s: float) -> list[tuple[str, float]]:
        """Node and monotonic second of each greeting since then."""
        for crowd in self._crowds:
            crowd.check_alive()
        return [
            (node, at_s) for crowd in self._crowds for node, at_s in crowd.greeted[:]
            if at_s >= since_s
        ]  # fmt: skip

    def wait_greeted(self, since_s: float, count: int, timeout_s: float) -> bool:
        """Until so many nodes have been greeted since; False: not in time."""
        until = time.monotonic() + timeout_s
        while len({node for node, _ in self.greeted(since_s)}) < count:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def figures(self) -> list[dict[str, Any]]:
        return [crowd.figures() for crowd in self._crowds]

    def stop(self) -> list[int]:
        crowds, self._crowds = self._crowds, []
        for crowd in crowds:
            crowd.ask_to_stop()
        return [crowd.stop() for crowd in crowds]
