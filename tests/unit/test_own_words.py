"""What a .rknn file says of its own use, and what the configuration says instead."""

from __future__ import annotations

import pytest

from framebuf.config import model_of
from framebuf.errors import ConfigError, ModelError
from framebuf.models.own_words import completed
from tests.unit.rknn_files import rknn


def asked(path, **keys):
    return model_of({"name": "net", "path": str(path)} | keys)


@pytest.fixture
def saying(tmp_path):
    def write(text):
        path = tmp_path / "net.rknn"
        rknn(path, fields={11: text})
        return path

    return write


def test_a_file_may_say_task_decoder_and_labels(saying):
    path = saying("labels=person,car;task=detect;decoder=yolov8")
    model, labels = completed(asked(path), path)
    assert (model.task, model.decoder, labels) == ("detect", "yolov8", ("person", "car"))


def test_what_is_configured_goes_before_what_the_file_says(saying):
    path = saying("task=classify;decoder=yolov8")
    model, labels = completed(asked(path, task="detect", decoder="nanodet"), path)
    assert (model.task, model.decoder, labels) == ("detect", "nanodet", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labels=a", r"says none; give task in the configuration, one of classify, detect"),
        ("task=guess", r"says 'guess'; give task"),
        ("task=auto", r"says 'auto'; give task"),
        ("task=detect", r"says none; give decoder in the configuration, one of nanodet"),
        ("task=detect;decoder=mine", r"says 'mine'; give decoder"),
    ],
)
def test_a_file_that_leaves_open_what_it_is_for_is_told_with_the_choices(saying, text, words):
    path = saying(text)
    with pytest.raises(ModelError, match=words):
        completed(asked(path), path)


def test_an_onnx_file_says_nothing_and_must_be_configured(tmp_path):
    path = tmp_path / "net.onnx"
    model = asked(path, task="raw")
    assert completed(model, path) == (model, None)
    with pytest.raises(ConfigError, match="task: is missing"):
        asked(path)
