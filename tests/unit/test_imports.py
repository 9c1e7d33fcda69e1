"""What a process of framebuf loads: only what it uses."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.__main__ import daemons_configuration
from tests.ports import free_port
from tests.service.numbered import make_video
from tests.service.parts import REPO, tiny

HEAVY = {"av", "cv2", "msgspec", "numpy", "onnxruntime", "paho", "rich"}
FOR_COMMAND_LINES = {"click", "pydantic", "rich", "typer"}
LINE = """
import sys
from framebuf.__main__ import main
sys.argv = ["framebuf", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
DAEMON = """
import logging, os, signal, sys
from framebuf.__main__ import main
class Enough(logging.Handler):
    told = set()
    def emit(self, record):
        self.told.add(getattr(record, "EVENT", None))
        if {"node_ready", "camera_online"} <= self.told:
            os.kill(os.getpid(), signal.SIGTERM)
logging.getLogger("framebuf").addHandler(Enough())
sys.argv = ["framebuf", "run", "-c", sys.argv[1]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*{name.partition(".")[0] for name in sys.modules})
"""
SIMULATED = (
    f'[[model]]\nname = "tiny"\npath = "{REPO}/tests/assets/tiny-rk3588-i8-batch1.rknn"\n'
    'platform = "sim:rk3588"\ntask = "embed"\nruntimes = 1\n'
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def loaded_by_daemon(folder: Path, camera: str, model: str) -> set[str]:
    """The packages that a daemon has loaded once its camera is online, without a broker."""
    config = folder / "framebuf.toml"
    rings = Path(f"/dev/shm/framebuf-test-{folder.name}-{uuid.uuid4().hex}")
    config.write_text(
        f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
        f'[node]\nring_dir = "{rings}"\n'
        f'state_dir = "{folder}/state"\n'
        f'[[camera]]\nname = "gate"\nsource = "{camera}"\nfps = 10\nbuffer = 3\n'
        f'models = ["tiny"]\n{model}'
    )
    try:
        daemon = run(DAEMON, str(config))
    finally:
        shutil.rmtree(rings, ignore_errors=True)
    assert daemon.returncode == 0, daemon.stderr
    return set(daemon.stdout.split())


def test_the_help_of_framebuf_loads_no_library_but_the_one_that_reads_command_lines() -> None:
    helped = run(LINE, "--help")
    assert helped.returncode == 0, helped.stderr
    loaded = set(helped.stderr.split())
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", ["run", "bench", "check", "trigger"])
def test_the_help_of_a_command_loads_nothing_that_the_command_needs(command: str) -> None:
    helped = run(LINE, command, "--help")
    assert helped.returncode == 0, helped.stderr
    assert not set(helped.stderr.split()) & HEAVY


@pytest.mark.timeout(300)
def test_a_daemon_that_neither_plays_video_nor_runs_onnx_loads_no_library_for_it(
    tmp_path: Path,
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a.png"), np.zeros((64, 64, 3), np.uint8))
    loaded = loaded_by_daemon(tmp_path, str(pictures), SIMULATED)
    assert {"cv2", "numpy", "paho"} <= loaded
    assert not loaded & {"av", "onnxruntime", "rknnlite", *FOR_COMMAND_LINES}


@pytest.mark.timeout(300)
def test_a_daemon_that_plays_video_and_runs_onnx_loads_both(tmp_path: Path) -> None:
    loaded = loaded_by_daemon(tmp_path, str(make_video(tmp_path / "film.mp4", 10)), tiny())
    assert {"av", "onnxruntime"} <= loaded


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("run -c a.toml", "a.toml"),
        ("run --config /etc/a.toml", "/etc/a.toml"),
        ("run", None),
        ("run -c", None),
        ("run -c -h", None),
        ("run -c a.toml --log-level DEBUG", None),
        ("run --config=a.toml", None),
        ("check -c a.toml", None),
        ("-c a.toml run", None),
        ("", None),
    ],
)
def test_only_the_usual_start_of_a_daemon_needs_no_commands(words: str, path: str | None) -> None:
    assert daemons_configuration(words.split()) == (path and Path(path))
