"""Who is let in: the guard, the token and the sessions made of it."""

from __future__ import annotations

import time

import pytest
from starlette.responses import PlainTextResponse

from framebuf.errors import ConfigError
from framebuf.service.web import token as tokens
from framebuf.service.web.guard import COOKIE, HEADERS, Guard
from framebuf.service.web.token import Token
from tests.unit.asgi import ask

SECRET = "0123456789abcdef"


async def inner(scope, receive, send):
    await PlainTextResponse("inside")(scope, receive, send)


def guard(token: str | None = None, *hosts: str) -> Guard:
    return Guard(inner, Token(token), hosts)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8790", "localhost", "[::1]:8790", "192.168.3.4", "gate-7.example:8790"]
)
def test_addresses_and_the_nodes_own_names_are_let_in(host):
    assert ask(guard(None, "gate-7.example"), "/x", host=host).body == b"inside"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "a b", "::1"]
)
def test_a_foreign_name_is_turned_away_though_it_leads_here(host):
    answer = ask(guard(), "/x", host=host)
    assert answer.status == 421
    assert b"inside" not in answer.body


def test_every_answer_carries_the_strict_headers_refusals_too():
    for answer in (ask(guard(), "/x"), ask(guard(), "/x", host="evil.example")):
        assert answer.headers.items() >= HEADERS.items()
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_without_the_token_only_the_yes_or_no_and_the_form_are_shown():
    strict = guard(SECRET)
    assert ask(strict, "/metrics").status == 401
    assert ask(strict, "/api/events").status == 401
    assert ask(strict, "/").headers["location"] == "/login"
    for path in ("/healthz", "/readyz", "/login", "/static/app.css"):
        assert ask(strict, path).body == b"inside"


def test_the_token_lets_a_machine_in_and_a_wrong_one_does_not():
    strict = guard(SECRET)
    assert ask(strict, "/metrics", authorization=f"Bearer {SECRET}").status == 200
    for wrong in (f"Bearer {SECRET}0", "Bearer ", f"Basic {SECRET}", "Bearer é"):
        assert ask(strict, "/metrics", authorization=wrong).status == 401


def test_a_session_lets_a_browser_in_until_it_ends_or_the_token_changes(monkeypatch):
    session = Token(SECRET).session()
    assert SECRET not in session
    strict = guard(SECRET)
    assert ask(strict, "/metrics", cookie=f"a=b; {COOKIE}={session}").status == 200
    assert ask(guard("fedcba9876543210"), "/metrics", cookie=f"{COOKIE}={session}").status == 401
    end, _, mac = session.partition(".")
    for forged in (f"{int(end) + 1}.{mac}", f".{mac}", "", "x", f"{end}.", f"{end}.é"):
        assert ask(strict, "/metrics", cookie=f"{COOKIE}={forged}").status == 401
    later = time.time() + tokens.SESSION_S + 1
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    assert ask(strict, "/metrics", cookie=f"{COOKIE}={session}").status == 401


@pytest.mark.parametrize("other", ['prefs={"dark":true}', "bare", "ü=1", "a b=c"])
def test_cookies_of_other_services_on_this_host_lock_nobody_out(other):
    session = Token(SECRET).session()
    answer = ask(guard(SECRET), "/metrics", cookie=f"{other}; {COOKIE}={session}")
    assert answer.body == b"inside"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8790", "sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1:8790", "sec_fetch_site": "cross-site"},
    ],
)
def test_nothing_is_sent_by_another_sites_page(said):
    assert ask(guard(), "/api/trigger", "POST", **said).status == 403


def test_the_nodes_own_page_may_send():
    own = {"origin": "http://127.0.0.1:8790", "sec_fetch_site": "same-origin"}
    assert ask(guard(), "/api/trigger", "POST", **own).body == b"inside"


def test_a_token_file_says_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "token"
    with pytest.raises(ConfigError, match="No such file"):
        Token.read(str(path))
    for text in ("short", "has a space in its text", "\x00" * 20):
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected 16 printable characters"):
            Token.read(str(path))
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="ASCII"):
        Token.read(str(path))
    path.write_text(SECRET + "\n")
    assert Token.read(str(path)).is_right(SECRET)
    assert SECRET not in repr(Token.read(str(path)))


def test_without_a_token_file_everybody_on_the_machine_is_let_in():
    token = Token.read(None)
    assert not token.is_wanted
    assert token.is_right("")
    assert token.is_session("")
