"""Annotated pictures: where boxes and labels go, and where their pixels come from."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from framebuf.demo.album import SHEET, Album
from framebuf.demo.sheet import sheet
from framebuf.errors import FramebufError
from framebuf.results import Detection
from framebuf.service import drawing


def found(box, label="cat", class_id=15, score=0.57):
    return Detection(label, class_id, score, box)


def result(index, *detections, **frame):
    return {
        "index": index, "frame": frame, "detections": [msgspec.to_builtins(d) for d in detections]
    }  # fmt: skip


def grey(value=114, height=480, width=640):
    return np.full((height, width, 3), value, np.uint8)


def test_a_box_is_drawn_where_the_detection_is_and_the_picture_is_left_alone():
    picture = grey()
    drawn = drawing.annotated(picture, [found((200, 150, 240, 180))])
    assert (picture == 114).all()
    colour = drawing.colour(15)
    for y, x in [(150, 320), (329, 320), (240, 200), (240, 439)]:
        assert tuple(drawn[y, x]) == colour, (y, x)
    assert (drawn[160:320, 210:430] == 114).all(), "nothing inside"
    assert (drawn[340:] == 114).all()


def test_a_box_grows_with_its_picture():
    drawn = drawing.annotated(grey(114, 240, 320), [found((100, 75, 120, 90))])
    colour = drawing.colour(15)
    for y, x in [(150, 320), (329, 320), (240, 200), (240, 439)]:
        assert tuple(drawn[y, x]) == colour, (y, x)


def test_a_class_has_one_colour_in_every_picture_and_common_ones_differ():
    person, cat, dog, table = (drawing.colour(i) for i in (0, 15, 16, 60))
    assert person == drawing.colour(0)
    for one, other in [(person, cat), (cat, dog), (person, table), (dog, table)]:
        assert np.abs(np.subtract(one, other)).max() > 80


def test_labels_of_equal_boxes_stand_below_each_other():
    one = drawing.annotated(grey(), [found((0, 0, 640, 480))])
    both = drawing.annotated(
        grey(), [found((0, 0, 640, 480)), found((0, 0, 640, 480), "dog", 16, 0.42)]
    )
    tag = np.flatnonzero((one[:, 8] == drawing.colour(15)).all(axis=1))
    assert (both[tag[:20], 8] == one[tag[:20], 8]).all(), "the better one is not covered"
    assert (both[:120, 8] == drawing.colour(16)).all(axis=1).sum() > 10, "nor is the other"


def test_small_pictures_are_enlarged_and_large_ones_kept():
    assert drawing.annotated(grey(0, 30, 40), []).shape == (480, 640, 3)
    assert drawing.annotated(grey(0, 1080, 1920), []).shape == (1080, 1920, 3)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 640, 480), (639, 479, 1, 1), (0, 479, 1, 1), (600, 0, 40, 5), (300.4, 2.6, 0.0, 0.0)],
)
def test_boxes_at_the_edges_are_drawn_like_others(box):
    drawn = drawing.annotated(grey(), [found(box, label="traffic light … 灯")])
    assert (drawn != 114).any()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_the_sheet_holds_pictures_of_any_shape(count):
    shapes = [(480, 640), (2000, 20), (20, 2000), (1, 1)]
    tiles = [
        (grey(200, *shapes[i % 4]), [found((0, 0, 1, 1))], f"{i}.jpg", "cat 0.57, " * 20)
        for i in range(count)
    ]
    page = sheet(tiles)
    height, width = page.shape[:2]
    assert width < 1500
    assert height == (-(-count // 3)) * 380 + 16
    assert (page == 200).any()


def test_each_trigger_s_pictures_take_the_place_of_the_last_one_s(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "a" / "b"
    photos.mkdir()
    for name in ("x.png", "y.png"):
        cv2.imwrite(str(photos / name), grey())
    out.mkdir(parents=True)
    (out / "mine.jpg").write_bytes(b"kept")
    album = Album(out, str(photos))
    album.write([result(0, file="x.png", position=0), result(1, file="y.png", position=1)])
    files = album.write([result(0, file="y.png", position=1)])
    assert files == [out / "0-y.jpg", out / SHEET]
    assert sorted(path.name for path in out.iterdir()) == ["0-y.jpg", SHEET, "mine.jpg"]


def test_a_picture_that_is_gone_or_failed_is_left_out(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "x.png"), grey())
    failed = {"index": 1, "frame": {"file": "x.png"}, "error": {"code": "c", "message": "m"}}
    files = Album(tmp_path / "out", str(photos)).write([result(0, file="gone.png"), failed])
    assert files == []


def test_a_name_cannot_lead_out_of_the_folder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(tmp_path / "secret.png"), grey())
    files = Album(tmp_path / "out", str(photos)).write([result(0, file="../secret.png")])
    assert files == []


def test_frames_of_a_film_come_back_by_their_position(tmp_path):
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"qmin": "1", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey(i * 10, 48, 64), "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    album = Album(tmp_path / "out", str(film))
    files = album.write([result(0, position=3), result(1, position=17), result(2, position=99)])
    assert [path.name for path in files] == ["0-frame-3.jpg", "1-frame-17.jpg", SHEET]
    means = [cv2.imread(str(path)).mean() for path in files[:2]]
    assert means == pytest.approx([30, 170], abs=4)


def test_a_live_stream_has_no_album(tmp_path):
    assert not Album(tmp_path, "rtsp://127.0.0.1/live").possible
    assert Album(tmp_path, str(tmp_path)).possible


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), grey())
    (tmp_path / "file").write_text("in the way")
    album = Album(tmp_path / "file", str(tmp_path))
    with pytest.raises(FramebufError, match=f"cannot write pictures to {Path(tmp_path / 'file')}"):
        album.write([result(0, file="x.png")])
