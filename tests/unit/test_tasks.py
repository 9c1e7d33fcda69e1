from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.config import Model
from framebuf.errors import InferenceError, ModelError
from framebuf.models.batch import Batch
from framebuf.models.placement import Placement, fit
from framebuf.models.prepare import open_preparer
from framebuf.models.runtimes.onnx import OnnxRuntime
from framebuf.models.tasks import open_task
from framebuf.models.tensor import TensorSpec

ASSETS = Path(__file__).parents[2] / "framebuf/demo/assets"
WHOLE = Placement(64, 64, 1.0, 1.0, 0.0, 0.0)
STRIDES = (8, 16, 32)
BINS, CLASSES = 5, 3


def model(task, **more):
    return Model(name="m", path="x.onnx", task=task, decoder="nanodet", **more)


def specs(**shapes):
    return tuple(
        TensorSpec(name, (None, *np.atleast_1d(shape).tolist()), "float32")
        for name, shape in shapes.items()
    )


def nanodet_specs(height=64, width=64, names=("cls", "reg"), bins=BINS, classes=CLASSES):
    cells = [-(-height // s) * -(-width // s) for s in STRIDES]
    shapes = {f"{names[0]}{s}": (n, classes) for s, n in zip(STRIDES, cells, strict=True)}
    shapes |= {f"{names[1]}{s}": (n, 4 * bins) for s, n in zip(STRIDES, cells, strict=True)}
    return specs(**shapes)


def picture(height, width):
    return TensorSpec("images", (None, height, width, 3), "uint8", "NHWC")


def zeros(outputs, batch):
    return tuple(np.zeros(spec.rows(batch), np.float32) for spec in outputs)


def put(outputs, slot, stride, cell, sides, scores, bins=BINS):
    """An object: `sides` are left, top, right, bottom in whole strides, `scores` by class."""
    head = STRIDES.index(stride)
    for class_id, score in scores.items():
        outputs[head][slot, cell, class_id] = score
    logits = np.full((4, bins), -50, np.float32)
    logits[range(4), sides] = 50
    outputs[3 + head][slot, cell] = logits.reshape(-1)


def boxes(findings):
    return [(d.class_id, d.score, d.box) for d in findings.detections]


def iou(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, wide) * max(0, high)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slowly(outputs, slot, place, width, threshold, limit):
    """NanoDet, cell by cell and box by box."""
    found = []
    for head, stride in enumerate(STRIDES):
        columns = -(-width // stride)
        for cell, scores in enumerate(outputs[head][slot]):
            for class_id, score in enumerate(scores):
                if score < np.float32(threshold):
                    continue
                away = []
                for logits in outputs[3 + head][slot, cell].reshape(4, -1).astype(float):
                    weights = np.exp(logits - logits.max())
                    mean = sum(i * w for i, w in enumerate(weights)) / weights.sum()
                    away.append(mean * stride)
                x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
                left = (x - away[0]) * place.scale_x + place.offset_x
                top = (y - away[1]) * place.scale_y + place.offset_y
                right = (x + away[2]) * place.scale_x + place.offset_x
                bottom = (y + away[3]) * place.scale_y + place.offset_y
                across = [min(max(v, 0), place.frame_width) for v in (left, right)]
                down = [min(max(v, 0), place.frame_height) for v in (top, bottom)]
                box = (across[0], down[0], across[1], down[1])
                if box[0] < box[2] and box[1] < box[3]:
                    found.append((float(score), class_id, box))
    found.sort(key=lambda each: -each[0])
    kept = []
    for one in found:
        if all(one[1] != other[1] or iou(one[2], other[2]) <= limit for other in kept):
            kept.append(one)
    return kept


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (40, 72)])
def test_detections_are_those_of_the_slow_and_obvious_decoder(seed, height, width):
    rng = np.random.default_rng(seed)
    outputs = nanodet_specs(height, width)
    place = fit("letterbox", (200, 130), (width, height)).placement
    # scores all different, so that the order of equals does not matter
    arrays = tuple(
        (rng.permutation(np.prod(s.rows(4))) / np.prod(s.rows(4))).reshape(s.rows(4)) ** 4
        if s.name.startswith("cls")
        else rng.normal(0, 3, s.rows(4))
        for s in outputs
    )
    arrays = tuple(array.astype(np.float32) for array in arrays)
    task = open_task(
        model("detect", threshold=0.5, iou=0.3), outputs, picture=picture(height, width)
    )
    found = task.read(arrays, [place] * 3)
    assert len(found) == 3
    for slot in range(3):
        wanted = slowly(arrays, slot, place, width, 0.5, 0.3)
        got = found[slot].detections
        assert len(wanted) > 5
        assert [d.class_id for d in got] == [class_id for _, class_id, _ in wanted]
        for detection, (score, _, (left, top, right, bottom)) in zip(got, wanted, strict=True):
            assert detection.score == pytest.approx(score, abs=6e-5)
            x, y, w, h = detection.box
            assert (x, y, x + w, y + h) == pytest.approx((left, top, right, bottom), abs=0.06)


def test_a_hand_made_box_is_found_where_it_was_put_and_by_its_label(tmp_path):
    (tmp_path / "labels.txt").write_text("cup\ndog\nrose\n")
    outputs = nanodet_specs()
    arrays = zeros(outputs, 2)
    put(arrays, 1, 16, 5, (1, 0, 2, 1), {1: 0.8125})
    task = open_task(model("detect", labels=str(tmp_path / "labels.txt")), outputs)
    nothing, one = task.read(arrays, [WHOLE, WHOLE])
    assert nothing.detections == ()
    # cell 5 of a row of 4: centre (24, 24)
    assert boxes(one) == [(1, 0.8125, (8.0, 24.0, 48.0, 16.0))]
    assert one.detections[0].label == "dog"


def test_a_box_goes_back_to_the_frame_and_is_clipped_to_it():
    outputs = nanodet_specs()
    arrays = zeros(outputs, 1)
    put(arrays, 0, 32, 0, (4, 0, 1, 1), {0: 0.9})
    place = fit("letterbox", (1280, 640), (64, 64)).placement
    (found,) = open_task(model("detect"), outputs).read(arrays, [place])
    # tensor (-112, 16)–(48, 48) times 20, less the border of 16 rows
    assert boxes(found) == [(0, 0.9, (0.0, 0.0, 960.0, 640.0))]


def test_a_box_that_lies_wholly_in_the_border_is_nothing():
    outputs = nanodet_specs()
    arrays = zeros(outputs, 1)
    put(arrays, 0, 8, 3, (1, 0, 1, 0), {0: 0.9})
    put(arrays, 0, 8, 4, (0, 0, 1, 1), {0: 0.9})
    place = fit("letterbox", (640, 320), (64, 64)).placement
    (found,) = open_task(model("detect"), outputs).read(arrays, [place])
    assert found.detections == ()


def test_overlapping_boxes_of_a_class_leave_the_best_and_those_of_another_class_stay():
    outputs = nanodet_specs()
    arrays = zeros(outputs, 1)
    put(arrays, 0, 8, 27, (2, 2, 2, 2), {0: 0.6, 2: 0.7})
    put(arrays, 0, 8, 28, (3, 2, 1, 2), {0: 0.9})
    put(arrays, 0, 8, 60, (0, 1, 1, 0), {0: 0.5})
    (found,) = open_task(model("detect"), outputs).read(arrays, [WHOLE])
    assert [(d.class_id, d.score) for d in found.detections] == [(0, 0.9), (2, 0.7), (0, 0.5)]


def test_the_threshold_itself_is_enough_and_scores_have_four_digits():
    outputs = nanodet_specs()
    arrays = zeros(outputs, 1)
    put(arrays, 0, 8, 0, (0, 0, 1, 1), {0: 0.4})
    put(arrays, 0, 8, 20, (0, 0, 1, 1), {0: 0.3999})
    put(arrays, 0, 8, 40, (0, 0, 1, 1), {0: 0.123456})
    task = open_task(model("detect", threshold=0.4), outputs)
    assert [d.score for d in task.read(arrays, [WHOLE])[0].detections] == [0.4]
    task = open_task(model("detect", threshold=0.1), outputs)
    assert [d.score for d in task.read(arrays, [WHOLE])[0].detections] == [0.4, 0.3999, 0.1235]


def test_a_flood_of_boxes_is_bounded_and_the_best_are_kept():
    outputs = nanodet_specs(416, 416)
    rng = np.random.default_rng(0)
    arrays = tuple(rng.random(s.rows(1)).astype(np.float32) for s in outputs)
    task = open_task(model("detect", threshold=0.0, iou=1.0), outputs)
    (found,) = task.read(arrays, [Placement(416, 416, 1.0, 1.0, 0.0, 0.0)])
    scores = np.sort(np.concatenate([array.ravel() for array in arrays[:3]]))[::-1]
    assert 900 < len(found.detections) <= 1000
    assert found.detections[0].score == round(float(scores[0]), 4)
    assert found.detections[-1].score >= round(float(scores[999]), 4)


@pytest.mark.parametrize("task", ["detect", "classify", "embed", "raw"])
def test_padding_rows_are_not_answered_and_may_hold_anything(task):
    outputs = nanodet_specs() if task == "detect" else specs(logits=10)
    arrays = zeros(outputs, 4)
    for array in arrays:
        array[2:] = np.nan
    reader = open_task(model(task), outputs)
    assert len(reader.read(arrays, [WHOLE, WHOLE])) == 2
    assert reader.read(arrays, []) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("task", ["detect", "classify", "embed", "raw"])
def test_nan_never_becomes_a_finding(task, bad):
    outputs = nanodet_specs() if task == "detect" else specs(logits=10)
    arrays = zeros(outputs, 3)
    arrays[0][1].flat[7] = bad
    with pytest.raises(InferenceError, match=r"has NaN or infinity in slot 1\Z"):
        open_task(model(task), outputs).read(arrays, [WHOLE] * 3)


def test_a_box_with_a_nan_side_is_an_error_that_names_the_output_and_the_slot():
    outputs = nanodet_specs()
    arrays = zeros(outputs, 3)
    put(arrays, 2, 16, 3, (1, 1, 1, 1), {0: 0.9})
    arrays[4][2, 3, 0] = np.nan
    with pytest.raises(InferenceError, match="output reg16 has NaN or infinity in slot 2"):
        open_task(model("detect"), outputs).read(arrays, [WHOLE] * 3)


@pytest.mark.parametrize("task", ["detect", "classify", "embed", "raw"])
def test_too_few_rows_are_an_error_and_not_another_frames_answer(task):
    outputs = nanodet_specs() if task == "detect" else specs(logits=10)
    with pytest.raises(InferenceError, match="expected 3 rows of"):
        open_task(model(task), outputs).read(zeros(outputs, 2), [WHOLE] * 3)


def test_nanodets_own_names_and_unnamed_outputs_are_known():
    for outputs in (
        nanodet_specs(96, 64, ("cls_pred_stride_", "dis_pred_stride_"), bins=11),
        nanodet_specs(96, 64, ("out", "another"), bins=11),
    ):
        arrays = zeros(outputs, 1)
        put(arrays, 0, 32, 3, (0, 0, 1, 1), {2: 0.75}, bins=11)
        task = open_task(model("detect"), outputs, picture=picture(96, 64))
        (found,) = task.read(arrays, [Placement(64, 96, 1.0, 1.0, 0.0, 0.0)])
        # cell 3 of a row of 2: centre (48, 48), reaching to (80, 80), clipped at 64
        assert boxes(found) == [(2, 0.75, (48.0, 48.0, 16.0, 32.0))]


@pytest.mark.parametrize(
    "outputs",
    [
        specs(logits=10, embedding=32),
        nanodet_specs()[:5],
        nanodet_specs(96, 64),
        nanodet_specs(bins=11)[:3] + nanodet_specs(40, 40)[3:],
        specs(cls8=(64, 3), reg8=(64, 21)),
        specs(cls8=64, reg8=(64, 20)),
    ],
)
def test_outputs_that_are_not_nanodets_are_listed(outputs):
    with pytest.raises(ModelError, match=r"model m: expected outputs of nanodet") as error:
        open_task(model("detect"), outputs)
    assert all(str(output) in str(error.value) for output in outputs)


def test_classes_are_the_best_five_of_a_softmax():
    logits = np.array([[1, 5, 2, 4, 3, 0, 5], [1000, -1000, 0, 0, 0, 0, 0]], np.float32)
    first, second = open_task(model("classify"), specs(y=7)).read((logits,), [WHOLE] * 2)
    assert [c.class_id for c in first.classes] == [1, 6, 3, 4, 2]
    assert [c.label for c in first.classes] == ["1", "6", "3", "4", "2"]
    powers = np.exp(logits[0].astype(float))
    wanted = np.round(powers / powers.sum(), 4)
    assert [c.score for c in first.classes] == wanted[[1, 6, 3, 4, 2]].tolist()
    assert second.classes[0].score == 1.0


def test_fewer_classes_than_five_are_all_told():
    (found,) = open_task(model("classify"), specs(y=2)).read(
        (np.zeros((1, 2), np.float32),), [WHOLE]
    )
    assert [c.score for c in found.classes] == [0.5, 0.5]


def test_an_embedding_has_unit_length_and_its_base64_is_little_endian():
    vectors = np.array([[[3.0], [4.0]], [[0.0], [0.0]]], np.float32)
    first, zero = open_task(model("embed"), specs(y=(2, 1))).read((vectors,), [WHOLE] * 2)
    assert first.embedding.dim == 2
    np.testing.assert_allclose(
        np.frombuffer(base64.b64decode(first.embedding.f32), "<f4"), [0.6, 0.8], rtol=1e-6
    )
    assert zero.embedding.vector().tolist() == [0, 0]


def test_raw_gives_every_output_of_each_frame():
    outputs = specs(a=(2, 2), b=3)
    arrays = (
        np.arange(8, dtype=np.float32).reshape(2, 2, 2),
        np.arange(6, dtype=np.float32).reshape(2, 3),
    )
    _, second = open_task(model("raw"), outputs).read(arrays, [WHOLE] * 2)
    assert [(t.name, t.shape) for t in second.outputs] == [("a", (2, 2)), ("b", (3,))]
    assert np.frombuffer(base64.b64decode(second.outputs[0].f32), "<f4").tolist() == [4, 5, 6, 7]


def test_each_task_reads_its_own_of_several_outputs(tmp_path):
    outputs = specs(embedding=4, logits=3)
    arrays = (np.full((1, 4), 2, np.float32), np.array([[0, 9, 0]], np.float32))
    (embedded,) = open_task(model("embed"), outputs).read(arrays, [WHOLE])
    assert embedded.embedding.dim == 4
    (classified,) = open_task(model("classify"), outputs).read(arrays, [WHOLE])
    assert classified.classes[0].class_id == 1
    unnamed = specs(one=4, two=3)
    (classified,) = open_task(model("classify"), unnamed, ["a", "b", "c"]).read(arrays, [WHOLE])
    assert classified.classes[0].label == "b"


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_an_output_that_cannot_be_told_is_an_error_that_lists_them(task):
    with pytest.raises(
        ModelError, match=r"model m: expected one output named .*one N×4 float32; two"
    ):
        open_task(model(task), specs(one=4, two=3))


def test_a_free_number_of_classes_is_refused():
    free = (TensorSpec("logits", (None, None), "float32"),)
    with pytest.raises(ModelError, match="fixed axes after the batch, output logits N×N"):
        open_task(model("classify"), free)


@pytest.mark.parametrize("task", ["classify", "embed", "raw"])
def test_a_missing_label_file_is_named(tmp_path, task):
    with pytest.raises(
        ModelError, match=r"model m: cannot read the label file .*away.txt: No such"
    ):
        open_task(model(task, labels=str(tmp_path / "away.txt")), specs(y=3))
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not UTF-8"):
        open_task(model("classify", labels=str(tmp_path / "bad.txt")), specs(y=3))


@pytest.mark.parametrize("task", ["classify", "detect"])
def test_labels_of_another_number_than_the_classes_are_refused(tmp_path, task):
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\nc\nd\n\n")
    outputs = nanodet_specs() if task == "detect" else specs(y=3)
    with pytest.raises(ModelError, match=rf"{path}: expected 3 labels, .* got 4; give"):
        open_task(model(task, labels=str(path)), outputs)


def test_labels_in_the_model_file_that_cannot_be_right_are_passed_over_with_a_warning(caplog):
    task = open_task(model("classify"), specs(y=3), ["a"])
    (found,) = task.read((np.array([[1, 5, 0]], np.float32),), [WHOLE])
    assert found.classes[0].label == "1"
    assert "its file says 1 labels, it has 3 classes" in caplog.text


def test_labels_may_have_windows_line_ends_and_the_file_goes_before_the_models_own(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffä b\r\nc\r\n\r\n".encode())
    task = open_task(model("classify", labels=str(path)), specs(y=2), ["x", "y"])
    (found,) = task.read((np.array([[1, 0]], np.float32),), [WHOLE])
    assert [c.label for c in found.classes] == ["ä b", "c"]


@pytest.fixture(scope="module")
def photos():
    return {path.stem: cv2.imread(str(path)) for path in sorted((ASSETS / "photos").iterdir())}


def read_photos(photos, file, asked, padding):
    runtime = OnnxRuntime.open(ASSETS / file, threads=2)
    batch = Batch(runtime.input, len(photos) + padding, open_preparer(asked, runtime.input))
    for pixels in photos.values():
        batch.add(pixels)
    outputs = runtime.infer(batch.tensor)
    found = open_task(asked, runtime.outputs).read(outputs, batch.placements)
    return dict(zip(photos, found, strict=True))


def test_the_sample_detector_says_of_the_photos_what_it_said_when_they_were_chosen(photos):
    asked = model("detect", labels=str(ASSETS / "coco.txt"), threshold=0.4)
    found = read_photos(photos, "nanodet-416.onnx", asked, padding=3)
    said = {
        name: [(d.label, round(d.score, 2)) for d in each.detections]
        for name, each in found.items()
    }
    assert said == {
        "astronaut": [("person", 0.73)],
        "cameraman": [("person", 0.88)],
        "cat": [("cat", 0.57), ("dog", 0.42)],
        "coffee": [("dining table", 0.47)],
        "rocket": [],
    }
    x, y, w, h = found["cameraman"].detections[0].box
    assert (x, y, x + w, y + h) == pytest.approx((4, 68, 321, 512), abs=3)


def test_the_sample_classifier_knows_an_espresso_and_a_tripod(photos):
    asked = model("classify", labels=str(ASSETS / "imagenet.txt"))
    found = read_photos(photos, "mobilenetv2-224.onnx", asked, padding=0)
    assert found["coffee"].classes[0].label == "espresso"
    assert found["cameraman"].classes[0].label == "tripod"
    assert len(found["cat"].classes) == 5
