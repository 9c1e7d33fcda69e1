"""An arm64 userland with the vendor's real Python wheels, and boards made of it.

Nothing of it is installed: qemu-user runs its interpreter, and looks up every absolute path in the
board's root first. So a root with a device tree, a device node and a library of its own is a board.
The userland is built once, into FRAMEBUF_BOARD_CACHE (default ~/.cache/framebuf-tests).

    python tests/board/userland.py          builds it and says where it is
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

WHEELS = ("2.5.0", "2.3.2")
"""Of rknn-toolkit-lite2: the newest, and the oldest that framebuf takes."""
SOCS = ("rk3588", "rk3576", "rk3566")

SUITE = "bookworm"
DEBIAN = (
    "libgcc-s1", "libpython3.11-minimal", "libpython3.11-stdlib", "libstdc++6",
    "python3.11-minimal", "zlib1g",
)  # fmt: skip
PYTHON = (
    "av", "msgspec", "numpy", "opencv-python-headless", "paho-mqtt", "psutil", "pytest",
    "pytest-timeout", "rich", "ruamel.yaml", "typer",
)  # fmt: skip
"""What framebuf needs but onnxruntime, and what the vendor's wheel does: psutil, ruamel.yaml."""
PIP = (
    "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-compile",
    "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311",
    "--abi=abi3", "--abi=none", "--platform=manylinux2014_aarch64",
    "--platform=manylinux_2_17_aarch64", "--platform=manylinux_2_28_aarch64",
)  # fmt: skip
QEMU = "qemu-aarch64-static"
LONGEST_S = 1100.0
"""For what runs on a board, thirty times what it takes."""


def cache() -> Path:
    named = os.environ.get("FRAMEBUF_BOARD_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "framebuf-tests"


def built() -> Path:
    """The userland; built where it is not there, a minute and 500 MB.

    Raises:
        subprocess.CalledProcessError: a download failed.
    """
    recipe = repr((SUITE, DEBIAN, PYTHON, PIP, WHEELS))
    userland = cache() / f"arm64-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if userland.is_dir():
        return userland
    print(f"building the arm64 userland {userland}: a minute, once", file=sys.stderr)
    unfinished = userland.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract",
         f"--include={','.join(DEBIAN)}", SUITE, unfinished],
        check=True,
    )  # fmt: skip
    _install(unfinished / "opt/python", PYTHON)
    for wheel in WHEELS:
        _install(unfinished / f"opt/rknn-{wheel}", ("--no-deps", f"rknn-toolkit-lite2=={wheel}"))
    unfinished.rename(userland)
    return userland


def _install(target: Path, packages: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", *PIP, "--target", target]
    done = subprocess.run([*pip, *packages], check=False, capture_output=True, text=True)
    if done.returncode:  # else its warnings are of this environment, which it does not touch
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()


def library(into: Path) -> Path:
    """The simulated librknnrt.so, compiled anew."""
    path = into / "librknnrt.so"
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared",
         "-fPIC", "-fvisibility=hidden", "-o", path, HERE / "librknnrt.c"],
        check=True,
    )  # fmt: skip
    return path


@dataclass(frozen=True)
class Board:
    """A root that qemu takes for a board's, and how to run something on it."""

    root: Path
    userland: Path
    wheel: str

    @classmethod
    def make(cls, root: Path, soc: str, wheel: str, library: Path | None) -> Board:
        """Lay out a board in the empty folder `root`; its files may be changed afterwards."""
        userland = built()
        for folder in ("usr/lib", "proc/device-tree", "dev/dri"):
            (root / folder).mkdir(parents=True)
        for part in ("bin", "share"):
            (root / "usr" / part).symlink_to(userland / "usr" / part)
        for part in (userland / "usr/lib").iterdir():
            (root / "usr/lib" / part.name).symlink_to(part)
        for part in ("etc", "lib"):
            (root / part).symlink_to(userland / part)
        names = f"simulated,board\0rockchip,{soc}\0"
        (root / "proc/device-tree/compatible").write_text(names)
        (root / "proc/device-tree/model").write_text(f"simulated {soc} board\0")
        (root / "dev/dri/renderD129").touch()
        if library is not None:
            shutil.copy(library, root / "usr/lib/librknnrt.so")
        return cls(root, userland, wheel)

    def command(self, *arguments: str | Path, orders: str = "") -> list[str]:
        """The board's Python with `arguments`; `orders` is what STANDIN says to the library."""
        paths = [REPOSITORY, self.userland / f"opt/rknn-{self.wheel}", self.userland / "opt/python"]
        environment = {
            "PYTHONHOME": "/usr",
            "PYTHONPATH": ":".join(map(str, paths)),
            # /usr/lib/python3.11 would be the host's, were it written to
            "PYTHONPYCACHEPREFIX": str(self.userland / "var/cache/python"),
            "PYTHONDONTWRITEBYTECODE": "",
            "STANDIN": orders,
            "BOARD_ROOT": str(self.root),
        }
        told = [each for pair in environment.items() for each in ("-E", "=".join(pair))]
        # -S: no packages of the host's Python
        interpreter = [str(self.userland / "usr/bin/python3.11"), "-S"]
        return [QEMU, "-L", str(self.root), *told, *interpreter, *map(str, arguments)]

    def run(self, *arguments: str | Path, orders: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end in the repository's folder, its output taken."""
        return subprocess.run(
            self.command(*arguments, orders=orders), cwd=REPOSITORY, capture_output=True,
            text=True, check=False, timeout=LONGEST_S,
        )  # fmt: skip


if __name__ == "__main__":
    print(built())
