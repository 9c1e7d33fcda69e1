"""What every command has: --version, errors on one line, a standard output that may be none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from framebuf import __version__, config
from framebuf.cli import app, main

MAIN = f"{sys.executable} -c 'from framebuf.cli import main; main()'"
COMMANDS = [command.name or "" for command in app.registered_commands]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_tells_the_version(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["framebuf", *command, "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"framebuf {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nope", "No such command 'nope' (see framebuf --help)"),
        ("run --nope", "No such option: --nope (see framebuf run --help)"),
        ("batch -d . -m m.onnx -r 99999999999999999999", "1000000000 (see framebuf batch"),
        ("batch -d . -m m.onnx -p gpu", "platforms are auto, cpu, rk3562, rk3566, rk3568, rk3576,"),
        ("trigger gate --before soon", '\'soon\' is no duration: write "1500ms", "2s", "5m"'),
    ],
)
def test_wrong_use_is_one_line_however_long(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["framebuf", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("framebuf: ")
    assert said in err
    assert err.count("\n") == 1


def test_no_command_at_all_shows_which_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["framebuf"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [(">&-", 0, ""), (">/dev/full", 1, "framebuf: cannot write: No space left on device\n")],
)
def test_an_output_that_cannot_be_written_is_no_traceback(
    output: str, code: int, said: str
) -> None:
    line = f"{MAIN} check --schema {output}"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr, run.stdout) == (code, said, "")


def test_a_reader_that_has_gone_is_no_error_message() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    run = subprocess.run(
        ["sh", "-c", f"{MAIN} --version"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert (run.returncode, run.stderr) == (1, "")


def test_a_file_that_cannot_be_used_is_named_whatever_it_is_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "tiny-1-batch1.rknn"
    monkeypatch.setattr(sys, "argv", ["framebuf", "check", "--schema"])
    monkeypatch.setattr(config, "schema", target.read_bytes)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"framebuf: {target}: No such file or directory\n"


def test_a_terminal_that_has_not_all_characters_gets_what_it_has() -> None:
    code = "import sys; from framebuf import cli; cli.app = lambda **_: print('3 × 4'); cli.main()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (0, b"3 \\xd7 4\n")


@pytest.mark.parametrize("module", ["typer", "cv2"])
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "ImportError() from KeyboardInterrupt()"])
def test_an_interrupt_during_an_import_is_no_traceback(module: str, raised: str) -> None:
    code = f"""
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise {raised}
sys.meta_path.insert(0, Interrupted())
sys.argv = ["framebuf", "batch", "-d", "/nowhere", "-m", "m.onnx"]
from framebuf.__main__ import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
