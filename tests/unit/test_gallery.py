"""The demo's memory of who was seen."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from framebuf.demo import gallery
from framebuf.demo.gallery import Gallery
from framebuf.demo.screen import Screen
from framebuf.results import Embedding


def result(file, *found, id="demo-1"):
    """`found` are labels with the angle of their embedding in degrees, or None."""
    detections = []
    for label, degrees in found:
        one = {"label": label}
        if degrees is not None:
            angle = np.radians(degrees)
            vector = np.array([np.cos(angle), np.sin(angle)], np.float32)
            one["embedding"] = msgspec.to_builtins(Embedding.of(vector))
        detections.append(one)
    return {"id": id, "frame": {"file": file}, "detections": detections}


def test_the_most_similar_one_of_earlier_frames_is_found_with_its_cosine():
    seen = Gallery()
    assert seen.meet(result("a.jpg", ("person", 0), ("person", 90))) == [None, None]
    assert seen.meet(result("b.jpg", ("person", 40), id="demo-2"))[0].where == "a.jpg of demo-1"
    (alike,) = seen.meet(result("c.jpg", ("person", 50)))
    assert alike.where == "b.jpg of demo-2"
    assert alike.cosine == pytest.approx(np.cos(np.radians(10)), abs=1e-6)


def test_only_the_same_label_is_compared_and_what_has_no_embedding_is_passed_over():
    seen = Gallery()
    seen.meet(result("a.jpg", ("dog", 0), ("cat", None)))
    assert seen.meet(result("b.jpg", ("person", 0), ("cat", None))) == [None, None]
    assert seen.meet({"id": "x", "frame": {"file": "c"}, "error": {}}) == []
    assert repr(seen) == "<Gallery of 2>"


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(gallery, "MOST", 2)
    seen = Gallery()
    for file, degrees in (("a.jpg", 0), ("b.jpg", 50), ("c.jpg", 90)):
        seen.meet(result(file, ("person", degrees)))
    assert seen.meet(result("d.jpg", ("person", 0)))[0].where == "b.jpg of demo-1"


def test_people_read_whom_each_one_looks_like_and_what_failed(capsys):
    seen, screen = Gallery(), Screen(quiet=False)
    for file, degrees in (("a.jpg", 0), ("b.jpg", 60)):
        shown = result(file, ("person", degrees)) | {
            "index": 0,
            "error": {"code": "npu_timeout", "message": "1 of 2 crops"},
        }
        shown["detections"][0] |= {"class_id": 0, "score": 0.9, "box": [0, 0, 9, 9]}
        screen.result(shown, seen.meet(shown))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[2].startswith("0 b.jpg            person         0.90  9×9 at 0,0")
    assert lines[3] == "most like the one in a.jpg of demo-1: 0.50"
    assert lines[1] == lines[4] == "npu_timeout: 1 of 2 crops"
