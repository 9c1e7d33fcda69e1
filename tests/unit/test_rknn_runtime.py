"""RknnRuntime on a fake rknnlite with the vices of the real one; tests/board has the real one."""

from __future__ import annotations

import importlib.machinery
import json
import logging
import os
import sys
import threading
import traceback
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from framebuf.cli import app
from framebuf.errors import InferenceError, ModelError
from framebuf.models import board
from framebuf.models.runtimes import open_runtime, platform_of, rknngarbage
from framebuf.models.runtimes.rknn import RknnRuntime
from framebuf.models.runtimes.rknnfile import RknnFile
from framebuf.models.runtimes.rknnfit import check_chip, core_mask
from framebuf.models.runtimes.vendorlog import VendorLog, take_over

ASSETS = Path(__file__).parents[1] / "assets"
BATCH_1, BATCH_4 = (ASSETS / f"tiny-rk3588-i8-batch{batch}.rknn" for batch in (1, 4))
RK3566 = ASSETS / "tiny-rk3566-i8-batch1.rknn"
SHAPE = (1, 256, 128, 3)


class FakeNpu:
    """What all fake contexts share: orders, and what was asked of them."""

    def __init__(self):
        self.held = 0
        self.masks = []
        self.init_says = 0
        self.init_logs = ()
        self.interrupt = None
        self.run_code = 0
        self.outputs = None
        self.shape = SHAPE
        self.driver = "0.9.8"
        self.raises = None

    def lite(self):
        return FakeLite(self)


class FakeLite:
    def __init__(self, npu):
        self._npu = npu
        self.rknn_runtime = None

    def load_rknn(self, path):
        return 0 if Path(path).is_file() else -1

    def init_runtime(self, core_mask=0):
        npu, log = self._npu, logging.getLogger("acuityLogger")
        npu.masks.append(core_mask)
        self.rknn_runtime = FakeContext(npu)
        try:
            if npu.interrupt:
                raise npu.interrupt
        except:  # noqa: E722 - as the vendor does
            log.error("Catch exception when init runtime!")  # noqa: TRY400
            log.error(traceback.format_exc())  # noqa: TRY400
            return -1
        for text in npu.init_logs:
            log.error(text)
        return npu.init_says

    def release(self):
        if self.rknn_runtime is not None:
            self._npu.held -= 1
            self.rknn_runtime = None


class FakeContext:
    def __init__(self, npu):
        self._npu = npu
        npu.held += 1

    def get_sdk_version(self):
        return "…", "2.5.0 (fake)", self._npu.driver

    def get_tensor_attr(self, index, is_output):
        dims = [*self._npu.shape, *[0] * (16 - len(self._npu.shape))]
        return SimpleNamespace(n_dims=len(self._npu.shape), dims=dims)

    def set_inputs(self, inputs, data_type, data_format, inputs_pass_through=None):
        if self._npu.raises:
            raise self._npu.raises
        (tensor,) = inputs
        assert tensor.flags.c_contiguous
        self._batch = len(tensor)

    def run(self, get_frame_id):
        return self._npu.run_code

    def get_outputs(self, get_frame_id):
        if self._npu.outputs is not None:
            return self._npu.outputs()
        return [np.zeros((self._batch, 32), np.float32), np.ones((self._batch, 10), np.float32)]


@pytest.fixture
def npu(monkeypatch):
    """An rk3588 whose rknnlite is a fake."""
    fake = FakeNpu()
    for name in ("rknnlite", "rknnlite.api"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.RKNNLite = fake.lite
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(board, "soc", lambda: "rk3588")
    yield fake
    assert fake.held == 0, "a context was not released"


def test_what_the_runtime_gives_is_float32_rows_of_the_files_shapes(npu):
    runtime = RknnRuntime.open(BATCH_1, "rk3588")
    embedding, logits = runtime.infer(np.zeros(SHAPE, np.uint8))
    assert (embedding.shape, logits.shape, logits.dtype) == ((1, 32), (1, 10), np.float32)
    assert runtime.outputs[1].scale == pytest.approx(0.018194266)
    assert "librknnrt 2.5.0 (fake), driver 0.9.8" in runtime.versions
    runtime.close()


def test_a_view_with_gaps_reaches_the_vendor_in_one_piece(npu):
    runtime = RknnRuntime.open(BATCH_1, "rk3588")
    runtime.infer(np.zeros((1, 256, 256, 3), np.uint8)[:, :, ::2])
    runtime.close()


@pytest.mark.parametrize(
    ("platform", "batch", "core", "mask"),
    [
        ("rk3588", 1, None, 0), ("rk3588", 1, 0, 1), ("rk3588", 1, 1, 2), ("rk3588", 1, 2, 4),
        ("rk3588", 4, 2, 0), ("rk3582", 1, 2, 4), ("rk3576", 1, 1, 2), ("rk3576", 8, 1, 0),
        ("rk3566", 1, 0, 0), ("rk3568", 1, 0, 0), ("rk3562", 1, 0, 0),
    ],
)  # fmt: skip
def test_only_a_single_on_a_chip_of_several_cores_is_pinned(platform, batch, core, mask):
    assert core_mask(BATCH_1, platform, batch, core) == mask


@pytest.mark.parametrize(("platform", "core"), [("rk3588", 3), ("rk3576", 2), ("rk3566", 1)])
def test_a_core_that_is_not_there_is_refused(platform, core):
    with pytest.raises(ModelError, match=f"expected a core from 0 to {core - 1}, got {core}"):
        core_mask(BATCH_1, platform, 1, core)


def test_a_pinned_context_tells_the_vendor_its_mask(npu):
    RknnRuntime.open(BATCH_1, "rk3588", core=2).close()
    assert npu.masks == [4]


@pytest.mark.parametrize(
    ("path", "here", "platform", "fault"),
    [
        (RK3566, "rk3568", "rk3568", None),
        (BATCH_1, "rk3582", "rk3588", None),
        (BATCH_1, None, "rk3588", None),
        (RK3566, "rk3588", "rk3588", "compiled for rk3566, this is rk3588; .*-p rk3588"),
        (BATCH_1, "rk3566", "rk3588", "says rk3588, this board is rk3566; give platform"),
    ],
)
def test_a_model_runs_on_the_chips_that_share_its_npu(monkeypatch, path, here, platform, fault):
    monkeypatch.setattr(board, "soc", lambda: here)
    if fault is None:
        check_chip(RknnFile.read(path), platform)
    else:
        with pytest.raises(ModelError, match=fault):
            check_chip(RknnFile.read(path), platform)


def test_a_file_and_a_library_that_differ_about_the_input_are_told(npu):
    npu.shape = (4, 256, 128, 3)
    with pytest.raises(ModelError, match=r"says images 1×256×128×3 uint8, the library .* 4×256"):
        RknnRuntime.open(BATCH_1, "rk3588")


@pytest.mark.parametrize(
    "outputs",
    [lambda: None, list, lambda: [np.zeros((1, 32))], lambda: [np.zeros((4, 32))] * 2],
)
def test_outputs_that_are_not_the_files_are_never_handed_on(npu, outputs):
    runtime = RknnRuntime.open(BATCH_1, "rk3588")
    npu.outputs = outputs
    with pytest.raises(InferenceError, match=r"expected outputs of shapes \[\(1, 32\), \(1, 10\)"):
        runtime.infer(np.zeros(SHAPE, np.uint8))
    runtime.close()


def test_the_code_of_a_run_is_looked_at_though_outputs_come_all_the_same(npu):
    runtime = RknnRuntime.open(BATCH_1, "rk3588")
    npu.run_code = -2
    with pytest.raises(InferenceError, match=r"failed the run: RKNN_ERR_TIMEOUT \(-2\)$"):
        runtime.infer(np.zeros(SHAPE, np.uint8))
    runtime.close()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_that_the_vendor_swallows_while_opening_is_raised_again(npu, interrupt):
    npu.interrupt = interrupt
    with pytest.raises(type(interrupt)):
        RknnRuntime.open(BATCH_1, "rk3588")


def test_an_interrupt_in_an_inference_goes_through(npu):
    runtime = RknnRuntime.open(BATCH_1, "rk3588")
    npu.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        runtime.infer(np.zeros(SHAPE, np.uint8))
    runtime.close()


def test_an_old_driver_is_warned_of_where_more_than_the_first_core_is_used(npu, caplog):
    npu.driver = "0.8.2"
    with caplog.at_level(logging.WARNING):
        RknnRuntime.open(BATCH_1, "rk3588", core=0).close()
        assert not caplog.records
        RknnRuntime.open(BATCH_1, "rk3588", core=1).close()
    assert "driver 0.8.2 is older than 0.9.6" in caplog.text


LIBRARY = Path("/usr/lib/librknnrt.so")


@pytest.mark.parametrize(
    ("said", "library", "remedy"),
    [
        ("Can not find dynamic library on RK3588!", None, r"librknnrt\.so is missing; copy it"),
        ("!!! It is detected that x is missing in the container.", LIBRARY, "--device /dev/dri/"),
        ("OSError: /usr/lib/librknnrt.so: invalid ELF header", LIBRARY, "one for aarch64"),
        ("failed to open rknn device!", LIBRARY, "there is no NPU driver"),
        ("The rknn model does not match the RKNPU hardware version!", LIBRARY, "-p rk3588"),
        ("Invalid RKNN model version 6", LIBRARY, r"made by rknn-toolkit2 2\.5\.0, .* update"),
        ("RKNN init failed. error code: RKNN_ERR_KEY_INVALID", LIBRARY, "needs a key"),
        ("RKNN init failed. error code: RKNN_ERR_MALLOC_FAIL", LIBRARY, "fewer runtimes"),
        ("something new", LIBRARY, "framebuf check --board shows"),
    ],
)
def test_a_model_that_does_not_open_says_why_and_what_to_do(
    npu, monkeypatch, said, library, remedy
):
    monkeypatch.setattr(board, "library", lambda: library)
    monkeypatch.setattr(board, "nodes", tuple)
    npu.init_says, npu.init_logs = -1, (said,)
    with pytest.raises(ModelError, match=remedy) as raised:
        RknnRuntime.open(BATCH_1, "rk3588")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("usable", "remedy"),
    [(False, r"this user may not open /dev/dri/renderD129 .*usermod -aG render"), (True, "dmesg")],
)
def test_a_node_that_is_there_is_closed_to_this_user_or_its_driver_is_at_fault(
    npu, monkeypatch, usable, remedy
):
    node = board.Node(Path("/dev/dri/renderD129"), "crw-rw----", "root", "render", usable)
    monkeypatch.setattr(board, "nodes", lambda: (node,))
    monkeypatch.setattr(board, "library", lambda: LIBRARY)
    npu.init_says, npu.init_logs = -1, ("failed to open rknn device!",)
    with pytest.raises(ModelError, match=remedy):
        RknnRuntime.open(BATCH_1, "rk3588")


def test_without_a_board_auto_says_what_to_give(monkeypatch):
    assert platform_of(BATCH_1, "auto") == "rknn"
    with pytest.raises(ModelError, match=r'no Rockchip NPU is named .*"sim:rk3588" plays one'):
        open_runtime(BATCH_1, "rknn", threads=1)


def test_without_a_wheel_that_can_be_imported_its_name_is_told(npu, monkeypatch):
    monkeypatch.setitem(sys.modules, "rknnlite.api", None)  # as if it were missing, or broken
    with pytest.raises(ModelError, match=r"needs rknn-toolkit-lite2.*rknnlite.*sim:rk3588"):
        RknnRuntime.open(BATCH_1, "rk3588")


@pytest.mark.parametrize(
    ("names", "soc"),
    [
        ("radxa,rock-5b\0rockchip,rk3588\0", "rk3588"),
        ("radxa,rock-5a\0rockchip,rk3588s\0", "rk3588"),
        ("radxa,rock-5c-lite\0rockchip,rk3582\0rockchip,rk3588s\0", "rk3582"),
        ("friendlyelec,nanopi-r5c\0rockchip,rk3568\0", "rk3568"),
        ("rockchip,rk3399\0", None),
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", None),
        ("", None),
    ],
)
def test_the_chip_is_what_the_device_tree_says(tmp_path, monkeypatch, names, soc):
    monkeypatch.setattr(board, "DEVICE_TREE", tmp_path)
    assert board.soc() is None
    (tmp_path / "compatible").write_text(names)
    assert board.soc() == soc


def test_versions_are_read_from_the_files_that_hold_them(tmp_path, monkeypatch):
    library, version = tmp_path / "librknnrt.so", tmp_path / "version"
    monkeypatch.setattr(board, "LIBRARIES", (tmp_path / "none", library))
    monkeypatch.setattr(board, "DRIVER_VERSIONS", (tmp_path / "none", version))
    assert (board.library(), board.library_version(), board.driver_version()) == (None,) * 3
    library.write_bytes(b"\x7fELF\0librknnrt version: 2.3.2 (429f97ae6b@2025-04-09)\0more\0")
    version.write_text("RKNPU driver: v0.9.8\n")
    assert board.library_version() == "2.3.2 (429f97ae6b@2025-04-09)"
    assert board.driver_version() == "0.9.8"
    assert [board.is_old(text) for text in ("0.8.2", "0.9.3", "0.9.6", "0.9.8", "1.0.0", "?")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_what_the_library_writes_while_opening_is_logged_and_the_rest_passed_on(caplog, capfd):
    log = VendorLog("net.rknn")
    with caplog.at_level(logging.DEBUG), log.opening():
        os.write(2, b"E RKNN: [15:14:02.114] failed to open rknn device!\n")
        os.write(1, b"something else\n")
        os.write(2, b"W RKNN: [15:14:02.115] a warning\nnot a whole line")
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("ERROR", "net.rknn: RKNN: [15:14:02.114] failed to open rknn device!"),
        ("WARNING", "net.rknn: RKNN: [15:14:02.115] a warning"),
    ]
    assert log.errors == "failed to open rknn device!"
    assert tuple(capfd.readouterr()) == ("something else\n", "not a whole line")


def test_what_rknnlite_prints_about_containers_is_logged_and_the_rest_passed_on(caplog, capsys):
    log = VendorLog("net.rknn")
    with caplog.at_level(logging.DEBUG), log.opening():
        print("!!! Files are missing in the container.\n--device /dev/dri/renderD129")
    assert "in the container" in log.text
    with log.opening():
        print("somebody else")
    assert capsys.readouterr().out == "somebody else\n"


def test_each_thread_hears_what_it_caused():
    logs = [VendorLog(f"net-{at}") for at in range(2)]
    meet = threading.Barrier(2)

    def call(log):
        with log.listening():
            meet.wait()
            logging.getLogger("acuityLogger").error("about %s", log.name)

    take_over()
    threads = [threading.Thread(target=call, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [log.errors for log in logs] == ["about net-0", "about net-1"]


def test_all_garbage_is_collected_the_sooner_the_larger_the_inputs_are(monkeypatch):
    def collections(size, calls=4096):
        made = []
        monkeypatch.setattr(rknngarbage, "_all_calls", iter(range(1, calls + 1)))
        monkeypatch.setattr(rknngarbage.gc, "collect", lambda *args: made.append(args))
        for _ in range(calls):
            rknngarbage.sweep(size)
        return {args: made.count(args) for args in set(made)}

    assert collections(100_000) == {(): 4, (1,): 60, (0,): 448}
    assert collections(4 * 2**20) == {(): 16, (1,): 48, (0,): 448}
    assert collections(2**30) == {(): 64, (0,): 448}


def test_a_board_report_off_a_board_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(board, "DEVICE_TREE", tmp_path)
    monkeypatch.setattr(board, "LIBRARIES", (tmp_path / "librknnrt.so",))
    monkeypatch.setattr(board, "RENDER_NODES", str(tmp_path / "dri"))
    monkeypatch.setattr(board, "wheel_version", lambda: None)
    told = CliRunner().invoke(app, ["check", "--board"])
    assert told.exit_code == 78
    missing = [line for line in told.stdout.splitlines() if line.startswith("missing")]
    assert len(missing) == 4
    document = json.loads(CliRunner().invoke(app, ["check", "--board", "--json"]).stdout)
    assert [f"missing  {what}" for what in document["missing"]] == missing


def test_a_model_to_check_needs_board():
    told = CliRunner().invoke(app, ["check", "-m", str(BATCH_1)])
    assert told.exit_code == 2
    assert "goes with --board" in told.output
