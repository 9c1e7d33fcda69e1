"""The demo's own MQTT broker: a program on 127.0.0.1 that ends with the demo."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.errors import FramebufError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from framebuf.demo.interrupts import Interrupts

HOST = "127.0.0.1"
KINDS = ("mosquitto", "iotcore")
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where packages put mosquitto, and a user's PATH may not look."""
_START_S = 30.0
_STOP_S = 5.0
_TRIES = 3
"""Another program may take the free port before the broker does."""

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence false
log_type error
"""
# iotcore would listen on every interface and take payloads of 20 kB, if not told otherwise
_IOTCORE = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20000000
max_inflight_count = 100
dynamic_filters = true
"""


@dataclass(frozen=True, slots=True)
class Program:
    """A broker that is installed here."""

    kind: str
    command: tuple[str, ...]
    """The path of its configuration goes behind."""
    configuration: str


def find(kind: str | None = None) -> Program:
    """The broker to use: mosquitto, else iotcore; or the one of this `kind`.

    Raises:
        FramebufError: it is not installed.
    """
    for name in KINDS if kind is None else (kind,):
        program = _mosquitto() if name == "mosquitto" else _iotcore()
        if program is not None:
            return program
    raise FramebufError(
        f"{'mosquitto or iotcore' if kind is None else kind} is not installed: "
        "pip install 'framebuf[demo]', or apt install mosquitto"
    )


@contextmanager
def running(program: Program, folder: Path, interrupts: Interrupts) -> Iterator[int]:
    """Run the broker, its files in `folder`; gives its port once it accepts connections.

    Raises:
        FramebufError: it did not start.
    """
    said = ""
    for _ in range(_TRIES):
        port = _free_port()
        with ExitStack() as started:
            with interrupts.held():
                process = _spawn(program, folder, port)
                started.callback(_stop, process)
            if _accepts(process, port):
                yield port
                return
        said = (folder / "broker.log").read_text(encoding="utf-8", errors="replace")
    last = said.strip().rpartition("\n")[2] or f"it did not listen within {_START_S:g} s"
    raise FramebufError(f"the broker {program.kind} did not start: {last}")


def _mosquitto() -> Program | None:
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES))
    path = shutil.which("mosquitto", path=places)
    return Program("mosquitto", (path, "-c"), _MOSQUITTO) if path else None


def _iotcore() -> Program | None:
    if importlib.util.find_spec("iotcore") is None:
        return None
    # -P: a folder named iotcore where the user stands is not meant
    return Program("iotcore", (sys.executable, "-P", "-m", "iotcore", "--config"), _IOTCORE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _spawn(program: Program, folder: Path, port: int) -> subprocess.Popen[bytes]:
    configuration = folder / "broker.toml"  # iotcore goes by the suffix
    configuration.write_text(program.configuration.format(host=HOST, port=port), encoding="utf-8")
    command: Sequence[str] = (*program.command, str(configuration))
    with (folder / "broker.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which says goodbye over MQTT first
        )


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it listens. False: it ended, or took too long."""
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
