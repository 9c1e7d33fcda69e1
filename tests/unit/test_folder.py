"""A folder of pictures, each once, in order, what cannot be read among them."""

from __future__ import annotations

import os
import threading
from itertools import islice

import cv2
import numpy as np
import pytest

from framebuf.capture import folder as folders
from framebuf.capture.folder import Folder
from framebuf.errors import SourceError


def write(path, value=0):
    cv2.imwrite(str(path), np.full((4, 6, 3), value, np.uint8))
    return path


def test_pictures_come_by_name_and_as_often_as_asked(tmp_path):
    for value in (30, 10, 20):
        write(tmp_path / f"{value}.png", value)
    read = list(Folder.open(tmp_path).read(2))
    assert [picture.file.name for picture in read] == ["10.png", "20.png", "30.png"] * 2
    assert [int(picture.pixels[0, 0, 0]) for picture in read] == [10, 20, 30] * 2


def test_what_cannot_be_read_stands_in_its_place_with_the_reason(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.JPEG").symlink_to("gone")
    write(tmp_path / "d.PNG")
    os.mkfifo(tmp_path / "e.png")
    read = list(Folder.open(tmp_path).read())
    assert [(p.file.name, p.error) for p in read] == [
        ("a.png", None),
        ("b.jpg", "cannot be decoded"),
        ("c.JPEG", "is no longer there"),
        ("d.PNG", None),
        ("e.png", "is no regular file"),
    ]
    assert [p.pixels is None for p in read] == [False, True, True, False, True]


def test_other_files_are_counted_and_folders_and_hidden_files_are_not(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / ".b.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "c.png").mkdir()
    found = Folder.open(tmp_path)
    assert [file.name for file in found.files] == ["a.png"]
    assert found.others == 1


def test_a_folder_that_is_none_or_has_no_pictures_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"no pictures in .*: expected \.jpg, \.jpeg, \.png"):
        Folder.open(tmp_path)
    with pytest.raises(SourceError, match=r"cannot list .*gone: No such file or directory"):
        Folder.open(tmp_path / "gone")
    with pytest.raises(SourceError, match="Not a directory"):
        Folder.open(write(tmp_path / "a.png"))


def test_no_more_is_read_ahead_than_the_bound(tmp_path, monkeypatch):
    for number in range(40):
        write(tmp_path / f"{number:02}.png")
    lock, begun, taken, most = threading.Lock(), 0, 0, 0
    decoded = folders.decoded

    def counted(file):
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        return decoded(file)

    monkeypatch.setattr(folders, "decoded", counted)
    pictures = Folder.open(tmp_path).read()
    for _ in islice(pictures, 20):
        taken += 1
    pictures.close()
    assert taken == 20
    assert begun <= 20 + folders.AHEAD + 1, "after the end nothing more is read"
    assert 1 < most <= folders.AHEAD + 2
