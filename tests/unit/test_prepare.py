from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framebuf.config import Model
from framebuf.errors import ModelError
from framebuf.frames import Part
from framebuf.models.batch import Batch
from framebuf.models.placement import fit
from framebuf.models.prepare import Preparer, open_preparer
from framebuf.models.tensor import TensorSpec

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
sides = st.integers(1, 3000)
sizes = st.tuples(sides, sides)
resizes = st.sampled_from(["letterbox", "stretch", "center-crop"])


def spec(layout="NHWC", dtype="uint8", height=64, width=96, batch=None):
    shape = (height, width, 3) if layout == "NHWC" else (3, height, width)
    return TensorSpec("images", (batch, *shape), dtype, layout)


def picture(height=90, width=120, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def letterboxed(frame, height, width):
    """As rknn_model_zoo does it, step by step."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    new_w, new_h = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    left, top = (width - new_w) // 2, (height - new_h) // 2
    small = cv2.resize(frame, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    right, bottom = width - new_w - left, height - new_h - top
    bordered = cv2.copyMakeBorder(
        small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    return cv2.cvtColor(bordered, cv2.COLOR_BGR2RGB)


@given(frame=sizes, tensor=sizes)
def test_letterbox_keeps_the_aspect_and_gives_the_odd_border_pixel_to_the_right_and_bottom(
    frame, tensor
):
    placed = fit("letterbox", frame, tensor)
    scale = min(tensor[0] / frame[0], tensor[1] / frame[1])
    for axis, start, size in ((0, placed.x, placed.width), (1, placed.y, placed.height)):
        assert abs(size - frame[axis] * scale) <= 0.5 or size == 1
        before, after = start, tensor[axis] - start - size
        assert 0 <= after - before <= 1
    assert placed.width == tensor[0] or placed.height == tensor[1]


@given(frame=sizes, tensor=sizes, resize=resizes)
def test_the_corners_of_what_is_seen_map_onto_the_frame_it_came_from(frame, tensor, resize):
    placed = fit(resize, frame, tensor)
    area = [placed.x, placed.y, placed.x + placed.width, placed.y + placed.height]
    seen = placed.placement.boxes_to_frame(np.array([area], np.float32))
    rows, columns = placed.rows, placed.columns
    wanted = [columns.start, rows.start, columns.stop, rows.stop]
    np.testing.assert_allclose(seen[0], wanted, atol=0.01)
    assert rows.start >= 0
    assert columns.start >= 0
    assert rows.stop <= frame[1]
    assert columns.stop <= frame[0]


@given(frame=sizes, tensor=sizes, resize=resizes, data=st.data())
def test_a_box_goes_there_and_back_to_where_it_was(frame, tensor, resize, data):
    placed = fit(resize, frame, tensor)
    place = placed.placement
    ends = []
    for axis in (placed.columns, placed.rows):
        pair = st.lists(st.floats(axis.start, axis.stop), min_size=2, max_size=2)
        ends.append(sorted(data.draw(pair)))
    (left, right), (top, bottom) = ends
    box = np.array([left, top, right, bottom])
    scale = np.array([place.scale_x, place.scale_y] * 2)
    there = (box - [place.offset_x, place.offset_y] * 2) / scale
    back = place.boxes_to_frame(there.astype(np.float32)[None])
    rounded = max(tensor) * scale.max() * 2e-7  # of a place in the tensor, as a 32-bit float
    np.testing.assert_allclose(back[0], box, atol=max(0.01, max(frame) * 1e-5, rounded))


@given(
    frame=sizes,
    boxes=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), min_size=0, max_size=5
    ),
)
def test_boxes_never_leave_the_frame(frame, boxes):
    place = fit("letterbox", frame, (416, 416)).placement
    back = place.boxes_to_frame(np.array(boxes, np.float32).reshape(-1, 4))
    assert back.dtype == np.float32
    assert (back >= 0).all()
    assert (back <= np.array([*frame, *frame])).all()


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    side=st.sampled_from([(64, 96), (96, 64)]),
)
def test_a_letterboxed_slot_is_byte_for_byte_what_the_plain_recipe_gives(height, width, side):
    if min(side[1] / width * height, side[0] / height * width) < 1:
        return  # the plain recipe fails where a side rounds to zero
    frame = picture(height, width)
    tensor = np.full((3, *side, 3), 7, np.uint8)
    Preparer(spec(height=side[0], width=side[1]), "letterbox").write(frame, tensor[1])
    np.testing.assert_array_equal(tensor[1], letterboxed(frame, *side))
    assert (tensor[[0, 2]] == 7).all()


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000)])
def test_a_sliver_of_a_frame_still_gets_one_pixel(size):
    tensor = np.zeros((64, 96, 3), np.uint8)
    Preparer(spec(), "letterbox").write(np.zeros((*size, 3), np.uint8), tensor)
    assert (tensor == 0).any()
    assert (tensor == 114).any()


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center-crop"])
def test_every_layout_holds_the_same_picture(layout, dtype, resize, channels):
    frame = picture()
    plain = np.zeros((64, 96, 3), np.uint8)
    Preparer(spec(), resize, channels).write(frame, plain)
    numbers = (MEAN, STD) if dtype == "float32" else (None, None)
    tensor = np.full(spec(layout, dtype).rows(3), 9, dtype)
    Preparer(spec(layout, dtype), resize, channels, *numbers).write(frame, tensor[1])
    wanted = plain.transpose(2, 0, 1) if layout == "NCHW" else plain
    if dtype == "float32":
        broadcast = (3, 1, 1) if layout == "NCHW" else (3,)
        mean, std = (np.reshape(each, broadcast) for each in (MEAN, STD))
        wanted = (wanted - mean) / std
    np.testing.assert_allclose(tensor[1], wanted, rtol=1e-6, atol=1e-6)
    assert (tensor[[0, 2]] == 9).all()


def test_colours_arrive_in_the_order_that_the_model_wants():
    blue = np.zeros((10, 10, 3), np.uint8)
    blue[..., 0] = 255
    slot = np.zeros((64, 96, 3), np.uint8)
    Preparer(spec(), "stretch", "rgb").write(blue, slot)
    assert slot[0, 0].tolist() == [0, 0, 255]
    Preparer(spec(), "stretch", "bgr").write(blue, slot)
    assert slot[0, 0].tolist() == [255, 0, 0]


def test_a_frame_of_another_size_repaints_the_border():
    preparer, slot = Preparer(spec(), "letterbox"), np.zeros((64, 96, 3), np.uint8)
    for height, width in ((90, 120), (20, 120), (20, 200), (90, 120), (90, 30), (300, 10)):
        frame = picture(height, width)
        place = preparer.write(frame, slot)
        np.testing.assert_array_equal(slot, letterboxed(frame, 64, 96))
        assert (place.frame_width, place.frame_height) == (width, height)


def test_center_crop_sees_224_of_a_short_side_of_256():
    placed = fit("center-crop", (512, 256), (224, 224))
    assert (placed.columns, placed.rows) == (slice(144, 368), slice(16, 240))
    tall = fit("center-crop", (128, 1000), (128, 256))
    assert (tall.columns, tall.rows) == (slice(8, 120), slice(388, 612))


def test_center_crop_of_a_frame_of_the_right_size_is_the_centre_itself():
    frame = picture(256, 256)
    slot = np.zeros((224, 224, 3), np.uint8)
    Preparer(spec(height=224, width=224), "center-crop", "bgr").write(frame, slot)
    np.testing.assert_array_equal(slot, frame[16:240, 16:240])


def least_peak(work):
    """Bytes that it allocates at most at a time; other threads' add to some of the turns."""
    peaks = []
    for _ in range(5):
        tracemalloc.start()
        try:
            work()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center-crop"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_writing_allocates_no_picture(layout, dtype, resize):
    slot = np.zeros(spec(layout, dtype).rows(1)[1:], dtype)
    preparer, frame = Preparer(spec(layout, dtype), resize), picture()
    preparer.write(frame, slot)
    assert least_peak(lambda: preparer.write(frame, slot)) < 64 * 96


def test_a_part_of_a_frame_and_a_frozen_frame_are_read_as_they_are():
    frame = picture(200, 200)
    part = frame[20:110, 30:150]
    part.flags.writeable = False
    slots = np.zeros((2, 64, 96, 3), np.uint8)
    preparer = Preparer(spec(), "letterbox")
    preparer.write(part, slots[0])
    preparer.write(part.copy(), slots[1])
    np.testing.assert_array_equal(slots[0], slots[1])


def test_a_slot_that_is_a_view_of_wider_rows_is_written_in_place():
    wide = np.zeros((64, 200, 3), np.uint8)
    Preparer(spec(), "letterbox").write(picture(), wide[:, 50:146])
    np.testing.assert_array_equal(wide[:, 50:146], letterboxed(picture(), 64, 96))
    assert not wide[:, :50].any()
    assert not wide[:, 146:].any()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_slot_that_opencv_cannot_write_into_is_an_error_and_not_a_lost_picture(layout, dtype):
    shape = spec(layout, dtype).rows(1)[1:]
    preparer = Preparer(spec(layout, dtype), "letterbox")
    backwards = np.zeros(shape, dtype)[..., ::-1]
    frozen = np.zeros(shape, dtype)
    frozen.flags.writeable = False
    for slot in (backwards, frozen):
        with pytest.raises((ValueError, RuntimeError), match=r"OpenCV|slot"):
            preparer.write(picture(), slot)


def test_opencv_returning_another_array_is_noticed(monkeypatch):
    resize = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda *args, dst, **kw: resize(*args, dst=None, **kw))
    with pytest.raises(RuntimeError, match="did not write into the slot"):
        Preparer(spec()).write(picture(), np.zeros((64, 96, 3), np.uint8))


@pytest.mark.parametrize(
    ("pixels", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), TypeError, "expected a frame of uint8, got float32"),
        (np.broadcast_to(np.uint8(0), (30000, 30000, 3)), ValueError, "of less than 2 GiB, got"),
        (np.zeros((4, 4), np.uint8), ValueError, r"\(height, width, 3\), got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"got \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\)"),
    ],
)
def test_what_is_no_frame_is_refused_and_nothing_is_written(pixels, error, message):
    slot = np.full((64, 96, 3), 5, np.uint8)
    with pytest.raises(error, match=message):
        Preparer(spec()).write(pixels, slot)
    assert (slot == 5).all()


def test_a_slot_of_another_shape_or_dtype_is_refused():
    with pytest.raises(ValueError, match=r"slot of \(64, 96, 3\), got \(96, 64, 3\)"):
        Preparer(spec()).write(picture(), np.zeros((96, 64, 3), np.uint8))
    with pytest.raises(TypeError, match="slot of uint8, got float32"):
        Preparer(spec()).write(picture(), np.zeros((64, 96, 3), np.float32))


def model(**more):
    return Model(name="person", path="x.onnx", **{"task": "classify", **more})


def test_a_float_input_without_mean_and_std_is_refused_with_an_example():
    with pytest.raises(ModelError, match=r"model person: float input images .*mean = \[123.675"):
        open_preparer(model(), spec(dtype="float32"))
    preparer = open_preparer(model(mean=MEAN, std=STD), spec(dtype="float32"))
    slot = np.zeros((64, 96, 3), np.float32)
    preparer.write(np.full((9, 9, 3), 128, np.uint8), slot)
    np.testing.assert_allclose(slot[5, 5], (128 - np.array(MEAN)) / STD, rtol=1e-5)


def test_mean_for_a_uint8_input_would_be_lost_and_is_refused():
    with pytest.raises(ModelError, match="model person: mean and std are for a float32 input"):
        open_preparer(model(mean=MEAN, std=STD), spec())


def test_an_input_that_is_no_picture_is_refused():
    with pytest.raises(ModelError, match="input is audio N×16000 float32"):
        Preparer(TensorSpec("audio", (None, 16000), "float32"))


@pytest.mark.parametrize(
    ("task", "resize"),
    [("classify", "center-crop"), ("embed", "center-crop"), ("detect", "letterbox")],
)
def test_the_resize_follows_the_task_unless_it_is_configured(task, resize):
    assert open_preparer(model(task=task, decoder="nanodet"), spec()).resize == resize
    assert open_preparer(model(task=task, resize="stretch"), spec()).resize == "stretch"


# a part of a frame ---------------------------------------------------------------------------


@st.composite
def parts(draw):
    """A frame's size, and a part that lies in it."""
    frame = draw(sizes)
    x, y = (draw(st.integers(0, side - 1)) for side in frame)
    part = Part(x, y, draw(st.integers(1, frame[0] - x)), draw(st.integers(1, frame[1] - y)))
    return frame, part


@given(placed=parts(), tensor=sizes, resize=resizes, data=st.data())
def test_a_box_seen_in_a_part_lies_where_it_is_in_the_full_frame(placed, tensor, resize, data):
    _, part = placed
    alone = fit(resize, (part.width, part.height), tensor).placement
    corner = st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32))
    boxes = np.array([[*data.draw(corner), *data.draw(corner)]], np.float32)
    wanted = alone.boxes_to_frame(boxes).astype(np.float64) + [part.x, part.y] * 2
    shifted = alone.shifted(part.x, part.y).boxes_to_frame(boxes)
    reach = max(abs(alone.offset_x), abs(alone.offset_y))  # float32: offset and pixel may cancel
    np.testing.assert_allclose(shifted, wanted, atol=0.05 + 3e-7 * reach)
    assert (shifted >= [part.x, part.y] * 2).all()
    assert (shifted <= [part.x + part.width, part.y + part.height] * 2).all()


@given(st.tuples(*[st.integers(-50, 50)] * 2), sizes, sizes)
@example((-4, 0), (4, 4), (9, 9))
@example((0, 9), (4, 4), (9, 9))
def test_a_part_within_a_frame_holds_the_pixels_that_both_have(corner, size, frame):
    roi = Part(*corner, *size)
    part = roi.within(*frame)
    across = set(range(corner[0], corner[0] + size[0])) & set(range(frame[0]))
    down = set(range(corner[1], corner[1] + size[1])) & set(range(frame[1]))
    if part is None:
        assert not across or not down
        return
    assert min(part.width, part.height) > 0
    assert set(range(part.x, part.x + part.width)) == across
    assert set(range(part.y, part.y + part.height)) == down


def test_a_part_is_written_from_the_frames_own_pixels_and_nothing_else():
    frame, part = picture(200, 300), Part(40, 30, 120, 90)
    slots = np.zeros((2, 64, 96, 3), np.uint8)
    batch = Batch(spec(), 2, Preparer(spec()), slots)
    view = part.of(frame)
    assert np.shares_memory(view, frame)
    batch.add(view, (part.x, part.y))
    np.testing.assert_array_equal(slots[0], letterboxed(frame[30:120, 40:160].copy(), 64, 96))
    (place,) = batch.placements
    seen = place.boxes_to_frame(np.array([[-99, -99, 999, 999]], np.float32))
    assert seen[0].tolist() == [40, 30, 160, 120]


def test_a_part_in_a_slot_leaves_the_next_frame_where_it_is():
    batch = Batch(spec(), 1, Preparer(spec()))
    everything = np.array([[-999, -999, 9999, 9999]], np.float32)
    for corner in ((7, 9), (0, 0), (0, 3)):  # frames of one size, as the preparer remembers it
        batch.clear()
        batch.add(picture(), corner)
        x, y = corner
        (place,) = batch.placements
        assert place.boxes_to_frame(everything)[0].tolist() == [x, y, x + 120, y + 90]


def test_writing_a_part_allocates_no_picture():
    slot, preparer, frame = np.zeros((64, 96, 3), np.uint8), Preparer(spec()), picture(400, 600)
    part = Part(100, 50, 300, 200)
    preparer.write(part.of(frame), slot)
    assert least_peak(lambda: preparer.write(part.of(frame), slot)) < 64 * 96
