"""A browser, and the node that it looks at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.service.conftest import mosquitto, rtsp, rtsp_film
from tests.service.numbered import make_video

__all__ = ["mosquitto", "rtsp", "rtsp_film"]

PATIENCE_S = 60.0
"""For a loaded machine."""
FRAMES = 60
SIZE = (640, 480)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded camera, each of whose frames says which it is."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", FRAMES, SIZE)


@pytest.fixture(scope="session")
def browser(tool: Callable[[str], str]) -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    program = tool("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "none; pip install 'framebuf[browser]'")
    with sync_playwright() as playwright:
        # root has no sandbox; /dev/shm is the frame buffers'
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


class Complaints(list[str]):
    """What the browser complains of: exceptions, violations of the policy, dialogs."""


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """`look(port)`: the node's page in a window of its own; nothing it complains of is let pass."""
    complaints = Complaints()
    contexts = []

    def open_(port: int, path: str = "/", **of_context: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | of_context))
        contexts.append(context)
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("console", lambda said: _note(complaints, said))
        page.goto(f"http://127.0.0.1:{port}{path}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


def _note(complaints: Complaints, said: Any) -> None:
    # an answer that is no 200 is the page's to handle, and its tests'
    if said.type == "error" and "Failed to load resource" not in said.text:
        complaints.append(f"{said.text} at {json.dumps(said.location)}")


def until(page: Any, expression: str) -> None:
    """Wait until it is true; Playwright's `wait_for_function` is stopped by the page's policy."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not in {PATIENCE_S:g} s: {expression}"
        page.wait_for_timeout(50)
