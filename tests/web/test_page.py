"""The page in a real browser, against the real daemon."""

from __future__ import annotations

import base64
import json
import re
import time
from itertools import pairwise

import cv2
import numpy as np
import pytest

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import _photo_size, place_of, read_number
from tests.service.parts import Node, nanodet
from tests.service.test_web import TOKEN, Site, web
from tests.web.conftest import FRAMES, SIZE, until

HOSTILE = '<img src="/static/x" onerror="window.hacked=1"><script>window.hacked=2</script>'
STALE_S = 3.0


def camera(source: object, name: str = "gate", more: str = "") -> str:
    return (
        f'[[camera]]\nname = "{name}"\nsource = "{source}"\nfps = 5\nbuffer = "8s"\n'
        f'models = ["obj"]\n{more}'
    )


@pytest.fixture(scope="module")
def node(mosquitto, film, tmp_path_factory):
    """A node with a page that may send triggers."""
    port = free_port()
    tables = web(port, "allow_trigger = true") + camera(film) + nanodet()
    folder = tmp_path_factory.mktemp("node")
    with Node(folder, mosquitto.port, tables, "page").running() as node:
        node.site = Site(port)
        node.broker_port = mosquitto.port
        node.wait_for(lambda: node.site.json("/readyz")[0] == 200, "ready")
        yield node


def picture_of(png: bytes):
    """A screenshot as (height, width, 3) uint8, BGR."""
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def number_in(picture) -> int:
    """The number painted into a frame, of a picture of it in another size."""
    return read_number(cv2.resize(picture, SIZE, interpolation=cv2.INTER_LINEAR))


def overlap(a, b) -> float:
    """Intersection over union of two (left, top, right, bottom)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return inside / (areas - inside)


def test_the_film_strip_shows_the_frames_that_the_buffer_holds_in_order(node, look):
    page = look(node.site.port)
    until(page, "document.querySelectorAll('.film img').length >= 6")
    tiles = page.evaluate(
        """[...document.querySelectorAll(".film img")].map((image) =>
             [image.getBoundingClientRect().left, Number(image.dataset.seq), image.src])"""
    )
    seqs = [seq for _, seq, _ in sorted(tiles)]
    assert seqs == sorted(set(seqs))
    same = 0
    for _, seq, source in tiles:
        jpeg = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
        status, _, larger = node.site.ask(f"/api/picture/gate/{seq}?width=480")
        if status == 200:  # else it has left the buffer, or there was no time
            assert number_in(picture_of(jpeg)) == number_in(picture_of(larger)), seq
            same += 1
    assert same >= 3
    assert page.locator(".camera .badge").inner_text() == "online"
    assert re.search(r"\d+ frames held, no gaps", page.locator(".scroller").inner_text())
    assert page.locator(".axis span").first.inner_text().count(":") == 2


def test_a_trigger_sent_from_the_page_shows_its_results_with_boxes_at_the_right_places(node, look):
    page = look(node.site.port)
    page.get_by_label("Before", exact=True).fill("4")
    page.get_by_label("Unit of before").select_option("frames")
    page.get_by_label("Window").check()
    until(page, "document.querySelectorAll('.marks i').length === 4")
    assert "Would take 4 frames" in page.locator("#preview").inner_text()
    page.get_by_role("button", name="Send the trigger").click()
    request = page.locator("article.request").first
    request.locator(".badge", has_text="complete").wait_for()
    assert "4 of 4 frames" in request.inner_text()
    until(
        page,
        """[...document.querySelectorAll("article.request:first-child .picture img")]
             .filter((image) => image.complete && image.naturalWidth > 0).length === 4""",
    )
    pictures = request.locator(".picture")
    numbers = []
    for at in range(4):
        picture = pictures.nth(at)
        picture.scroll_into_view_if_needed()
        shot = picture_of(picture.screenshot())
        numbers.append(number_in(shot))
        found = picture.evaluate(
            """(picture) => {
                 const whole = picture.getBoundingClientRect();
                 const best = [...picture.querySelectorAll(".box")].at(-1);
                 const box = best.getBoundingClientRect();
                 return {colour: getComputedStyle(best).borderLeftColor,
                         scale: 640 / whole.width,
                         box: [box.left - whole.left, box.top - whole.top,
                               box.right - whole.left, box.bottom - whole.top]};
               }"""
        )
        left, top = place_of(numbers[-1], FRAMES, SIZE)
        width, height = _photo_size(SIZE)
        photo = (left, top, left + width, top + height)
        box = [side * found["scale"] for side in found["box"]]
        assert overlap(box, photo) > 0.55, (numbers[-1], box, photo)
        # and it is not only in the document, it is painted there
        red, green, blue = (int(part) for part in re.findall(r"\d+", found["colour"])[:3])
        x, y = round(found["box"][0]), round((found["box"][1] + found["box"][3]) / 2)
        near = shot[y - 1 : y + 2, max(0, x - 1) : x + 3].reshape(-1, 3).astype(int)
        assert (abs(near - (blue, green, red)).sum(axis=1) < 40).any(), (found, near)
    steps = [(after - before) % FRAMES for before, after in pairwise(numbers)]
    assert all(0 < step <= 10 for step in steps), numbers
    assert "wait" in request.locator(".bar").first.get_attribute("aria-label")
    assert "infer" in request.locator(".frame .bar").first.get_attribute("aria-label")


def test_an_id_a_field_and_a_meta_full_of_markup_are_shown_as_text(node, look):
    page = look(node.site.port)
    with Books.open(node.broker_port, "page") as books:
        meta = {"lot": HOSTILE}
        books.send_trigger("gate", {"id": "hostile", "before": 1, "mode": "window", "meta": meta})
        books.send_trigger("gate", {"id": "unknown", HOSTILE: 1})
        books.send_trigger("gate", {"id": HOSTILE})
        books.wait_done("hostile")
    known = page.locator("article", has_text="hostile").first
    known.locator(".badge", has_text="complete").wait_for()
    known.evaluate("(article) => { article.querySelector('details').open = true; }")
    assert json.loads(known.locator(".meta").inner_text()) == meta
    unknown = page.locator("article", has_text="unknown").first
    unknown.evaluate("(article) => { article.querySelector('details').open = true; }")
    assert '<img src="/static/x"' in unknown.inner_text()
    page.locator("article", has_text="bad_id").first.wait_for(state="attached")
    # from the form, the page says why before anything is sent
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Id", exact=True).fill(HOSTILE)
    page.locator("#preview", has_text="Would be rejected").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[onerror], main script").count() == 0


def test_a_camera_that_stops_is_offline_on_the_page_as_soon_as_it_is_stale(
    mosquitto, rtsp, tmp_path, look
):
    rtsp.start()
    port = free_port()
    tables = web(port) + camera(rtsp.url, more=f'stale_after = "{STALE_S:g}s"\n') + nanodet()
    with Node(tmp_path, mosquitto.port, tables, "stops").running():
        page = look(port)
        page.locator(".camera .badge", has_text="online").wait_for()
        page.locator(".film img").first.wait_for()
        rtsp.freeze()
        stopped_s = time.monotonic()
        page.locator(".camera .badge", has_text="offline").wait_for()
        took_s = time.monotonic() - stopped_s
        # a calm machine says so half a second after STALE_S; a loaded one gets time to paint
        assert took_s < STALE_S + 10
        assert "Offline:" in page.locator(".camera .why").inner_text()
        page.get_by_role("status").get_by_text("Camera gate is offline").wait_for(state="attached")
        assert page.get_by_text("0 of 1 camera online").is_visible()
        # triggers are off by default: the page says so, and shows what one would take
        assert page.get_by_role("button", name="Send the trigger").is_disabled()
        assert page.get_by_text("Sending is off").is_visible()
        rtsp.thaw()
        page.locator(".camera .badge", has_text="online").wait_for()
        page.locator(".bars .gap").first.wait_for(state="attached")


def test_a_node_that_goes_away_is_told_and_comes_back_by_itself(mosquitto, film, tmp_path, look):
    port = free_port()
    node = Node(tmp_path, mosquitto.port, web(port) + camera(film) + nanodet(), "goes")
    with node.running():
        page = look(port)
        page.locator(".film img").first.wait_for()
        node.stop()
        page.get_by_role("alert").get_by_text("The node does not answer").wait_for()
        assert page.locator(".film img").first.is_visible(), "what was last seen stays"
        node.start()
        page.locator("#lost").wait_for(state="hidden")
        page.locator(".camera .badge", has_text="online").wait_for()


def test_the_token_is_asked_for_once(mosquitto, film, tmp_path, look):
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    tables = web(port, 'token_file = "token"') + camera(film) + nanodet()
    with Node(tmp_path, mosquitto.port, tables, "token").running():
        page = look(port)
        page.wait_for_url("**/login")
        field = page.get_by_label("The node's token")
        field.fill("not the token at all")
        field.press("Enter")
        page.get_by_text("That is not the token.").wait_for()
        assert page.locator(".film").count() == 0
        page.get_by_label("The node's token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.locator(".film img").first.wait_for()
        page.reload()
        page.locator(".film img").first.wait_for()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
