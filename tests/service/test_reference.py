"""The reference is right by itself, before anything is compared with it."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.service import numbered, reference

if TYPE_CHECKING:
    from tests.service.reference import Finding, Picture

SIZE = (640, 480)
FRAMES = 120


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    path = numbered.make_video(tmp_path_factory.mktemp("video") / "n.mp4", FRAMES, SIZE)
    return list(numbered.frames_of(path))


@pytest.fixture(scope="module")
def found(pictures: list[Picture]) -> list[list[Finding]]:
    return [reference.detect(picture) for picture in pictures]


def photo(name: str) -> Picture:
    picture = cv2.imread(str(reference.ASSETS / "photos" / name))
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.jpg", [("cat", 0.57), ("dog", 0.42)]),
        ("astronaut.jpg", [("person", 0.73)]),
        ("cameraman.jpg", [("person", 0.88)]),
        ("coffee.jpg", [("dining table", 0.47)]),
        ("rocket.jpg", []),
    ],
)
def test_the_detector_says_what_the_assets_sheet_says(
    name: str, expected: list[tuple[str, float]]
) -> None:
    detections = reference.detect(photo(name))
    assert [(d["label"], round(d["score"], 2)) for d in detections] == expected
    height, width = photo(name).shape[:2]
    for x, y, w, h in (d["box"] for d in detections):
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= width + 0.1
        assert y + h <= height + 0.1


@pytest.mark.parametrize(
    ("name", "label"), [("coffee.jpg", "espresso"), ("cameraman.jpg", "tripod")]
)
def test_the_classifier_names_what_is_in_the_picture(name: str, label: str) -> None:
    classes = reference.classify(photo(name))
    assert len(classes) == 5
    assert classes[0]["label"] == label
    assert classes[0]["score"] > 0.95
    assert [c["score"] for c in classes] == sorted((c["score"] for c in classes), reverse=True)


def test_swapped_colours_do_not_pass_for_the_same_answer(pictures: list[Picture]) -> None:
    swapped = np.ascontiguousarray(pictures[0][:, :, ::-1])
    right, wrong = reference.detect(pictures[0]), reference.detect(swapped)
    assert "scores differ" in reference.difference(right, wrong)


def test_every_frame_of_a_made_video_carries_its_number(pictures: list[Picture]) -> None:
    numbers = [numbered.read_number(picture) for picture in pictures]
    assert numbers == list(range(FRAMES))


@pytest.mark.parametrize("encoder", numbered.ENCODERS, ids=lambda encoder: encoder[0])
def test_the_numbers_survive_every_encoder(
    encoder: tuple[str, str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbered, "encoder", lambda: encoder)
    path = numbered.make_video(tmp_path / "n.mkv", 20, (320, 240), first=4000)
    numbers = [numbered.read_number(picture) for picture in numbered.frames_of(path)]
    assert numbers == list(range(4000, 4020))


def test_opencv_decodes_the_video_to_the_same_bytes(tmp_path: Path) -> None:
    path = numbered.make_video(tmp_path / "n.mp4", 30, SIZE)
    capture = cv2.VideoCapture(str(path))
    for picture in numbered.frames_of(path):
        is_read, other = capture.read()
        assert is_read
        assert np.array_equal(picture, other)
    assert not capture.read()[0]
    capture.release()


def test_every_number_is_read_back_from_the_paint() -> None:
    assert all(
        numbered.read_number(numbered.paint(0, 1, (320, 240), number)) == number
        for number in range(0, 4095, 5)
    )


@pytest.mark.parametrize("grey", [0, 114, 255])
def test_a_picture_without_a_number_has_none(grey: int) -> None:
    with pytest.raises(ValueError, match=r"parity|neither|can be painted"):
        numbered.read_number(np.full((480, 640, 3), grey, np.uint8))


@pytest.mark.parametrize("square", range(13))
def test_one_wrong_square_is_noticed(square: int) -> None:
    picture = numbered.paint(5, 10, SIZE, 1234)
    part = picture[:24, square * 24 : square * 24 + 24]
    part[:] = 255 - part
    with pytest.raises(ValueError, match="parity"):
        numbered.read_number(picture)


def test_the_detector_finds_the_photo_where_it_was_painted(found: list[list[Finding]]) -> None:
    for i, detections in enumerate(found):
        assert [d["label"] for d in detections] == ["cat"]
        x, y = numbered.place_of(i, FRAMES, SIZE)
        box = detections[0]["box"]
        assert abs(box[0] - x) < 10, i
        assert abs(box[1] - y) < 10, i


def test_neighbouring_frames_differ_by_more_than_the_tolerance(found: list[list[Finding]]) -> None:
    for before, after in itertools.pairwise(found):
        (x1, y1, *_), (x2, y2, *_) = before[0]["box"], after[0]["box"]
        assert max(abs(x1 - x2), abs(y1 - y2)) > 10 * reference.BOX_TOLERANCE


def test_no_two_frames_have_the_same_answer(found: list[list[Finding]]) -> None:
    for (i, one), (j, other) in itertools.combinations(enumerate(found), 2):
        assert "boxes" in reference.difference(one, other), (i, j)


def test_an_answer_equals_itself_and_what_is_within_the_tolerances() -> None:
    one = reference.detect(photo("cat.jpg"))
    other = copy.deepcopy(one)[::-1]
    other[0]["score"] += 0.004
    other[1]["box"][2] += 0.4
    assert reference.equal(one, one)
    assert reference.equal(one, other)
    at_threshold = {"label": "chair", "class_id": 56, "score": 0.402, "box": [1, 1, 9, 9]}
    assert reference.equal(one, [*other, at_threshold])


def test_a_difference_is_told_in_words() -> None:
    one = reference.detect(photo("cat.jpg"))
    assert "only the first has dog 0.42" in reference.difference(one, one[:1])
    assert "only the second has dog 0.42" in reference.difference(one[:1], one)
    for change, words in (
        ({"score": 0.58}, "scores differ"),
        ({"label": "lynx"}, "labels differ"),
        ({"box": [1.6, 0.0, 439.3, 297.5]}, "boxes 0.8 px apart"),
        ({"class_id": 17}, "only the first has cat"),
        ({"score": float("nan")}, "scores differ"),
        ({"box": [1.6, float("nan"), 438.5, 297.5]}, "px apart"),
    ):
        assert words in reference.difference(one, [one[0] | change, one[1]])
