"""[web]: where it may listen, and what a reload and a check say of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from framebuf import config
from framebuf.errors import ConfigError
from framebuf.service import web
from framebuf.service.reload import differences
from framebuf.service.report import Desk
from framebuf.service.surroundings import try_web

REST = (
    '[[camera]]\nname = "gate"\nsource = "x"\nmodels = ["m"]\n'
    '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "raw"\n'
)


def parse(web: str, folder: Path = Path("/")):
    return config.parse(f"{web}\n{REST}", "f.toml", folder)


def test_without_its_header_nothing_listens():
    assert parse("").config.web is None


def test_the_header_alone_is_loopback_without_triggers():
    web = parse("[web]").config.web
    assert web.address == ("127.0.0.1", 8790)
    assert not web.allow_trigger


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.9.9.9:8790", "[::1]:65535", "localhost:80"])
def test_this_machine_alone_needs_no_token(listen):
    assert parse(f'[web]\nlisten = "{listen}"').config.web.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8790", "192.168.1.7:80", "[::]:8790", "[fe80::1]:80"])
def test_any_other_address_demands_a_token_file(listen):
    with pytest.raises(ConfigError, match=r"f.toml:2: web.listen: .* there is no token_file; add"):
        parse(f'[web]\nlisten = "{listen}"')
    web = parse(f'[web]\nlisten = "{listen}"\ntoken_file = "t"', Path("/etc/x")).config.web
    assert web.token_file == "/etc/x/t"


@pytest.mark.parametrize(
    "listen", ["8790", "127.0.0.1", ":8790", "gate:8790", "[::1:80", "300.1.1.1:80", "127.0.0.1:0",
               "127.0.0.1:70000"],
)  # fmt: skip
def test_what_is_no_address_is_told_with_what_is_one(listen):
    with pytest.raises(ConfigError, match=r'web.listen.*"127.0.0.1:8790" or'):
        parse(f'[web]\nlisten = "{listen}"')


def test_a_reload_says_that_it_needs_a_restart():
    none, bare = parse("").config, parse("[web]").config
    allowed = parse("[web]\nallow_trigger = true").config
    assert differences(none, bare) == ["web"]
    assert differences(bare, none) == ["web"]
    assert differences(bare, allowed) == ["web.allow_trigger"]
    assert differences(bare, bare) == []


def checked(table: str, folder: Path):
    desk = Desk(parse(table, folder))
    try_web(desk)
    return [(problem.where, problem.what) for problem in desk.report.problems]


def test_a_check_reads_the_token_and_looks_for_the_libraries(tmp_path, monkeypatch):
    assert checked("", tmp_path) == []
    assert checked("[web]", tmp_path) == []
    ((where, what),) = checked('[web]\ntoken_file = "t"', tmp_path)
    assert where == "f.toml:2: web.token_file"
    assert "No such file" in what
    (tmp_path / "t").write_text("0123456789abcdef")
    assert checked('[web]\ntoken_file = "t"', tmp_path) == []
    for name in [name for name in sys.modules if name.startswith("framebuf.service.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(web, "opening")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ((where, what),) = checked("[web]", tmp_path)
    assert where == "f.toml:1: web"
    assert "needs the extra web" in what
