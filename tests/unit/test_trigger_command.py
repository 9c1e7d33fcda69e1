"""`framebuf trigger`: what cannot be sent is one usage error, and nothing is connected for it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from framebuf.cli import app
from framebuf.service import caller

NOBODY = ("--host", "127.0.0.1", "--node", "n")


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch):
    """A test that gets as far as to connect has failed."""
    monkeypatch.setattr(caller.Caller, "connect", lambda *_: pytest.fail("it connected"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gate", "--port", "0"], "--port"),
        (["gate", "--port", "65536"], "--port"),
        (["gate", "--host", ""], "--host"),
        (["gate", "--node", "a/b"], "--node"),
        (["gate", "--node", "+"], "--node"),
        (["gate", "--base", "#"], "--base"),
        (["gate", "--base", "$SYS"], "--base"),
        (["gate", "--base", "a//b"], "--base"),
        (["gate", "--base", "a\udcffb"], "--base"),
        (["gate/trigger"], "CAMERA"),
        (["+"], "CAMERA"),
        (["#"], "CAMERA"),
        ([""], "CAMERA"),
        (["g\u00e4te"], "CAMERA"),
        (["a\udcffb"], "CAMERA"),
        (["gate", "--id", "a b"], "an id is 1 to 64"),
        (["gate", "--id", "a\udcffb"], "trigger"),
        (["gate", "--mode", "all"], "enum"),
        (["gate", "--at", "now"], "RFC 3339"),
        (["gate", "--before", "soon"], "before"),
        (["gate", "--before", "9" * 5000], "before"),
        (["gate", "--stride", "0"], "stride"),
        (["gate", "--frames", "-1"], "max_frames"),
        (["gate", "--deadline", "0s"], "deadline"),
        (["gate", "--priority", "9999"], "priority"),
        (["gate", "--meta", "{"], "not JSON"),
        (["gate", "--meta", "[" * 200_000], "--meta"),
        (["gate", "--meta", '"a\udcffb"'], "--meta"),
        (["gate", "--meta", '"' + "x" * 5000 + '"'], "meta"),
        (["gate", "--timeout", "-1"], "--timeout"),
        (["gate", "--timeout", "nan"], "--timeout"),
        (["gate", "--timeout", "inf"], "--timeout"),
    ],
)
def test_what_cannot_be_sent_is_a_usage_error_that_names_it(arguments, words):
    ended = CliRunner().invoke(app, ["trigger", *NOBODY, *arguments], terminal_width=300)
    assert ended.exit_code == 2, ended.exception
    assert words in ended.stderr
    assert ended.stdout == ""
