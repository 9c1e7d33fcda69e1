"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.ports import free_port
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto
from tests.service.rtsp import RtspCamera


@pytest.fixture(scope="session")
def mosquitto(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mosquitto]:
    """A real broker that all tests share; nodes have names of their own."""
    broker = Mosquitto(tool("mosquitto"), tmp_path_factory.mktemp("mosquitto"), free_port())
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def rtsp_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The numbered pictures that `rtsp` plays; one for each frame of nearly four seconds."""
    return make_video(tmp_path_factory.mktemp("rtsp") / "film.mp4", RtspCamera.PICTURES)


@pytest.fixture
def rtsp(rtsp_film: Path, tmp_path: Path) -> Iterator[RtspCamera]:
    """A camera on RTSP, by GStreamer's server; not started yet."""
    if not RtspCamera.can_run():
        missing("GStreamer's RTSP server", "gir1.2-gst-rtsp-server-1.0 python3-gi")
    camera = RtspCamera(rtsp_film, tmp_path, free_port())
    yield camera
    camera.kill()


@pytest.fixture
def own_mosquitto(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Mosquitto]:
    """A real broker that the test may stop and start."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(tool("mosquitto"), folder, free_port())
    broker.start()
    yield broker
    broker.stop()


_OUTCOMES: list[tuple[str, str]] = []


@pytest.fixture
def record() -> Callable[[str, str], None]:
    """Put a case and its outcome into the table at the end of the run."""
    return lambda case, outcome: _OUTCOMES.append((case, outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _OUTCOMES:
        return
    terminalreporter.section("hostile cases")
    for case, outcome in _OUTCOMES:
        terminalreporter.write_line(f"{case:<36} {outcome}")
