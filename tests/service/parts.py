"""The real parts of a service test: a mosquitto, and the daemon as a subprocess."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]
ASSETS = REPO / "framebuf" / "demo" / "assets"
FRAMEBUF = Path(sys.executable).with_name("framebuf")
START_S = 90.0


class Mosquitto:
    """A broker on 127.0.0.1 that can be stopped and started on the same port."""

    def __init__(
        self, program: str, folder: Path, port: int, extra: str = "", *, queue: int = 0
    ) -> None:
        """`queue`: messages that it keeps for a client that lags; 0: all.

        `extra` may have keys of the first listener, then listeners of its own.
        """
        self.port = port
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            # root would become a user that cannot read the test's files
            f"user root\nmax_queued_messages {queue}\n"
            f"listener {port} 127.0.0.1\nallow_anonymous true\n{extra}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                assert self._process.poll() is None, "mosquitto ended at once"
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(f"mosquitto does not listen on {self.port}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; what it did not write down is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(60)
            self._process = None


class Node:
    """The daemon, run as its users run it, on a configuration of the test's."""

    def __init__(
        self,
        folder: Path,
        port: int,
        tables: str,
        name: str = "t",
        *,
        mqtt: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        """`tables` are the [[camera]] and [[model]] tables, and more keys of [node] first.

        `mqtt` are more keys of [mqtt], `env` more variables of its environment.
        """
        self._env = os.environ | (env or {})
        self.name = name
        self.ring_dir = Path(f"/dev/shm/framebuf-test-{folder.name}-{uuid.uuid4().hex}")
        self.config = folder / "framebuf.toml"
        self.config.write_text(
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n{mqtt}'
            f'[node]\nname = "{name}"\nring_dir = "{self.ring_dir}"\n'
            f'state_dir = "{folder}/state"\n{tables}'
        )
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.launch()
        self.wait_log("ready: cameras")

    def launch(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [FRAMEBUF, "run", "-c", self.config], stdout=log, stderr=log, env=self._env
            )

    def wait_log(self, text: str) -> None:
        self.wait_for(lambda: text in self.log, repr(text))

    def wait_for(self, ready: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
        end = time.monotonic() + timeout_s
        while not ready():
            assert self._process is not None
            assert self._process.poll() is None, f"the daemon ended:\n{self.log}"
            assert time.monotonic() < end, f"no {what} within {timeout_s} s:\n{self.log}"
            time.sleep(0.02)

    def wait_exit(self, timeout_s: float = START_S, *, keep_rings: bool = False) -> int:
        """Wait until it ends by itself; returns the exit code, and clears up behind it.

        `keep_rings`: but for the rings, which the next start is to find.
        """
        assert self._process is not None
        code = self._process.wait(timeout_s)
        if not keep_rings:
            shutil.rmtree(self.ring_dir, ignore_errors=True)
        return code

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9; what it had in memory files stays for the next start."""
        self.signal(signal.SIGKILL)
        self.wait_exit(60, keep_rings=True)

    def stop(self, *, keep_rings: bool = False) -> int:
        """SIGTERM; returns the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait_exit(60, keep_rings=keep_rings)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait_exit(10)
            raise

    def anonymous_kib(self) -> int:
        """RssAnon; the rings' pages are RssShmem."""
        return self._status_kib("RssAnon")

    def peak_kib(self) -> int:
        """The most that was ever resident, shared memory included."""
        return self._status_kib("VmHWM")

    def _status_kib(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1])

    @contextmanager
    def running(self) -> Iterator[Node]:
        self.start()
        try:
            yield self
        except BaseException:
            print(self.log)
            raise
        finally:
            self.stop()


def films(source: object, more: str = "", name: str = "gate") -> str:
    """A [[camera]] table with 10 frames a second for the small network."""
    return (
        f'[[camera]]\nname = "{name}"\nsource = "{source}"\nfps = 10\nbuffer = "3s"\n'
        f'models = ["tiny"]\n{more}'
    )


def nanodet(name: str = "obj", more: str = "") -> str:
    """A [[model]] table of the sample detector."""
    return (
        f'[[model]]\nname = "{name}"\npath = "{ASSETS}/nanodet-416.onnx"\ntask = "detect"\n'
        f'decoder = "nanodet"\nlabels = "{ASSETS}/coco.txt"\n{more}'
    )


def tiny(name: str = "tiny") -> str:
    """A [[model]] table of the small network; 256 high, 128 wide."""
    return (
        f'[[model]]\nname = "{name}"\npath = "{REPO}/tests/assets/tiny-n.onnx"\ntask = "embed"\n'
        'resize = "stretch"\nmean = [123.675, 116.28, 103.53]\nstd = [58.395, 57.12, 57.375]\n'
    )
