"""What the daemon does with what its cameras cannot mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from framebuf import config
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
