"""Python environments of the inference servers, made once, beside the developer's own."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / "serving"


def environment(server: str) -> Path:
    """The folder of a server's environment; installs what requirements-NAME.txt pins, once."""
    pins = HERE / f"requirements-{server}.txt"
    folder = FOLDER / server
    mark = folder / f".ready-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f".{server}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would clear what the other installs
        if not mark.exists():
            print(f"installing {server} into {folder}: once", file=sys.stderr)
            venv.create(folder, clear=True, with_pip=True)
            command = [folder / "bin/python", "-m", "pip", "install", "-q", "-r", pins]
            subprocess.run([*command, "--disable-pip-version-check"], check=True)
            mark.touch()
    return folder


def site_packages(folder: Path) -> Path:
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def library_folder() -> str:
    """Where this Python's own shared library is."""
    return str(sysconfig.get_config_var("LIBDIR"))
