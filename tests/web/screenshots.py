"""Take the pictures of the page that README shows: `python tests/web/screenshots.py [DIR]`.

The real daemon, with the demo's photos going by as a camera, and one camera that is not there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import av
import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from tests.ports import free_port
from tests.service.parts import ASSETS, REPO, Mosquitto, Node, nanodet
from tests.service.test_web import Site, web

PHOTOS = ("cat.jpg", "coffee.jpg", "astronaut.jpg")
SIZE = (1280, 720)
RATE = 15
SHOTS = {
    "page-desktop": {"viewport": {"width": 1180, "height": 790}, "color_scheme": "light"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
WAIT_MS = 60_000


def film(path: Path, each: int = 75) -> Path:
    """Each photo moves once through the picture."""
    width, height = SIZE
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(each * len(PHOTOS)):
            photo = cv2.imread(str(ASSETS / "photos" / PHOTOS[i // each]))
            tall = 480
            wide = round(photo.shape[1] * tall / photo.shape[0])
            photo = cv2.resize(photo, (wide, tall), interpolation=cv2.INTER_AREA)
            picture = np.full((height, width, 3), (96, 92, 84), np.uint8)
            x = round((i % each) / each * (width - wide))
            picture[120 : 120 + tall, x : x + wide] = photo
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shoot(page: Page, name: str) -> None:
    """Bring the page to where it has something to show."""
    page.set_default_timeout(WAIT_MS)
    page.locator(".film img").nth(5).wait_for()
    page.get_by_label("Before", exact=True).fill("1")
    page.get_by_label("Window").check()
    page.get_by_label("Before", exact=True).focus()
    page.locator(".marks i").first.wait_for()
    page.get_by_role("button", name="Send the trigger").click()
    page.locator("article.request .badge", has_text="complete").first.wait_for()
    pictures = page.locator(".picture img")
    for at in range(min(6, pictures.count())):
        pictures.nth(at).scroll_into_view_if_needed()
    page.get_by_label("Before", exact=True).focus()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(2500)


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        broker = Mosquitto(shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), work, free_port())
        broker.start()
        port = free_port()
        tables = web(port, "allow_trigger = true") + "".join(
            f'[[camera]]\nname = "{camera}"\nsource = "{source}"\nbuffer = "10s"\n'
            'models = ["person"]\n'
            for camera, source in (("gate", film(work / "film.mp4")),)
        )
        try:
            with Node(work, broker.port, tables + nanodet("person"), "gate-7").running() as node:
                node.wait_for(lambda: Site(port).json("/readyz")[0] == 200, "ready")
                _take(port, folder)
        finally:
            broker.stop()
    return 0


def _take(port: int, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, context in SHOTS.items():
            page = browser.new_context(**context).new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            shoot(page, name)
            picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
            picture = np.minimum((picture.astype(np.uint16) + 2) // 4 * 4, 255).astype(np.uint8)
            path = folder / f"{name}.png"
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(f"{path}: {path.stat().st_size // 1024} KiB")
        browser.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPO / "etc" / "screenshots"))
