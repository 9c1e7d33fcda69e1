"""The virtual environment that rknn-toolkit2 lives in: its numpy and protobuf are not ours."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from sys import version_info
from typing import TYPE_CHECKING

from framebuf.errors import ModelError
from framebuf.models.toolkit import failures

if TYPE_CHECKING:
    from collections.abc import Callable

TOOLKIT = "rknn-toolkit2==2.5.0"
NEEDS = (
    "numpy<=1.26.4",
    "onnx==1.18.0",
    "protobuf>=4.21.6,<=4.25.4",
    "psutil",
    "ruamel.yaml",
    "scipy",
    "tqdm",
    "opencv-python-headless<4.12",
    "fast-histogram",
    "onnxruntime",
    "torch==2.13.0",
    "setuptools<81",
)
"""What the toolkit imports, as it was tried; its own list asks for older ones, so --no-deps."""

PYTHONS = range(10, 13)
"""Minor versions of Python 3 that there are wheels of the toolkit and of torch for."""

NEEDED_BYTES = 3 * 10**9
"""Half stays; pip wants the other half while it unpacks."""

VARIABLE = "FRAMEBUF_CONVERT_VENV"
MARK = "framebuf-made-this"

PROBE = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({n: m.version(n) for n in ('rknn-toolkit2', 'onnx', 'torch', 'numpy')}))"
)

WHAT = (
    "rknn-toolkit2 is not here yet. It goes into a virtual environment of its own, {folder}: "
    "some 1.5 GB with a CPU build of torch, several more with the one for graphics cards that "
    "pip's usual index has for x86-64 (PIP_EXTRA_INDEX_URL names another index). One to ten "
    "minutes, once."
)


def default_folder() -> Path:
    """Where the environment is unless told: in the user's cache."""
    if told := os.environ.get(VARIABLE):
        return Path(told)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "framebuf" / TOOLKIT.replace("==", "-")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that has the toolkit."""

    folder: Path
    versions: dict[str, str]

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @classmethod
    def find(cls, folder: Path) -> Environment | None:
        """The environment in a folder; None where it is not there or lacks something."""
        python = folder / "bin" / "python"
        if not python.exists():
            return None
        try:
            done = subprocess.run(
                [python.absolute(), "-c", PROBE],
                capture_output=True,
                check=True,
                text=True,
                env=clean(),
                cwd=folder,
            )
            versions = json.loads(done.stdout)
        except (OSError, subprocess.CalledProcessError, ValueError):
            return None
        return cls(folder, versions)

    @classmethod
    def make(cls, folder: Path, progress: Callable[[str], None]) -> Environment:
        """Make it, or what is left to make of it. Two at a time wait for each other.

        Raises:
            ModelError: the folder is somebody else's, there is no room, or pip failed.
        """
        python = _python()
        if folder.exists() and not folder.is_dir():
            raise ModelError(f"{folder}: expected a folder for the environment, it is a file")
        # What is in it first: another one that begins now puts its mark there before the rest.
        if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise ModelError(
                f"{folder}: expected rknn-toolkit2 in this environment; install it there "
                f"({TOOLKIT}, onnx and torch), or give a folder that is empty"
            )
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < NEEDED_BYTES:
            raise ModelError(
                f"{folder}: expected {NEEDED_BYTES / 1e9:.0f} GB of free space, got "
                f"{free / 1e9:.1f}; free some, or give --venv on another disk"
            )
        with (folder / MARK).open("w") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            if found := cls.find(folder):  # the other one made it
                return found
            _fill(folder, python, progress)
            if found := cls.find(folder):
                return found
        raise ModelError(f"{folder}: pip left something out; delete the folder and try again")


def clean() -> dict[str, str]:
    """Our environment without what would lead another Python to our modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _fill(folder: Path, python: str, progress: Callable[[str], None]) -> None:
    log = folder / "install.log"
    inside = str(folder / "bin" / "python")
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    steps = (
        ("making the environment", [python, "-m", "venv", str(folder)]),
        ("installing what it needs, torch above all", [*pip, *NEEDS]),
        (f"installing {TOOLKIT}", [*pip, "--no-deps", TOOLKIT]),
        ("trying it", [inside, "-c", "from rknn.api import RKNN"]),
    )
    for what, command in steps:
        progress(what)
        with log.open("w") as output:
            code = subprocess.run(
                command,
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean(),
                cwd=folder,  # a module that lies where the user stands is not to be imported
            ).returncode
        if code:
            text = failures.explained(log.read_text(errors="replace"), code, str(log))
            if "ensurepip" in log.read_text(errors="replace"):
                text = f"{python} cannot make one: apt install python3-venv"
            raise ModelError(f"{what} failed: {text}")


def _python() -> str:
    """A Python that the toolkit has a wheel for.

    Raises:
        ModelError: there is none, or none for this machine.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise ModelError(
            f"rknn-toolkit2 is for Linux on x86-64 and aarch64, this is {sys.platform} on "
            f"{machine}; convert on such a machine, and copy the .rknn files"
        )
    if version_info[1] in PYTHONS:
        return sys.executable
    for minor in reversed(PYTHONS):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise ModelError(
        f"rknn-toolkit2 has no wheel for Python 3.{version_info[1]}; install one of Python "
        f"3.{PYTHONS[0]} to 3.{PYTHONS[-1]}"
    )
