"""Plays systemd: starts a service, hears it, ends it when it hangs, and starts it again.

What systemd/framebuf.service asks for: Type=notify, Restart=on-failure, RestartSec, WatchdogSec,
RestartPreventExitStatus=78 (systemd.service(5), sd_notify(3)).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")
EX_CONFIG = 78
CLEAN = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
TURN_S = 0.05


@dataclass(slots=True)
class Life:
    """One process of the service, from start to end; times are monotonic seconds."""

    pid: int
    started_s: float
    ready_s: float | None = None
    ended_s: float | None = None
    returncode: int | None = None
    """As subprocess has it: below zero a signal."""
    bitten: bool = False
    """The watchdog ended it."""
    timed_out: bool = False
    """It was not ready in time."""
    told: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    """What it said, and when."""

    def said(self, name: str) -> list[str]:
        """Every value of a field, as `STATUS`, in order."""
        return [fields[name] for _, fields in tuple(self.told) if name in fields]


class Supervisor:
    """Belongs to the test; its thread plays the service manager. Any thread may ask and kill.

    `_changed` guards `lives`; the thread alone appends to them and changes them.
    """

    def __init__(
        self,
        command: Sequence[object],
        folder: Path,
        *,
        watchdog_s: float | None = 6.0,
        restart_s: float = 0.1,
        start_s: float = 90.0,
        abort_s: float = 5.0,
        env: Callable[[int], dict[str, str]] = lambda _: {},
    ) -> None:
        """`env` gives more variables for the life of a number, from 0.

        `restart_s` is RestartSec (systemd's default is 0.1), `watchdog_s` WatchdogSec, `start_s`
        TimeoutStartSec, `abort_s` TimeoutAbortSec.
        """
        self.lives: list[Life] = []
        self.log_path = folder / "log.txt"
        self._command = [str(part) for part in command]
        self._watchdog_s = watchdog_s
        self._restart_s = restart_s
        self._start_s = start_s
        self._abort_s = abort_s
        self._env = env
        self._address = str(folder / "notify")
        self._changed = threading.Condition()
        self._ended = False  # no more restarts
        self._due: dict[str, float] = {}  # monotonic: "watchdog", "start", "kill", "restart"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def start(self) -> None:
        self._thread.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def life(self) -> Life:
        """The newest."""
        with self._changed:
            return self.lives[-1]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> Life | None:
        """Send a signal to the process that runs, if one does; its life."""
        with self._changed:
            life = self.lives[-1] if self.lives else None
            if life is None or life.ended_s is not None:
                return None
            os.kill(life.pid, number)  # not reaped yet: that is done under this lock
            return life

    def stop(self) -> int | None:
        """SIGTERM, SIGKILL after 20 s, no restart; the exit code of the last process."""
        if self._thread.ident is None:
            return None
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.lives[-1].returncode if self.lives else None

    def wait_for(self, ready: Callable[[], T | None], what: str, timeout_s: float = 120.0) -> T:
        """Until an answer that is true, asked at each change."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not (answer := ready()):
                left = end - time.monotonic()
                assert left > 0, f"no {what} in {timeout_s} s:\n{self.log[-6000:]}"
                self._changed.wait(left)
            return answer

    def wait_ready(self, number: int = 0, timeout_s: float = 120.0) -> Life:
        """Until the life of a number, from 0, or a later one, has said READY."""

        def ready() -> Life | None:
            return next((life for life in self.lives[number:] if life.ready_s is not None), None)

        return self.wait_for(ready, f"READY of life {number}", timeout_s)

    def wait_end(self, number: int = 0, timeout_s: float = 120.0) -> Life:
        """Until the process of a number, from 0, has ended."""

        def ended() -> Life | None:
            found = self.lives[number : number + 1]
            return found[0] if found and found[0].ended_s is not None else None

        return self.wait_for(ended, f"end of life {number}", timeout_s)

    def wait_given_up(self, timeout_s: float = 120.0) -> Life:
        """Until the service ended and is not to be started again."""
        self.wait_for(lambda: self._ended, "last end", timeout_s)
        return self.life

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self._address)
            notify.setblocking(False)
            while not self._ended:
                self._live(notify)
                while not self._ended and time.monotonic() < self._due["restart"]:
                    if self._stopping.wait(min(TURN_S, self._restart_s)):
                        self._give_up()

    def _live(self, notify: socket.socket) -> None:
        """One process, from its start to its end."""
        more = {"NOTIFY_SOCKET": self._address}
        if self._watchdog_s is not None:
            more["WATCHDOG_USEC"] = str(round(self._watchdog_s * 1e6))
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                self._command, stdout=log, stderr=log,
                env=os.environ | more | self._env(len(self.lives)),
            )  # fmt: skip
        now = time.monotonic()
        life = Life(process.pid, now)
        self._due = {"start": now + self._start_s}
        with self._changed:
            self.lives.append(life)
            self._changed.notify_all()
        ended = os.pidfd_open(process.pid)
        try:
            while True:
                due = min([*self._due.values(), time.monotonic() + TURN_S])
                wait_s = max(0.0, due - time.monotonic())
                readable, _, _ = select.select([notify, ended], [], [], wait_s)
                if notify in readable:
                    self._hear(notify, life)
                elif ended in readable:
                    break
                self._act(life)
        finally:
            os.close(ended)
        self._bury(life, process)

    def _hear(self, notify: socket.socket, life: Life) -> None:
        now = time.monotonic()
        text = notify.recv(65536).decode()
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        with self._changed:
            life.told.append((now, fields))
            if fields.get("READY") == "1" and life.ready_s is None:
                life.ready_s = now
                self._due.pop("start", None)
                fields = fields | {"WATCHDOG": "1"}  # from now on it counts
            if "EXTEND_TIMEOUT_USEC" in fields and "start" in self._due:
                until = now + int(fields["EXTEND_TIMEOUT_USEC"]) / 1e6
                self._due["start"] = max(self._due["start"], until)
            if fields.get("STOPPING") == "1":
                self._due.pop("watchdog", None)
            elif fields.get("WATCHDOG") == "1" and self._watchdog_s and life.ready_s and (
                not life.bitten and not self._stopping.is_set()
            ):  # fmt: skip
                self._due["watchdog"] = now + self._watchdog_s
            self._changed.notify_all()

    def _act(self, life: Life) -> None:
        # not by subprocess, which would reap it: another thread may be about to kill it
        now = time.monotonic()
        if self._stopping.is_set() and "stop" not in self._due:
            self._due = {"stop": float("inf"), "kill": now + 20.0}
            os.kill(life.pid, signal.SIGTERM)
        if now >= self._due.get("watchdog", now + 1):
            del self._due["watchdog"]
            life.bitten = True
            self._due["kill"] = now + self._abort_s
            os.kill(life.pid, signal.SIGABRT)
        if now >= self._due.get("start", now + 1):
            del self._due["start"]
            life.timed_out = True
            self._due["kill"] = now + self._abort_s
            os.kill(life.pid, signal.SIGTERM)
        if now >= self._due.get("kill", now + 1):
            del self._due["kill"]
            os.kill(life.pid, signal.SIGKILL)

    def _bury(self, life: Life, process: subprocess.Popen[bytes]) -> None:
        with self._changed:
            life.returncode = process.wait()
            life.ended_s = time.monotonic()
            clean = life.returncode in CLEAN and not (life.bitten or life.timed_out)
            self._due = {"restart": life.ended_s + self._restart_s}
            if clean or life.returncode == EX_CONFIG or self._stopping.is_set():
                self._ended = True
            self._changed.notify_all()

    def _give_up(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __repr__(self) -> str:
        deaths = sum(life.ended_s is not None for life in self.lives)
        return f"<Supervisor {len(self.lives)} lives, {deaths} ended>"
