"""What the daemon does with what its cameras cannot mend."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from framebuf import config
from framebuf.buffer.directory import RingDirectory
from framebuf.errors import ConfigError, RingError
from framebuf.service.daemon import Daemon

MODEL = '[[model]]\nname = "tiny"\npath = "tiny.onnx"\ntask = "embed"\n'
CAMERA = '[[camera]]\nname = "{}"\nsource = "film.mp4"\nmodels = ["tiny"]\n'


@pytest.mark.parametrize(
    "error",
    [
        RingError("gate.0.ring: No space left on device"),
        ConfigError("memory", "1 MiB does not hold two frames", "give it more"),
    ],
    ids=["tmpfs", "memory"],
)
@pytest.mark.parametrize("names", [["gate"], ["gate", "yard"]], ids=["one", "two"])
def test_no_room_for_a_camera_ends_its_node_only_where_it_is_the_only_one(error, names):
    text = "".join(CAMERA.format(name) for name in names) + MODEL
    daemon = Daemon(config.parse(text, "framebuf.toml", Path()))
    daemon._fail("camera[0]", error)
    assert daemon._is_stopping == (len(names) == 1)
    assert (daemon._fatal is None) == (len(names) > 1)


def test_a_folder_of_rings_that_is_gone_ends_the_node_whose_next_start_makes_it():
    text = "".join(CAMERA.format(name) for name in ("gate", "yard")) + MODEL
    daemon = Daemon(config.parse(text, "framebuf.toml", Path()))
    path = Path(tempfile.mkdtemp(prefix="framebuf-test-", dir="/dev/shm"))
    with RingDirectory.open(path) as directory:
        shutil.rmtree(path)
        with pytest.raises(RingError, match="No such file") as gone:
            directory.map_new("gate.0.ring", 4096, 4096, "camera gate")
    daemon._fail("camera[0]", gone.value)
    assert daemon._is_stopping
    assert daemon._fatal is gone.value
