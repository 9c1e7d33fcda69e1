"""etc/container/Containerfile, built with buildah over a Debian 12 of the test's own, and run.

Layers come from no registry: the base is the root file system of tests/systemd.
`make container-test`, as root; without an engine there is no podman run here, but buildah's.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.systemd import bed

CONTAINERFILE = bed.REPO / "etc" / "container" / "Containerfile"


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, program: str, store: Path) -> None:
        self._command = [
            program, "--storage-driver", "vfs", "--root", str(store / "root"),
            "--runroot", str(store / "run"),
        ]  # fmt: skip

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self._command, *arguments], check=False, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0 or not check, done.stderr[-2000:]
        return done.stdout + (done.stderr if not check else "")


@pytest.fixture(scope="module")
def container(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """`container(COMMAND…)`: what it prints in a container of the image."""
    program = tool("buildah")
    if os.geteuid() != 0:
        missing("the right to build an image", "sudo, and run this as root")
    folder = tmp_path_factory.mktemp("container")
    buildah = Buildah(program, folder)
    context = folder / "context"
    bed.install("bookworm", context / "build" / "container")
    base = buildah("from", "scratch").strip()
    buildah("copy", "-q", base, str(bed.root("bookworm")), "/")
    buildah("commit", "-q", base, "framebuf-test-base")
    buildah(
        "bud", "-q", "--isolation", "chroot", "--build-arg", "BASE=localhost/framebuf-test-base",
        "-t", "framebuf-test", "-f", str(CONTAINERFILE), str(context),
    )  # fmt: skip
    made = buildah("from", "localhost/framebuf-test").strip()

    def run(*command: str) -> str:
        return buildah("run", "--isolation", "chroot", made, "--", *command, check=False)

    yield run
    buildah("rm", "-a")
    buildah("rmi", "-a", "-f")


def test_the_program_runs_in_it(container):
    assert re.fullmatch(r"framebuf \S+", container("framebuf", "--version").strip())


def test_it_is_not_root_in_it(container):
    assert container("id", "-un").strip() == "framebuf"


def test_the_configuration_that_comes_with_it_is_read_and_names_the_model_that_is_missing(
    container,
):
    said = container("framebuf", "run", "-c", "/etc/framebuf/framebuf.toml")
    assert "/etc/framebuf/models/nanodet-416.onnx" in said


def test_a_model_runs_in_it(container):
    assets = "/usr/lib/framebuf/framebuf/demo/assets"
    said = container(
        "framebuf", "batch", "-d", f"{assets}/photos", "-m", f"{assets}/mobilenetv2-224.onnx",
        "-p", "cpu", "-s", "1",
    )  # fmt: skip
    assert "Processed" in said


def test_the_containerfile_says_what_a_board_lends_to_it():
    text = CONTAINERFILE.read_text("utf-8")
    for lent in ("/dev/dri/renderD129", "/proc/device-tree/compatible", "/usr/lib/librknnrt.so"):
        assert lent in text
