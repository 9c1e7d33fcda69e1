"""make install and make uninstall, into a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.systemd import bed

HAND = "# written by hand\n"


def tree(folder: Path) -> set[str]:
    """Its files, but for libraries and byte code."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("usr/lib/framebuf/")}


def test_installed_twice_is_installed_once_and_uninstalled_is_gone(tmp_path):
    bed.install("bookworm", tmp_path)
    first = tree(tmp_path)
    modules = {path.name for path in (tmp_path / "usr/lib/framebuf").iterdir()}
    assert "usr/lib/systemd/system/framebuf.service" in first
    assert "usr/share/doc/framebuf/examples/mosquitto/framebuf.acl" in first
    assert {"framebuf", "numpy", "cv2", "onnxruntime"} <= modules
    config = tmp_path / "etc/framebuf/framebuf.toml"
    config.write_text(HAND)
    bed.install("bookworm", tmp_path)
    assert tree(tmp_path) == first
    assert {path.name for path in (tmp_path / "usr/lib/framebuf").iterdir()} == modules
    assert config.read_text() == HAND, "what somebody wrote stays"
    for _ in range(2):
        command = ["sh", str(bed.REPO / "systemd" / "uninstall.sh")]
        subprocess.run(command, check=True, env=os.environ | {"DESTDIR": str(tmp_path)})
        assert tree(tmp_path) == {"etc/framebuf/framebuf.toml"}
        assert not (tmp_path / "usr/lib/framebuf").exists()
