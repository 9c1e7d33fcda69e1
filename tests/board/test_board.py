"""Boards from outside: the suite that runs on them, broken ones, the commands, and the daemon."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.board.userland import REPOSITORY, SOCS, WHEELS, Board
from tests.service.parts import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.board.conftest import MakeBoard
    from tests.service.parts import Mosquitto

pytestmark = pytest.mark.timeout(1200)  # emulation is slow, and machines are busy

ASSETS = REPOSITORY / "tests" / "assets"
SINGLE = ASSETS / "tiny-rk3588-i8-batch1.rknn"
FAMILY = ASSETS / "tiny-rk3588-i8-batch{1,4}.rknn"
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--rootdir=.")
MAIN = "from framebuf.cli import main; main()"
ONCE = "does_not_open or never_reaches or others_write or closed or says_what"
"""Tests whose subject is the same on every chip: they run on the first."""


def inside(board: Board, *arguments: str) -> None:
    """Run tests on the board; they must pass."""
    done = board.run(*PYTEST, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def framebuf(board: Board, *arguments: str | Path, orders: str = "") -> tuple[int, str]:
    """Exit code and output of a command on the board."""
    done = board.run("-c", MAIN, *arguments, orders=orders)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("wheel", WHEELS)
@pytest.mark.parametrize("soc", SOCS)
def test_the_runtime_does_right_by_the_vendors_wheel(
    make_board: MakeBoard, soc: str, wheel: str
) -> None:
    only = () if soc == SOCS[0] else ("-k", f"not ({ONCE})")
    inside(make_board(soc, wheel), "tests/board/inside/test_rknn.py", *only)


@pytest.mark.parametrize("wheel", WHEELS)
def test_memory_stays_flat_over_three_thousand_inferences(
    make_board: MakeBoard, wheel: str
) -> None:
    inside(make_board("rk3588", wheel), "tests/board/inside/test_memory.py")


def without_the_library(board: Board) -> None:
    (board.root / "usr/lib/librknnrt.so").unlink()


def with_a_library_for_another_machine(board: Board) -> None:
    (board.root / "usr/lib/librknnrt.so").write_bytes(b"\x7fELF, but not for this machine")


def without_a_node(board: Board) -> None:
    (board.root / "dev/dri/renderD129").rename(board.root / "dev/dri/by-path")


def without_leave(board: Board) -> None:
    # root may open any file for writing, but no folder
    (board.root / "dev/dri/renderD129").unlink()
    (board.root / "dev/dri/renderD129").mkdir()


def without_a_device_tree(board: Board) -> None:
    (board.root / "proc/device-tree/compatible").write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711")


BROKEN = {
    without_the_library: (
        r"the vendor's library: put librknnrt\.so to /usr/lib/librknnrt\.so",
        r"library /usr/lib/librknnrt\.so is missing; copy it there",
    ),
    with_a_library_for_another_machine: (
        None,
        r"librknnrt\.so cannot be loaded; copy the one for aarch64",
    ),
    without_a_node: (
        r"the NPU's driver: no node is there; boot the board maker's kernel",
        # this machine may be a container itself, which is asked for before the driver
        r"there is no NPU driver: .* kernel|in a container the NPU needs --device /dev/dri/rend",
    ),
    without_leave: (
        r"leave to open the NPU's node: usermod -aG root USER",
        r"this user may not open /dev/dri/renderD129 .*: usermod -aG root USER",
    ),
    without_a_device_tree: (
        r"a Rockchip chip with an NPU: /proc/device-tree/compatible names none",
        r"no Rockchip NPU is named in /proc/device-tree/compatible; .* \"sim:rk3588\" plays one",
    ),
}


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda breaking: breaking.__name__)
def test_what_a_board_lacks_is_said_in_one_message_with_its_remedy(
    make_board: MakeBoard, breaking: Callable[[Board], None]
) -> None:
    board = make_board()
    breaking(board)
    in_report, in_error = BROKEN[breaking]
    code, said = framebuf(board, "check", "--board")
    assert code == (78 if in_report else 0)
    if in_report:
        assert re.search(rf"^missing  {in_report}", said, re.MULTILINE), said
    opened = board.run("tests/board/inside/opening.py", SINGLE)
    assert opened.stdout.startswith(f"ModelError {SINGLE}: "), opened
    assert re.search(in_error, opened.stdout), opened.stdout
    assert opened.stdout.count("\n") == 1


def test_a_board_report_tells_all_that_a_reader_of_it_asks(make_board: MakeBoard) -> None:
    board = make_board()
    code, text = framebuf(board, "check", "--board", "-m", FAMILY)
    assert code == 0, text
    for wanted in (
        "board    simulated rk3588 board (simulated,board, rockchip,rk3588)",
        "chip     rk3588, 3 NPU cores",
        "librknnrt.so 2.5.0 (simulated stand-in)",
        "wheel    rknn-toolkit-lite2 2.5.0",
        "node     /dev/dri/renderD129",
        "tiny-rk3588-i8-batch1.rknn, core 2",
        "batch 4  ",
        "parity: every slot and core answers as it should",
        "all is well",
    ):
        assert wanted in text, text
    code, text = framebuf(board, "check", "--board", "-m", FAMILY, "--json", orders="slots=swap")
    assert code == 78
    report = json.loads(text)
    (model,) = report["models"]
    assert [each["batch"] for each in model["contexts"]] == [1, 1, 1, 4]
    assert "batch4.rknn: slots 0, 1 answer otherwise than the same picture alone" in model["error"]


def test_a_board_report_takes_the_configured_models_and_says_what_is_wrong_with_them(
    make_board: MakeBoard, tmp_path: Path
) -> None:
    board = make_board()
    config = tmp_path / "framebuf.toml"
    config.write_text(
        '[[camera]]\nname = "gate"\nsource = "x"\nmodels = ["tiny"]\n'
        f'[[model]]\nname = "tiny"\npath = "{SINGLE}"\ntask = "embed"\n'
    )
    code, text = framebuf(board, "check", "--board", "-c", config, orders="run=-1@5")
    assert code == 78
    assert f"model    {SINGLE}" in text
    assert re.search(r"failed: .*the NPU failed the run: RKNN_ERR_FAIL", text), text
    config.write_text("[[camera]]\nnme = 1\n")
    code, text = framebuf(board, "check", "--board", "-c", config)
    assert code == 78
    assert re.search(r"^missing  a good configuration: .*framebuf\.toml:2", text, re.MULTILINE), (
        text
    )
    assert "chip     rk3588" in text


def test_check_tries_the_configured_model_on_the_npu(
    make_board: MakeBoard, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "cat.jpg"
    picture.write_bytes((REPOSITORY / "framebuf/demo/assets/photos/cat.jpg").read_bytes())
    node = Node(
        tmp_path,
        mosquitto.port,
        f'[[camera]]\nname = "gate"\nsource = "{picture.parent}"\nfps = 10\nbuffer = "2s"\n'
        f'models = ["tiny"]\n[[model]]\nname = "tiny"\npath = "{FAMILY}"\ntask = "embed"\n',
    )
    board = make_board()
    code, text = framebuf(board, "check", "-c", node.config)
    assert code == 0, text
    assert "model tiny: embed on rk3588, images " in text
    assert "batch 1: " in text
    assert "batch 4: " in text
    code, text = framebuf(board, "check", "-c", node.config, orders="run=-1@1")
    assert code == 78
    assert "its first inference failed: " in text
    assert "RKNN_ERR_FAIL" in text


def test_inspect_needs_no_vendor_and_says_what_the_file_holds(make_board: MakeBoard) -> None:
    board = make_board(library=None)
    code, text = framebuf(board, "inspect", SINGLE)
    assert code == 0, text
    assert "rk3588" in text
    assert "256" in text
