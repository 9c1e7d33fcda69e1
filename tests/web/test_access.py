"""The page by keyboard, by screen reader, on a phone, in the dark."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.ports import free_port
from tests.service.parts import Node, nanodet
from tests.service.test_web import web
from tests.web.conftest import until
from tests.web.test_page import camera

CONTRAST = """() => {
  const parse = (text) => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)" && !colour.startsWith("color")) return parse(colour);
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const shown = element.checkVisibility({visibilityProperty: true}) &&
      element.getBoundingClientRect().width > 2;
    if (!own || !shown || element.closest(".window, :disabled, .tag, select")) continue;
    const [a, b] = [parse(getComputedStyle(element).color), ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push([element.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return poor;
}"""
"""What has less than 4.5 to 1 (WCAG 2.2, 1.4.3), by the formula there."""


@pytest.fixture(scope="module")
def port(mosquitto, film, tmp_path_factory):
    port = free_port()
    tables = web(port, "allow_trigger = true") + camera(film)
    tables += camera("/nonexistent/film.mp4", "yard") + nanodet()
    with Node(tmp_path_factory.mktemp("node"), mosquitto.port, tables, "access").running():
        yield port


def whole(look, port, **of_context):
    page = look(port, **of_context)
    page.locator(".film img").first.wait_for()
    until(page, "document.querySelector('#camera').value === 'gate'")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_eyes_need(look, port, scheme):
    page = whole(look, port, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"
    assert dark == (scheme == "dark")
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_phone_and_fingers_find_the_controls(look, port, width):
    page = whole(look, port, viewport={"width": width, "height": 800}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """[...document.querySelectorAll("button, input:not([type=radio]), select")]
             .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
             .map((one) => one.name)"""
    )
    assert small == []


def test_a_trigger_is_sent_by_keyboard_alone(look, port):
    page = whole(look, port)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "before":
            break
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring != "none", "who tabs sees where the focus is"
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.locator("article.request .badge", has_text="complete").first.wait_for()
    page.get_by_role("status").get_by_text("is complete").wait_for(state="attached")


def test_a_screen_reader_finds_landmarks_headings_and_names(look, port):
    page = whole(look, port)
    for role in ("banner", "main", "contentinfo", "status"):
        assert page.get_by_role(role).count() == 1, role
    for region in ("Cameras", "gate", "yard", "Trigger", "Requests", "Node"):
        assert page.get_by_role("region", name=region, exact=True).count() == 1, region
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    nameless = page.evaluate(
        """[...document.querySelectorAll("input, select, textarea, button")]
             .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
             .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    pictures = page.evaluate(
        """[...document.querySelectorAll("img")].filter((one) => !one.hasAttribute("alt")).length"""
    )
    assert pictures == 0
    assert "frames held" in page.get_by_role("group", name="Film strip of gate").inner_text()


def test_the_strip_stands_still_between_two_looks_for_who_wants_less_motion(look, port):
    assert _transition(whole(look, port)) == "1s"
    assert _transition(whole(look, port, reduced_motion="reduce")) == "0s"


def _transition(page) -> str:
    until(page, "document.querySelector('.reel:not(.jump)')")
    return page.evaluate(
        "getComputedStyle(document.querySelector('.reel:not(.jump)')).transitionDuration"
    )
