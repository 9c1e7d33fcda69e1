from __future__ import annotations

from dataclasses import dataclass

import pytest

from framebuf.service.hung import APART_NS, FILE, HUNG_NS, HungCameras
from tests.unit.rings import ring_folder


@dataclass
class Seen:
    beat_ns: int = 0


@pytest.fixture
def directory():
    with ring_folder() as directory:
        yield directory


def test_a_camera_that_hangs_restarts_the_process_once_in_ten_minutes(directory, caplog):
    cameras = {"gate": Seen(), "yard": Seen()}
    hung = HungCameras(cameras, directory)
    assert hung.restart_for(HUNG_NS) is None
    cameras["yard"].beat_ns = now = HUNG_NS + 1
    error = hung.restart_for(now)
    assert str(error) == "camera gate hangs; only a new process gets it back"
    # the next process finds it hanging again
    for moment in (now + 1, now + APART_NS - 1):
        cameras["yard"].beat_ns = moment
        again = HungCameras(cameras, directory)
        assert again.restart_for(moment) is None
        assert again.restart_for(moment) is None
    assert (
        caplog.messages
        == ["camera gate hangs; the process was restarted for that less than 10 min ago"] * 2
    )
    assert HungCameras(cameras, directory).restart_for(now + APART_NS) is not None


def test_what_cannot_be_remembered_is_not_done(directory, caplog):
    (directory.path / FILE).mkdir()
    hung = HungCameras({"gate": Seen()}, directory)
    assert hung.restart_for(HUNG_NS + 1) is None
    assert "no restart" in caplog.text


@pytest.mark.parametrize("text", ["", "soon", f"{10**18}"])
def test_a_file_that_means_nothing_is_no_restart_before(directory, text):
    (directory.path / FILE).write_text(text)
    assert HungCameras({"gate": Seen()}, directory).restart_for(HUNG_NS + 1) is not None
