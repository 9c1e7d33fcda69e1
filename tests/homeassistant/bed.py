"""Home Assistant core from PyPI, in a root of Debian trixie: its Python is newer than the host's.

`python -m tests.homeassistant.bed` makes the root; it is kept in ~/.cache/framebuf-tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import find

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "framebuf-tests"
# Two of its parts come as sources, in C++
INCLUDED = "python3,python3-venv,python3-dev,g++,make,ca-certificates"
WHEELS = (
    "homeassistant==2025.4.4",
    "home-assistant-frontend==20250411.0",  # without it, it starts in recovery mode
    "paho-mqtt==2.1.0",  # what its MQTT integration wants
)
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
CONFIGURATION = """
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
logger:
  default: info
"""
CLIENT = "http://127.0.0.1/"
ENTER = """
set -e
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" /usr/bin/env HOME=/tmp /venv/bin/hass -c "$config" --skip-pip --log-no-color
"""
PATIENCE_S = 120.0


def root() -> Path:
    """The folder of the root, made once; it takes some minutes."""
    name = hashlib.sha256(f"{INCLUDED} {WHEELS} 1".encode()).hexdigest()[:12]
    folder = CACHE / f"homeassistant-{name}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="homeassistant-", dir=CACHE))
        tar, inside = making / "root.tar", making / "root"
        include = f"--include={INCLUDED}"
        run(find("mmdebstrap"), "-q", "--variant=minbase", include, "trixie", str(tar))
        inside.mkdir()
        run("tar", "-xf", str(tar), "-C", str(inside), "--exclude=./dev/*")
        tar.unlink()
        shutil.copy("/etc/resolv.conf", inside / "etc/resolv.conf")
        if AUTHORITIES.exists():  # those that the host trusts, its own proxy's among them
            shutil.copy(AUTHORITIES, inside / AUTHORITIES.relative_to("/"))
        run("chroot", str(inside), "python3", "-m", "venv", "/venv")
        run("chroot", str(inside), "/venv/bin/pip", "install", "-q", *WHEELS)
        (inside / "configs").mkdir()
        inside.rename(folder)
        shutil.rmtree(making)
    return folder


def run(*command: str) -> None:
    env = os.environ | {"PIP_FIND_LINKS": ""}
    done = subprocess.run(
        command, check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout[-3000:]}"


class HomeAssistant:
    """One that knows a broker and nothing else, and is spoken to by its REST API."""

    def __init__(self, port: int, broker: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._root = root()
        self._folder = Path(tempfile.mkdtemp(dir=self._root / "configs"))
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self._configure(port, broker)

    def start(self) -> None:
        """Start, and become its owner."""
        inside = f"/{self._folder.relative_to(self._root)}"
        env = os.environ | {"root": str(self._root), "config": inside}
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER]
        with (self._folder / "said.txt").open("wb") as said:
            self._process = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        self.until(lambda: self._answers("/api/onboarding"), "onboarding")
        owner = {"name": "t", "username": "t", "password": "t", "language": "en"}
        code = self.call("/api/onboarding/users", {"client_id": CLIENT, **owner})["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        self._token = self.call("/auth/token", urllib.parse.urlencode(form).encode())[
            "access_token"
        ]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        shutil.rmtree(self._folder)

    @property
    def log(self) -> str:
        return (self._folder / "said.txt").read_text()

    def states(self) -> dict[str, dict[str, Any]]:
        """Every entity's state, by its id."""
        return {state["entity_id"]: state for state in self.call("/api/states")}

    def until_state(self, entity: str, wanted: Callable[[str], object]) -> dict[str, Any]:
        """The entity, as soon as its state is as wanted; `unavailable` is a state too."""

        def look() -> dict[str, Any] | None:
            state = self.states().get(entity)
            return state if state and wanted(state["state"]) else None

        found: dict[str, Any] = self.until(look, f"state of {entity}")
        return found

    def render(self, template: str) -> str:
        """What a template comes to; what the REST API has no word for, templates have."""
        return self.fetch("/api/template", {"template": template}).decode()

    def call(self, path: str, body: dict[str, Any] | bytes | None = None) -> Any:
        return json.loads(self.fetch(path, body))

    def fetch(self, path: str, body: dict[str, Any] | bytes | None = None) -> bytes:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self._url + path, data)
        if isinstance(body, dict):
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
        return found

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE_S
        while not (found := ready()):
            assert self._process is not None
            assert self._process.poll() is None, f"Home Assistant ended:\n{self.log[-3000:]}"
            assert time.monotonic() < end, f"no {what} within {PATIENCE_S} s:\n{self.log[-3000:]}"
            time.sleep(0.2)
        return found

    def _answers(self, path: str) -> bool:
        try:
            self.fetch(path)
        except OSError:
            return False
        return True

    def _configure(self, port: int, broker: int) -> None:
        (self._folder / "configuration.yaml").write_text(CONFIGURATION.format(port=port))
        entry = {
            "created_at": "2025-01-01T00:00:00+00:00",
            "modified_at": "2025-01-01T00:00:00+00:00",
            "data": {"broker": "127.0.0.1", "port": broker},
            "disabled_by": None,
            "discovery_keys": {},
            "domain": "mqtt",
            "entry_id": "0123456789ABCDEFGHJKMNPQRS",
            "minor_version": 2,
            "options": {},
            "pref_disable_new_entities": False,
            "pref_disable_polling": False,
            "source": "user",
            "subentries": [],
            "title": "broker",
            "unique_id": None,
            "version": 1,
        }
        stored = {"version": 1, "minor_version": 5, "key": "core.config_entries"}
        storage = self._folder / ".storage"
        storage.mkdir()
        file = storage / "core.config_entries"
        file.write_text(json.dumps({**stored, "data": {"entries": [entry]}}))


if __name__ == "__main__":
    print(root())
