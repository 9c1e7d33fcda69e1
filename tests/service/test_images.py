"""Pictures and parts of frames on real parts: a numbered video, mosquitto, the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.chaos.faults import inject
from tests.service import reference
from tests.service.books import Books
from tests.service.numbered import (
    GREY,
    STRIP,
    Picture,
    frames_of,
    make_video,
    paint,
    read_number,
)
from tests.service.parts import Mosquitto, Node, nanodet, tiny

if TYPE_CHECKING:
    from tests.service.messages import Document, Message, Request

SIZE = (640, 480)
FRAMES = 60
ROI = (100, 40, 460, 420)
PATIENT = "from framebuf.service import images\nimages.WAIT_NS = images.BEGIN_NS = 60 * 10**9\n"
"""Results wait for their pictures, whatever else the machine has to do."""
EMPTY_EVERY = 3
"""In the folder, every third picture shows nothing."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "numbered.mp4", FRAMES, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered pictures, in some of which there is nothing to find."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        picture = paint(i, 6, SIZE)
        if i % EMPTY_EVERY == 0:
            picture[STRIP:] = GREY
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def node(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory, video: Path, folder: Path
) -> Iterator[Node]:
    cameras = "".join(
        f'[[camera]]\nname = "{name}"\nsource = "{source}"\nfps = 10\nbuffer = 20\nmodels = ["m"]\n'
        f'{more}[camera.trigger]\ndeadline = "90s"\n'
        for name, source, more in (
            ("film", video, ""), ("part", video, f"roi = {list(ROI)}\n"), ("some", folder, ""),
        )
    )  # fmt: skip
    place = tmp_path_factory.mktemp("node")
    env = inject(place / "patient", PATIENT)
    node = Node(place, mosquitto.port, cameras + nanodet("m"), "images", env=env)
    node.config.write_text(node.config.read_text().replace("[node]", "last_image = true\n[node]"))
    with node.running():
        yield node


@pytest.fixture
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, node.name) as books:
        for camera in ("film", "part", "some"):
            books.wait_text(f"{camera}/availability", "online")
        yield books


def decoded(message: Message) -> Picture:
    picture = cv2.imdecode(np.frombuffer(message.payload, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def serve(books: Books, camera: str, trigger: Document) -> Request:
    id = books.send_trigger(camera, {"mode": "window"} | trigger)
    books.wait_done(id)
    books.fence(camera)
    return books.check_request(id)


def pictures_of(books: Books, request: Request) -> dict[int, Message]:
    """The pictures of a request by index, each before its result and after the one before."""
    found = {}
    results = {m.document["index"]: m for m in request.results}
    for message in books.messages:
        if message.leaf == "image" and message.topic.split("/")[-2] == request.id:
            assert (message.qos, message.retain) == (0, False)
            index = int(message.topic.split("/")[-1])
            assert index not in found
            assert message.order < results[index].order
            assert all(m.order < message.order for i, m in results.items() if i < index)
            found[index] = message
    assert sorted(found) == [i for i, r in request.by_index.items() if "image" in r]
    assert {r.get("image", "sent") for r in request.by_index.values()} == {"sent"}
    return found


def test_with_images_all_each_frame_is_shown_before_its_result_and_is_that_frame(
    books: Books,
) -> None:
    request = serve(books, "film", {"before": 0, "after": 30, "images": "all"})
    pictures = pictures_of(books, request)
    assert [r.get("image") is not None for r in request.by_index.values()] == [True] * 30
    for index, message in pictures.items():
        picture = decoded(message)
        assert picture.shape[:2] == (SIZE[1], SIZE[0])
        assert read_number(picture) == request.by_index[index]["frame"]["position"]


def test_with_images_detections_only_frames_in_which_something_was_found_are_shown(
    books: Books,
) -> None:
    request = serve(books, "some", {"before": 0, "after": 12, "images": "detections"})
    pictures = pictures_of(books, request)
    assert pictures
    for index, result in request.by_index.items():
        is_empty = result["frame"]["position"] % EMPTY_EVERY == 0
        assert bool(result["detections"]) == ("image" in result) == (not is_empty)
        if index in pictures:
            assert read_number(decoded(pictures[index])) == result["frame"]["position"]


def test_without_images_none_come_and_results_do_not_speak_of_them(books: Books) -> None:
    request = serve(books, "film", {"before": 0, "after": 3})
    assert not pictures_of(books, request)
    assert not any("image" in result for result in request.by_index.values())


def test_boxes_of_a_roi_are_those_of_the_cut_picture_where_it_lies_in_the_full_frame(
    books: Books, video: Path
) -> None:
    request = serve(books, "part", {"before": 0, "after": 15, "images": "all"})
    pictures = pictures_of(books, request)
    frames = list(frames_of(video))
    x, y, width, height = ROI
    for index, result in request.by_index.items():
        frame = result["frame"]
        assert (frame["width"], frame["height"]) == SIZE
        if index in pictures:
            assert decoded(pictures[index]).shape == (SIZE[1], SIZE[0], 3), "the full frame"
        cut = np.ascontiguousarray(frames[frame["position"]][y : y + height, x : x + width])
        expected = reference.detect(cut)
        for finding in expected:
            left, top, *sides = finding["box"]
            finding["box"] = [left + x, top + y, *sides]
        assert reference.difference(expected, result["detections"]) == ""
    assert any(result["detections"] for result in request.by_index.values())


def test_the_last_image_is_retained_and_shows_the_newest_frame_with_its_boxes(
    books: Books, mosquitto: Mosquitto, node: Node, video: Path
) -> None:
    newest: Document = {}
    while not newest or newest["detections"][0]["box"][1] < 3 * STRIP:  # the tag hides the number
        heard = books.newest  # the film repeats: an older picture may show the same frame
        newest = serve(books, "film", {"before": 0, "after": 3}).by_index[2]
    frame = list(frames_of(video))[newest["frame"]["position"]]
    topic = f"{books.prefix}film/last_image"

    def shows_it(message: Message) -> bool:
        if message.topic != topic or not message.payload:
            return False
        try:
            return read_number(decoded(message)) == newest["frame"]["position"]
        except ValueError:  # of another frame, whose number its tag hides
            return False

    message = books.wait_message(shows_it, what="the last image", after=heard)
    assert message.retain
    assert message.qos == 0
    picture = decoded(message)
    assert picture.shape == frame.shape
    x, y, width, height = (round(side) for side in newest["detections"][0]["box"])
    change = np.abs(picture.astype(int) - frame).max(axis=2)
    below = change[min(y + height - 1, SIZE[1] - 1), x + width // 4 : x + 3 * width // 4]
    assert np.median(below) > 40, "no line where the box ends"
    inside = change[y + height // 2 : y + height * 3 // 4, x + width // 4 : x + 3 * width // 4]
    assert inside.mean() < 10, "the frame itself is another"
    with Books.open(mosquitto.port, node.name) as later:
        kept = later.wait_message(lambda m: m.topic == topic, what="the retained picture")
        assert kept.payload == message.payload


WARM, TRIGGERS, EACH = 40, 150, 4
GROWTH_KIB = 5 * 1024


def test_anonymous_memory_stays_flat_over_many_images(
    own_mosquitto: Mosquitto, tmp_path: Path, video: Path
) -> None:
    node = Node(
        tmp_path, own_mosquitto.port,
        f'[[camera]]\nname = "gate"\nsource = "{video}"\nbuffer = 20\nmodels = ["tiny"]\n{tiny()}',
        env=inject(tmp_path / "patient", PATIENT),
    )  # fmt: skip
    with node.running(), Books.open(own_mosquitto.port, "t") as books:
        books.wait_text("gate/availability", "online")
        books.wait_done(books.send_trigger("gate", {"mode": "window", "before": 0, "after": 20}))
        _fire(books, WARM)
        before = node.anonymous_kib()
        _fire(books, TRIGGERS)
        growth = node.anonymous_kib() - before
        sent = sum(m.leaf == "image" for m in books.messages)
        print(f"RssAnon {before} KiB, {growth:+d} KiB over {TRIGGERS * EACH} images; {sent} sent")
        assert growth < GROWTH_KIB
        said = [m.document.get("image") for m in books.messages if m.leaf == "result"]
        assert said.count("sent") == sent == (WARM + TRIGGERS) * EACH


def _fire(books: Books, count: int) -> None:
    trigger = {"mode": "window", "before": EACH, "images": "all"}
    for start in range(0, count, 4):
        ids = [books.send_trigger("gate", trigger) for _ in range(min(4, count - start))]
        for id in ids:
            books.wait_done(id)
