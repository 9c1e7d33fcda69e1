"""A reload applies what needs no restart and says the rest; end to end in tests/service."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from framebuf import config
from framebuf.service.reload import Reload, differences
from framebuf.service.systemd import Notifier

if TYPE_CHECKING:
    from framebuf.config import Camera, HomeAssistant, Loaded

TOML = """
[[camera]]
name = "gate"
source = "pictures"
fps = 10
models = ["person"]
[camera.trigger]
before = "2s"
[[model]]
name = "person"
path = "person.onnx"
task = "detect"
decoder = "nanodet"
"""


@dataclass
class Network:
    name: str
    tuned: list[tuple[float, float]] = field(default_factory=list)

    def retune(self, threshold: float, iou: float) -> None:
        self.tuned.append((threshold, iou))


@dataclass
class Discovery:
    applied: list[HomeAssistant] = field(default_factory=list)

    def apply(self, settings: HomeAssistant) -> None:
        self.applied.append(settings)


@dataclass
class Running:
    """What a reload changes, and the file it reads."""

    file: Path
    loaded: Loaded
    reload: Reload
    manager: socket.socket
    network: Network
    feed: SimpleNamespace
    discovery: Discovery = field(default_factory=Discovery)

    def after(self, text: str) -> None:
        self.file.write_text(text)
        self.reload.ask()
        self.reload.serve([self.feed], [self.network], self.discovery)

    @property
    def camera(self) -> Camera:
        return self.feed.camera


@pytest.fixture
def running(tmp_path):
    file = tmp_path / "framebuf.toml"
    file.write_text(TOML)
    loaded = config.load(file)
    root = logging.getLogger()
    before = root.level
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        reload = Reload(loaded, Notifier(manager.getsockname()))
        feed = SimpleNamespace(camera=loaded.config.camera[0])
        yield Running(file, loaded, reload, manager, Network("person"), feed)
    root.setLevel(before)


def test_nothing_is_read_before_it_is_asked_for(running):
    running.file.unlink()
    running.reload.serve([running.feed], [running.network], running.discovery)
    assert running.network.tuned == []
    assert repr(running.reload) == f"<Reload {running.file}>"


def test_thresholds_trigger_defaults_and_level_apply(running, caplog):
    caplog.set_level("INFO")
    text = TOML.replace('before = "2s"', 'before = "3s"\nmode = "window"')
    running.after("[node]\nlog_level = 'debug'\n" + text + "threshold = 0.7\niou = 0.3\n")
    assert running.network.tuned == [(0.7, 0.3)]
    assert str(running.camera.trigger.before) == "3s"
    assert running.camera.trigger.mode == "window"
    assert logging.getLogger().level == logging.DEBUG
    said = caplog.messages[-1]
    assert said == (
        "reloaded: node.log_level, camera.gate.trigger.mode, camera.gate.trigger.before, "
        "model.person.threshold, model.person.iou applied"
    )
    assert caplog.records[-1].EVENT == "node_reloaded"


def test_what_home_assistant_is_told_applies(running, caplog):
    caplog.set_level("INFO")
    running.after("[homeassistant]\ndiscovery = true\n" + TOML)
    assert [settings.discovery for settings in running.discovery.applied] == [True]
    assert caplog.messages[-1] == "reloaded: homeassistant.discovery applied"


def test_what_needs_a_restart_is_said_and_not_applied(running, caplog):
    caplog.set_level("INFO")
    new = TOML.replace("fps = 10", "fps = 5") + "threshold = 0.7\n"
    running.after("[mqtt]\nport = 1884\n" + new)
    assert running.camera.fps == 10
    assert "model.person.threshold applied" in caplog.messages[-1]
    assert caplog.messages[-1].endswith("a restart is needed for mqtt.port, camera.gate.fps")
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_camera_more_and_one_of_another_name_need_a_restart(running, caplog):
    caplog.set_level("INFO")
    running.after(TOML.replace('"gate"', '"yard"'))
    assert running.camera.name == "gate"
    assert caplog.messages[-1].endswith("a restart is needed for camera.gate, camera.yard")


def test_trigger_defaults_wait_for_the_buffer_that_they_were_written_for(running, caplog):
    """A before of 20 s is right for the new buffer alone."""
    longer = TOML.replace("fps = 10", 'fps = 10\nbuffer = "30s"').replace('"2s"', '"20s"')
    running.after(longer)
    assert str(running.camera.trigger.before) == "2s"
    assert "camera.gate.buffer, camera.gate.trigger.before" in caplog.messages[-1]


def test_a_file_that_is_wrong_changes_nothing(running, caplog):
    running.after(TOML + "threshold = 7\n")
    assert running.network.tuned == []
    assert "nothing changed" in caplog.messages[-1]
    assert "model[0].threshold" in caplog.messages[-1]
    assert caplog.records[-1].EVENT == "reload_refused"
    running.after(TOML)
    assert running.network.tuned == [(0.4, 0.5)]


def test_the_level_of_the_command_line_goes_before_the_file(running):
    fixed = Reload(running.loaded, Notifier(""), fixed_level=True)
    logging.getLogger().setLevel("WARNING")
    running.file.write_text("[node]\nlog_level = 'debug'\n" + TOML)
    fixed.ask()
    fixed.serve([running.feed], [running.network], running.discovery)
    assert logging.getLogger().level == logging.WARNING


def test_the_service_manager_is_told_when_it_begins_and_ends(running):
    running.after(TOML)
    begun = running.manager.recv(999)
    assert begun.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert running.manager.recv(999) == b"READY=1"


def test_a_second_reload_compares_with_what_runs_by_then(running, caplog):
    caplog.set_level("INFO")
    running.after(TOML + "threshold = 0.7\n")
    running.after(TOML + "threshold = 0.7\n")
    assert caplog.messages[-1] == "reloaded: nothing to apply"


def test_the_same_configuration_differs_in_nothing(running):
    assert differences(running.loaded.config, running.loaded.config) == []
