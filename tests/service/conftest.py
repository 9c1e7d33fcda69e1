"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.parts import Mosquitto, free_port


@pytest.fixture(scope="session")
def mosquitto(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mosquitto]:
    """A real broker that all tests share; nodes have names of their own."""
    broker = Mosquitto(tool("mosquitto"), tmp_path_factory.mktemp("mosquitto"), free_port())
    broker.start()
    yield broker
    broker.stop()


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
