"""Real inference servers, each started once where that will do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from framebuf.config.endpoints import Endpoints
from framebuf.errors import ServersAwayError
from framebuf.models.runtimes.oip import OipRuntime
from framebuf.models.runtimes.oipservers import Servers
from tests.ports import free_port
from tests.service.conftest import mosquitto, own_mosquitto  # noqa: F401 - fixtures
from tests.service.parts import ASSETS
from tests.serving.others import start_kserve, start_mlserver
from tests.serving.triton import start_triton

if TYPE_CHECKING:
    from tests.serving.process import ServerProcess

NANODET = ASSETS / "nanodet-416.onnx"


def answers(url: str) -> Callable[[], bool]:
    """Whether a server says what the model is."""

    def ask() -> bool:
        try:
            OipRuntime.open(Servers(Endpoints.parse(url))).close()
        except ServersAwayError:
            return False
        return True

    return ask


class Triton:
    """A real one, that can be killed, frozen and started again on its ports."""

    def __init__(self, folder: Path, threads: int = 1, max_batch: int = 8) -> None:
        self.folder = folder
        self.http, self.grpc = free_port(), free_port()
        self._threads, self._max_batch = threads, max_batch
        self.process: ServerProcess | None = None

    def start(self) -> None:
        self.process = start_triton(
            self.folder, {"nanodet": NANODET}, self.http, self.grpc,
            threads=self._threads, max_batch=self._max_batch,
        )  # fmt: skip
        self.process.until(answers(f"http://127.0.0.1:{self.http}/nanodet"))

    @property
    def running(self) -> ServerProcess:
        assert self.process is not None
        return self.process

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """One that all tests share; none may harm it."""
    server = Triton(tmp_path_factory.mktemp("triton"), threads=2)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def two_tritons(tmp_path: Path) -> Iterator[tuple[Triton, Triton]]:
    """Two that the test may kill."""
    servers = Triton(tmp_path / "a"), Triton(tmp_path / "b")
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture(scope="session")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Its ports, of HTTP and gRPC."""
    yield from _other(start_mlserver, tmp_path_factory.mktemp("mlserver") / "own")


@pytest.fixture(scope="session")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Its ports, of HTTP and gRPC."""
    yield from _other(start_kserve, tmp_path_factory.mktemp("kserve") / "own")


def _other(start: Callable[..., ServerProcess], folder: Path) -> Iterator[tuple[int, int]]:
    ports = free_port(), free_port()
    process = start(folder, "nanodet", NANODET, *ports, threads=2)
    process.until(answers(f"grpc://127.0.0.1:{ports[1]}/nanodet"))
    yield ports
    process.stop()
