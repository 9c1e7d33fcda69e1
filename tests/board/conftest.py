"""Boards for the tests: roots for qemu, with the simulated vendor library compiled once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.board.userland import Board, built, library
from tests.conftest import missing
from tests.ports import free_port
from tests.service.parts import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeBoard = Callable[..., Board]

OF_PACKAGE = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "mmdebstrap": "mmdebstrap",
    "qemu-aarch64-static": "qemu-user-static",
}


@pytest.fixture(scope="session")
def simulated_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for program, packages in OF_PACKAGE.items():
        if shutil.which(program) is None:
            missing(program, packages)
    built()
    return library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def make_board(tmp_path: Path, simulated_library: Path) -> MakeBoard:
    """`make_board(soc, wheel)`: a board of its own; `library=None`: without the vendor's."""

    def make(
        soc: str = "rk3588", wheel: str = "2.5.0", library: Path | None = simulated_library
    ) -> Board:
        return Board.make(tmp_path / f"root-{soc}-{wheel}", soc, wheel, library)

    return make


@pytest.fixture
def mosquitto(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tool("mosquitto"), tmp_path, free_port())
    broker.start()
    yield broker
    broker.stop()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """What is inside runs on a board alone."""
    return True if collection_path.name == "inside" and "BOARD_ROOT" not in os.environ else None
