"""The daemon on a board: real broker, real wheel, simulated vendor library; and its faults."""

from __future__ import annotations

import base64
import itertools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.board.userland import WHEELS, Board
from tests.service.books import Books
from tests.service.parts import REPO, Mosquitto, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.board.conftest import MakeBoard

MAIN = "from framebuf.cli import main; main()"
MODEL = REPO / "tests/assets/tiny-rk3588-i8-batch{1,4}.rknn"
HEIGHT, WIDTH = 256, 128
SCALE, ZERO_POINT, LOGITS = 0.01819426566362381, 39, 10
"""Of the output `logits`, as the file says."""
PICTURES = 6
LONG_S = 300.0


def tables(folder: Path) -> str:
    """A camera of the folder's pictures, and its model."""
    return (
        f'[[camera]]\nname = "gate"\nsource = "{folder}/pictures"\nfps = 10\nbuffer = "3s"\n'
        f'models = ["tiny"]\n[[model]]\nname = "tiny"\npath = "{MODEL}"\ntask = "raw"\n'
        'resize = "stretch"\n'
    )


class BoardNode(Node):
    """The daemon, run by the board's Python."""

    def __init__(self, folder: Path, port: int, tables: str, board: Board, orders: str) -> None:
        super().__init__(folder, port, tables)
        self._command = board.command("-c", MAIN, "run", "-c", self.config, orders=orders)

    def launch(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)

    def kill(self) -> None:
        """For one that hangs in the vendor's library, as the watchdog would."""
        assert self._process is not None
        self._process.kill()
        self.wait_exit()


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, NDArray[np.uint8]]:
    """File name to pixels, each with a level of its own in every stretch."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    made = {}
    for at in range(PICTURES):
        levels = np.random.default_rng(at).integers(0, 256, (8, 1, 3), np.uint8)
        made[f"{at}.png"] = np.ascontiguousarray(levels.repeat(HEIGHT // 8, 0).repeat(WIDTH, 1))
        cv2.imwrite(str(folder / f"{at}.png"), made[f"{at}.png"])
    return made


def expected_logits(bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the simulated library answers to a picture."""
    pixels = bgr[..., ::-1].reshape(-1)
    bounds = [at * len(pixels) // LOGITS for at in range(LOGITS + 1)]
    means = np.array([pixels[a:b].mean() for a, b in itertools.pairwise(bounds)])
    answer: NDArray[np.float64] = (np.floor(means + 0.5) - 128 - ZERO_POINT) * SCALE
    return answer


def logits(result: dict[str, Any]) -> NDArray[np.float32]:
    (data,) = (each["f32"] for each in result["outputs"] if each["name"] == "logits")
    return np.frombuffer(base64.b64decode(data), "<f4")


class Line:
    """A running daemon, the orders that its library gets, and its books."""

    def __init__(self, books: Books, node: BoardNode, orders: Path) -> None:
        self.books = books
        self.node = node
        self._orders = orders

    def ask(self, orders: str, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Results and done of a window of eight frames still to come."""
        fresh = self._orders.with_suffix(".new")
        fresh.write_text(orders)
        fresh.rename(self._orders)
        id = self.books.send_trigger(
            "gate", {"mode": "window", "before": 0, "after": 8, "deadline": "280s", **more}
        )
        self.books.wait_done(id, timeout_s=LONG_S)
        self.books.fence("gate", timeout_s=LONG_S)
        request = self.books.request(id)  # the contract is checked where time is no emulation's
        return [each.document for each in request.results], request.dones[0].document


@pytest.fixture(params=WHEELS)
def line(
    request: pytest.FixtureRequest, make_board: MakeBoard, mosquitto: Mosquitto, tmp_path: Path,
    pictures: dict[str, NDArray[np.uint8]],
) -> Iterator[Line]:  # fmt: skip
    orders = tmp_path / "orders"
    orders.write_text("")
    node = BoardNode(
        tmp_path,
        mosquitto.port,
        tables(tmp_path),
        make_board("rk3588", request.param),
        str(orders),
    )
    with Books.open(mosquitto.port, "t") as books:
        node.launch()
        try:
            node.wait_for(lambda: "ready: cameras" in node.log, "ready", LONG_S)
            books.wait_text("gate/availability", "online", LONG_S)
            yield Line(books, node, orders)
        except BaseException:
            print(node.log)
            raise
        finally:
            node.stop()


@pytest.mark.timeout(1200)
def test_a_fault_of_the_npu_ends_in_a_result_that_says_so_and_never_in_a_wrong_answer(
    line: Line, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    def assert_right(results: list[dict[str, Any]], done: dict[str, Any]) -> None:
        assert done["event_type"] == "complete", done
        assert len(results) == 8
        for result in results:
            wanted = expected_logits(pictures[result["frame"]["file"]])
            assert np.abs(logits(result) - wanted).max() < 1.01 * SCALE

    assert_right(*line.ask(""))
    for orders, words in (
        ("run=-1", "RKNN_ERR_FAIL"),
        ("inputs=-5", "RKNN_ERR_PARAM_INVALID"),
        ("outputs=-9", "RKNN_ERR_OUTPUT_INVALID"),
        ("outputs=nan", "NaN"),
    ):
        results, done = line.ask(orders)
        assert (done["event_type"], done["failed"]) == ("failed", 8), done
        for result in results:
            assert result["error"]["code"] == "inference_failed"
            assert words in result["error"]["message"]
            assert "outputs" not in result
    assert_right(*line.ask(""))
    results, done = line.ask("hang=run", deadline="8s")
    assert done["missing"] == {"deadline": 8}, done
    assert results == []
    line.node.kill()


@pytest.mark.timeout(1200)
def test_a_model_with_exchanged_slots_is_refused_at_the_start_with_the_slots_named(
    make_board: MakeBoard, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/0.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    node = BoardNode(tmp_path, mosquitto.port, tables(tmp_path), make_board(), "slots=swap")
    node.launch()
    assert node.wait_exit(LONG_S) != 0
    assert "tiny-b4-0: slots 0, 1 answer otherwise than the same picture alone" in node.log
