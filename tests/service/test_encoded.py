"""An encoded buffer answers what a raw one does: the same file, the same triggers, both stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny

FRAMES = 60
TRIGGERS: tuple[dict[str, Any], ...] = (
    {"before": 1},
    {"before": 8},
    {"before": 4, "images": "all"},
    {"before": FRAMES},
    {"before": 40, "stride": 3},
    {"before": 40, "max_frames": 7},
    {"before": 3, "after": 20},
    {"before": "1s", "after": "500ms"},
)


@pytest.fixture(scope="module")
def node(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    film = make_video(folder / "film.mp4", FRAMES, (320, 240), fps=50)
    cameras = "".join(
        f'[[camera]]\nname = "{store}"\nsource = "{film}"\nbuffer = 200\nstore = "{store}"\n'
        'memory = "64 MiB"\nmodels = ["tiny"]\n'
        for store in ("raw", "encoded")
    )
    node = Node(folder, mosquitto.port, f"decoders = 2\n{cameras}{tiny()}", name="enc")
    with node.running():
        yield node


@pytest.fixture
def books(node: Node, mosquitto: Mosquitto) -> Iterator[Books]:
    with Books.open(mosquitto.port, node.name) as books:
        for store in ("raw", "encoded"):
            books.wait_text(f"{store}/availability", "online")
            full = books.send_trigger(store, {"mode": "window", "before": 0, "after": FRAMES})
            books.wait_done(full)
        yield books


def answers(books: Books, camera: str, trigger: dict[str, Any]) -> list[dict[str, Any]]:
    id = books.send_trigger(camera, {"mode": "window"} | trigger)
    books.wait_done(id)
    books.fence(camera)
    request = books.check_request(id)
    assert request.done["event_type"] == "complete", request.done
    return [result.document for result in request.results]


def test_results_of_both_stores_are_equal_frame_for_frame(books: Books) -> None:
    seen: dict[str, dict[int, Any]] = {"raw": {}, "encoded": {}}
    for camera, found in seen.items():
        for trigger in TRIGGERS:
            results = answers(books, camera, trigger)
            frames = [result["frame"] for result in results]
            assert len({(frame["seq"] - frame["position"]) % FRAMES for frame in frames}) == 1
            for frame, result in zip(frames, results, strict=True):
                assert (frame["width"], frame["height"]) == (320, 240)
                assert ("image" in result) == ("images" in trigger)
                answer = found.setdefault(frame["position"], result["embedding"])
                assert answer == result["embedding"]
    assert set(seen["raw"]) == set(seen["encoded"]) == set(range(FRAMES))
    assert seen["raw"] == seen["encoded"]
    assert len({str(answer) for answer in seen["raw"].values()}) == FRAMES
