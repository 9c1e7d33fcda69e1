"""YOLO's boxes, against decoders that go cell by cell, and against boxes put in by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from framebuf.config import Model
from framebuf.errors import InferenceError, ModelError
from framebuf.models.placement import Placement, fit
from framebuf.models.tasks import open_task
from framebuf.models.tensor import TensorSpec

STRIDES = (8, 16, 32)
BINS, CLASSES = 16, 3
ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
SIZES = [(64, 64), (96, 64), (64, 160)]
"""Height, width."""


def model(decoder, **more):
    return Model(name="m", path="x.onnx", task="detect", decoder=decoder, **more)


def picture(height=64, width=64):
    return TensorSpec("images", (None, height, width, 3), "uint8", "NHWC")


def whole(height=64, width=64):
    return Placement(width, height, 1.0, 1.0, 0.0, 0.0)


def specs(*arrays):
    return tuple(
        TensorSpec(f"out{at}", (None, *array.shape[1:]), "float32")
        for at, array in enumerate(arrays)
    )


def maps_v5(height=64, width=64, batch=1, classes=CLASSES, strides=STRIDES):
    channels = 3 * (5 + classes)
    return [np.zeros((batch, channels, height // s, width // s), np.float32) for s in strides]


def rows_v5(height=64, width=64, batch=1, classes=CLASSES):
    cells = sum((height // s) * (width // s) for s in STRIDES)
    return [np.zeros((batch, 3 * cells, 5 + classes), np.float32)]


def maps_v8(height=64, width=64, batch=1, classes=CLASSES, sums=True):
    made = []
    for s in STRIDES:
        channels = [4 * BINS, classes, 1] if sums else [4 * BINS, classes]
        made += [np.zeros((batch, c, height // s, width // s), np.float32) for c in channels]
    return made


def rows_v8(height=64, width=64, batch=1, classes=CLASSES):
    cells = sum((height // s) * (width // s) for s in STRIDES)
    return [np.zeros((batch, 4 + classes, cells), np.float32)]


LAYOUTS = {
    "v5 maps": ("yolov5", maps_v5),
    "v5 rows": ("yolov5", rows_v5),
    "v8 maps": ("yolov8", maps_v8),
    "v8 maps without sums": ("yolov8", lambda *a, **k: maps_v8(*a, **k, sums=False)),
    "v8 rows": ("yolov8", rows_v8),
    "v8 rows turned": (
        "yolov8",
        lambda *a, **k: [np.ascontiguousarray(rows_v8(*a, **k)[0].swapaxes(1, 2))],
    ),
}


def boxes_of(layout, arrays, slot, height, width):
    """Every box of a slot with its best class, one after the other: (score, class, corners)."""
    if layout == "v5 maps":
        found = slow_v5_maps(arrays, slot, height, width)
    elif layout == "v5 rows":
        found = []
        for row in arrays[0][slot].astype(float).tolist():
            score = max(row[5:])
            found += [(row[4] * score, row[5:].index(score), *row[:4])]
    elif layout.startswith("v8 maps"):
        found = slow_v8_maps(arrays, slot, height, width)
    else:
        found = []
        rows = arrays[0][slot] if layout.endswith("turned") else arrays[0][slot].T
        for row in rows.astype(float).tolist():
            score = max(row[4:])
            found += [(score, row[4:].index(score), *row[:4])]
    return [(s, c, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)) for s, c, x, y, w, h in found]


def slow_v5_maps(arrays, slot, height, width):
    found = []
    for stride, array in zip(STRIDES, arrays, strict=True):
        each = array.shape[1] // 3
        for line, column in np.ndindex(height // stride, width // stride):
            for anchor, (wide, high) in enumerate(ANCHORS[stride]):
                at = [float(array[slot, anchor * each + i, line, column]) for i in range(each)]
                x = (2 * at[0] - 0.5 + column) * stride
                y = (2 * at[1] - 0.5 + line) * stride
                score = max(at[5:])
                box = (x, y, (2 * at[2]) ** 2 * wide, (2 * at[3]) ** 2 * high)
                found.append((at[4] * score, at[5:].index(score), *box))
    return found


def slow_v8_maps(arrays, slot, height, width):
    found = []
    each = len(arrays) // 3
    for head, stride in enumerate(STRIDES):
        sides, scores = arrays[each * head], arrays[each * head + 1]
        for line, column in np.ndindex(height // stride, width // stride):
            away = []
            for side in range(4):
                logits = sides[slot, BINS * side : BINS * (side + 1), line, column]
                weights = [math.exp(v) for v in logits.astype(float)]
                away.append(sum(i * w for i, w in enumerate(weights)) / sum(weights) * stride)
            left, right = (column + 0.5) * stride - away[0], (column + 0.5) * stride + away[2]
            top, bottom = (line + 0.5) * stride - away[1], (line + 0.5) * stride + away[3]
            classes = scores[slot, :, line, column].astype(float).tolist()
            box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            found.append((max(classes), classes.index(max(classes)), *box))
    return found


def iou(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, wide) * max(0, high)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slowly(layout, arrays, slot, place, size, threshold, limit):
    """What Detect should find: in the frame, and of overlapping ones the best."""
    inside = []
    for score, class_id, (x0, y0, x1, y1) in boxes_of(layout, arrays, slot, *size):
        if score < threshold:
            continue
        across = [
            min(max(x * place.scale_x + place.offset_x, 0), place.frame_width) for x in (x0, x1)
        ]
        down = [
            min(max(y * place.scale_y + place.offset_y, 0), place.frame_height) for y in (y0, y1)
        ]
        if across[0] < across[1] and down[0] < down[1]:
            inside.append((score, class_id, (across[0], down[0], across[1], down[1])))
    inside.sort(key=lambda each: -each[0])
    kept = []
    for one in inside:
        if all(one[1] != other[1] or iou(one[2], other[2]) <= limit for other in kept):
            kept.append(one)
    return [
        one for one in kept if all(round(one[2][i + 2], 1) > round(one[2][i], 1) for i in (0, 1))
    ]


def randomly(arrays, layout, rng, height, width):
    """Fill with what such a network may say; scores all different."""
    for at, array in enumerate(arrays):
        spread = (rng.permutation(array.size) / array.size).reshape(array.shape)
        each = len(arrays) // 3
        if layout.startswith("v8 maps"):
            array[:] = spread**6
            if at % each == 0:  # rather near than far
                near = -0.5 * np.tile(np.arange(BINS), 4).reshape(1, 4 * BINS, 1, 1)
                array[:] = rng.normal(0, 2, array.shape) + near
            continue
        array[:] = spread if layout == "v5 maps" else spread**6
        if layout == "v5 rows":
            array[:, :, 4] **= 1 / 6
        if "rows" in layout:
            rows = array.swapaxes(1, 2) if layout == "v8 rows" else array
            rows[:, :, :4] = rng.random(rows[:, :, :4].shape) * (width, height, width, height)
    return arrays


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("seed", "size"), list(enumerate(SIZES)))
def test_detections_are_those_of_the_slow_and_obvious_decoder_in_every_slot(layout, seed, size):
    decoder, make = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    arrays = randomly(make(*size, batch=4), layout, rng, *size)
    height, width = size
    place = fit("letterbox", (200, 130), (width, height)).placement
    task = open_task(model(decoder, threshold=0.5, iou=0.4), specs(*arrays), picture=picture(*size))
    found = task.read(tuple(arrays), [place] * 3)
    assert len(found) == 3
    for slot in range(3):
        wanted = slowly(layout, arrays, slot, place, size, 0.5, 0.4)
        got = found[slot].detections
        assert len(wanted) > 3
        assert [d.class_id for d in got] == [class_id for _, class_id, _ in wanted]
        for detection, (score, _, corners) in zip(got, wanted, strict=True):
            assert detection.score == pytest.approx(score, abs=6e-5)
            x, y, w, h = detection.box
            assert (x, y, x + w, y + h) == pytest.approx(corners, abs=0.07)


def put(layout, arrays, slot, class_id=1, score=0.8125):
    """The box (40, 24)–(72, 56) of a 96×64 input: centre (56, 40), 32 by 32 pixels."""
    if layout == "v5 maps":
        # stride 16, anchor 30×61, cell (3, 2): its corner is (48, 32)
        x, y = (56 / 16 - 3 + 0.5) / 2, (40 / 16 - 2 + 0.5) / 2
        box = [x, y, math.sqrt(32 / 30) / 2, math.sqrt(32 / 61) / 2]
        arrays[1][slot, 0:5, 2, 3] = [*box, score * 1.0]
        arrays[1][slot, 5 + class_id, 2, 3] = 1.0
    elif layout == "v5 rows":
        arrays[0][slot, 77, :5] = [56, 40, 32, 32, 1.0]
        arrays[0][slot, 77, 5 + class_id] = score
    elif layout.startswith("v8 maps"):
        # stride 16, cell (3, 2): its centre is (56, 40); each side one stride away
        each = len(arrays) // 3
        arrays[each][slot, 1::BINS, 2, 3] = 60
        arrays[each + 1][slot, class_id, 2, 3] = score
    else:
        rows = arrays[0] if layout.endswith("turned") else arrays[0].swapaxes(1, 2)
        rows[slot, 77, :4] = [56, 40, 32, 32]
        rows[slot, 77, 4 + class_id] = score


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_hand_made_box_is_found_where_it_was_put_and_by_its_label(layout, tmp_path):
    (tmp_path / "labels.txt").write_text("cup\ndog\nrose\n")
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96, batch=3)
    put(layout, arrays, 1)
    task = open_task(
        model(decoder, labels=str(tmp_path / "labels.txt")), specs(*arrays), picture=picture(64, 96)
    )
    nothing, (one,), still_nothing = (
        each.detections for each in task.read(tuple(arrays), [whole(64, 96)] * 3)
    )
    assert nothing == still_nothing == ()
    assert (one.label, one.class_id, one.score) == ("dog", 1, 0.8125)
    assert one.box == (40.0, 24.0, 32.0, 32.0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_of_one_class_is_read(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96, classes=1)
    put(layout, arrays, 0, class_id=0)
    task = open_task(model(decoder), specs(*arrays), picture=picture(64, 96))
    (found,) = task.read(tuple(arrays), [whole(64, 96)])
    assert [(d.label, d.score, d.box) for d in found.detections] == [
        ("0", 0.8125, (40.0, 24.0, 32.0, 32.0))
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_threshold_itself_is_enough(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96, batch=2)
    put(layout, arrays, 0, score=0.5)
    put(layout, arrays, 1, score=0.4999)
    task = open_task(model(decoder, threshold=0.5), specs(*arrays), picture=picture(64, 96))
    found = task.read(tuple(arrays), [whole(64, 96)] * 2)
    assert [len(each.detections) for each in found] == [1, 0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_has_one_class_its_best(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96)
    put(layout, arrays, 0, class_id=0, score=0.7)
    put(layout, arrays, 0, class_id=2, score=0.9)
    if layout == "v5 maps":
        arrays[1][0, 5, 2, 3] = 0.7
    task = open_task(model(decoder), specs(*arrays), picture=picture(64, 96))
    (found,) = task.read(tuple(arrays), [whole(64, 96)])
    assert [(d.class_id, d.score) for d in found.detections] == [(2, 0.9)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_rows_are_not_answered_and_may_hold_anything(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(batch=4)
    for array in arrays:
        array[2:] = np.nan
    task = open_task(model(decoder), specs(*arrays), picture=picture())
    assert [each.detections for each in task.read(tuple(arrays), [whole()] * 2)] == [(), ()]
    assert task.read(tuple(arrays), []) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_nan_is_an_error_that_names_the_slot(layout, bad):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96, batch=3)
    put(layout, arrays, 1, score=bad)
    task = open_task(model(decoder), specs(*arrays), picture=picture(64, 96))
    with pytest.raises(InferenceError, match=r"has NaN or infinity in slot 1\Z"):
        task.read(tuple(arrays), [whole(64, 96)] * 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_that_is_nan_is_an_error_that_names_the_slot(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96, batch=3)
    put(layout, arrays, 2)
    if layout == "v5 maps":
        arrays[1][2, 0, 2, 3] = np.nan
    elif layout.startswith("v8 maps"):
        arrays[len(arrays) // 3][2, 1::BINS, 2, 3] = np.nan
    else:
        arrays[0][arrays[0] > 1] = np.nan
    task = open_task(model(decoder), specs(*arrays), picture=picture(64, 96))
    with pytest.raises(InferenceError, match=r"has NaN or infinity in slot 2\Z"):
        task.read(tuple(arrays), [whole(64, 96)] * 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_that_were_never_in_a_sigmoid_are_an_error_and_a_rounding_past_one_is_not(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(64, 96)
    task = open_task(model(decoder), specs(*arrays), picture=picture(64, 96))
    put(layout, arrays, 0, score=1.004)
    assert task.read(tuple(arrays), [whole(64, 96)])[0].detections[0].score == 1.0
    put(layout, arrays, 0, score=7.25)
    with pytest.raises(
        InferenceError, match=r"expected scores of 0 to 1 in output out\d, got 7.25"
    ):
        task.read(tuple(arrays), [whole(64, 96)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_of_another_number_than_the_classes_are_refused(layout, tmp_path):
    decoder, make = LAYOUTS[layout]
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ModelError, match=r"expected 3 labels, .* got 2; give"):
        open_task(
            model(decoder, labels=str(tmp_path / "labels.txt")), specs(*make()), picture=picture()
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_decoder_that_does_not_fit_the_outputs_names_the_one_that_does(layout):
    decoder, make = LAYOUTS[layout]
    outputs = specs(*make())
    for wrong in {"nanodet", "yolov5", "yolov8"} - {decoder}:
        with pytest.raises(
            ModelError, match=rf'of {wrong}, .*; use decoder = "{decoder}"'
        ) as error:
            open_task(model(wrong), outputs, picture=picture())
        assert all(str(output) in str(error.value) for output in outputs)


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8"])
@pytest.mark.parametrize(
    "arrays",
    [
        [np.zeros((1, 1000))],
        [np.zeros((1, 7, 91))],
        [np.zeros((1, 4, 84))],
        maps_v5()[:2],
        maps_v5(96, 96),
        [*maps_v5()[:2], np.zeros((1, 27, 2, 2))],
        [each[:, :23] for each in maps_v5()],
        maps_v8()[1:],
        [*maps_v8(), np.zeros((1, 9))],
        [*maps_v8(), np.zeros((1, 1, 8, 8))],
        maps_v8(64, 96),
        [each[:, :9] for each in maps_v8()],
    ],
)
def test_outputs_that_are_no_yolo_are_listed_with_what_was_expected(decoder, arrays):
    outputs = specs(*arrays)
    with pytest.raises(ModelError, match=rf"model m: expected outputs of {decoder}, ") as error:
        open_task(model(decoder), outputs, picture=picture())
    assert all(str(output) in str(error.value) for output in outputs)
    assert "check decoder and the export" in str(error.value)


def test_the_large_yolov5_of_four_strides_has_its_own_anchors():
    arrays = maps_v5(128, 128, strides=(8, 16, 32, 64))
    arrays[3][0, 2 * 8 : 2 * 8 + 6, 1, 1] = [0.25, 0.25, 0.25, 0.25, 1, 0.9]
    task = open_task(model("yolov5"), specs(*arrays), picture=picture(128, 128))
    frame = Placement(1000, 1000, 1.0, 1.0, 500.0, 500.0)
    (found,) = task.read(tuple(arrays), [frame])
    # the third anchor of stride 64 is 925×792; a quarter of it about the corner of cell (1, 1)
    x, y = 500 + 64 - 925 / 8, 500 + 64 - 792 / 8
    assert found.detections[0].box == pytest.approx((x, y, 925 / 4, 792 / 4), abs=0.11)


def test_the_outputs_may_come_in_any_order_of_strides():
    arrays = maps_v8(64, 96)
    put("v8 maps", arrays, 0)
    turned = [array for at in (6, 0, 3) for array in arrays[at : at + 3]]
    task = open_task(model("yolov8"), specs(*turned), picture=picture(64, 96))
    (found,) = task.read(tuple(turned), [whole(64, 96)])
    assert [d.box for d in found.detections] == [(40.0, 24.0, 32.0, 32.0)]


def test_a_model_that_suppresses_itself_gives_corners_score_and_class():
    rows = np.zeros((2, 300, 6), np.float32)
    rows[1, 5] = [8, 16, 40, 24, 0.75, 2]
    rows[1, 6] = [50, 50, 40, 60, 0.9, 1]  # its left is right of its right: no box
    task = open_task(model("yolov8"), specs(rows), ["a", "b", "c"], picture=picture())
    nothing, found = task.read((rows,), [whole()] * 2)
    assert nothing.detections == ()
    assert [(d.label, d.score, d.box) for d in found.detections] == [
        ("c", 0.75, (8.0, 16.0, 32.0, 8.0))
    ]
    unlabelled = open_task(model("yolov8"), specs(rows), picture=picture())
    assert unlabelled.read((rows,), [whole()] * 2)[1].detections[0].label == "2"


@pytest.mark.parametrize(("class_id", "said"), [(3, "found class 3"), (-1, "found class -1")])
def test_a_class_that_has_no_label_is_an_error(class_id, said):
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 5] = [8, 16, 40, 24, 0.75, class_id]
    task = open_task(model("yolov8"), specs(rows), ["a", "b", "c"], picture=picture())
    with pytest.raises(InferenceError, match=rf"expected a class of the 3 labels, .*{said}"):
        task.read((rows,), [whole()])


@pytest.mark.parametrize("layout", ["v8 maps", "v8 rows", "v5 rows", "v5 maps"])
def test_a_flood_of_boxes_is_bounded_and_the_best_are_kept(layout):
    decoder, make = LAYOUTS[layout]
    arrays = make(320, 320)
    rng = np.random.default_rng(0)
    for array in arrays:
        array[:] = rng.random(array.shape)
    task = open_task(
        model(decoder, threshold=0.0, iou=1.0), specs(*arrays), picture=picture(320, 320)
    )
    frame = Placement(2000, 2000, 1.0, 1.0, 1000.0, 1000.0)
    (found,) = task.read(tuple(arrays), [frame])
    wanted = sorted((s for s, _, _ in boxes_of(layout, arrays, 0, 320, 320)), reverse=True)
    assert 850 < len(found.detections) <= 1000
    assert found.detections[0].score == pytest.approx(wanted[0], abs=6e-5)
    assert found.detections[-1].score >= wanted[999] - 6e-5
