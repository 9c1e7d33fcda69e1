"""Two models in a row: what goes to the second, when the frame is free, and what comes back."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import framebuf
from framebuf import config
from framebuf.errors import ConfigError, ModelError
from framebuf.frames import Frame, Part
from framebuf.models.backlog import Job
from framebuf.models.chain import Chain, crop_of
from framebuf.models.second import Second, check_row, unfit_rows
from framebuf.results import (
    BatchPlace,
    Detection,
    Embedding,
    Failure,
    Findings,
    FrameResult,
    Inference,
    Timings,
)
from framebuf.service.engines import open_networks
from framebuf.service.systemd import Notifier
from framebuf.service.watchdog import Watchdog
from framebuf.units import Moment
from tests.unit.rknn_files import rknn
from tests.unit.test_lane import PADDING, SOON_S, Device
from tests.unit.test_lane import Bench as LaneBench

ASSETS = Path(framebuf.__file__).parent / "demo" / "assets"
DETECTOR = {
    "path": str(ASSETS / "nanodet-416.onnx"),
    "task": "detect",
    "decoder": "nanodet",
    "labels": str(ASSETS / "coco.txt"),
    "batch_sizes": [4],
}
LOOKS = {
    "path": str(ASSETS / "mobilenetv2-224.onnx"),
    "task": "embed",
    "resize": "stretch",
    "batch_sizes": [4],
}


class Lane:
    """Holds jobs until the test has them run."""

    def __init__(self):
        self.jobs = []
        self.lock = threading.Lock()

    def submit(self, model, jobs):
        with self.lock:
            self.jobs += [(model, job) for job in jobs]

    def withdraw(self, model, turn):
        with self.lock:
            taken = [job for name, job in self.jobs if (name, job.turn) == (model, turn)]
            self.jobs = [one for one in self.jobs if one[1] not in taken]
            return taken

    def take(self):
        with self.lock:
            return self.jobs.pop(0)[1]


class Rig:
    """A chain over two lanes, and what it tells of each frame."""

    def __init__(self, only=None, max_crops=20):
        self.first, self.second = Lane(), Lane()
        chosen = None if only is None else frozenset(only)
        self.chain = Chain(self.first, "m", Second(self.second, "n", chosen, max_crops))
        self.prepared = []
        self.answers = []

    def submit(self, seq=0, turn="a", **more):
        frame = Frame(seq, Moment(0, 0), np.zeros((100, 200, 3), np.uint8))
        job = Job(
            frame, turn, 0, lambda: self.prepared.append(seq),
            lambda result: self.answers.append((seq, result)), **more,
        )  # fmt: skip
        self.chain.submit([job])

    def find(self, *labels):
        """The first model answers its oldest frame: such objects, side by side, 10 pixels each."""
        job = self.first.take()
        job.begun()
        job.prepared()
        job.answered(found(*labels))

    def see(self, number, error=None):
        """The second model answers its oldest crop."""
        job = self.second.take()
        job.prepared()
        job.answered(seen(number, error))


def found(*labels):
    detections = tuple(
        Detection(label, 0, 0.9 - at / 100, (10.0 * at, 0.0, 10.0, 20.0))
        for at, label in enumerate(labels)
    )
    place = BatchPlace(1, 0, 1)
    return FrameResult("m", Findings(detections=detections), None, place, Timings(infer=5.0), 1)


def vector(number):
    return Embedding.of(np.array([1.0, number], np.float32))


def seen(number, error=None):
    findings = None if error else Findings(embedding=vector(number))
    return FrameResult("n", findings, error, None, Timings(infer=2.0), run=number)


def test_crops_of_the_wanted_classes_go_on_best_first_and_the_rest_is_counted():
    rig = Rig(only=["person", "dog"], max_crops=2)
    rig.submit(seq=7, priority=3, deadline_ns=99)
    rig.find("person", "cat", "dog", "person", "person")
    crops = [job for model, job in rig.second.jobs if model == "n"]
    assert [(job.part.x, job.part.width, job.part.height) for job in crops] == [
        (0, 10, 20), (20, 10, 20),
    ]  # fmt: skip
    for job in crops:
        assert (job.turn, job.priority, job.deadline_ns) == ("a", 3, 99)
        assert job.downstream
        assert job.frame.seq == 7
    rig.see(1)
    rig.see(2)
    ((_, result),) = rig.answers
    assert [one.embedding for one in result.findings.detections] == [
        vector(1), None, vector(2), None, None,
    ]  # fmt: skip
    assert result.crops_left_out == 2
    assert result.error is None


def test_each_object_gets_its_own_answer_in_whatever_order_they_come():
    rig = Rig()
    rig.submit()
    rig.find(*["person"] * 9)
    numbered = list(enumerate(job for _, job in rig.second.jobs))
    random.Random(3).shuffle(numbered)
    for number, job in numbered:
        assert not rig.answers
        job.prepared()
        job.answered(seen(number))
    ((_, result),) = rig.answers
    assert [one.embedding for one in result.findings.detections] == [vector(n) for n in range(9)]


def test_the_frame_is_given_back_once_when_its_last_crop_is_in_a_tensor():
    rig = Rig()
    rig.submit()
    rig.find("person", "person", "cat")
    jobs = [job for _, job in rig.second.jobs]
    jobs[2].prepared()
    jobs[0].prepared()
    assert not rig.prepared, "one crop is still to be cut from it"
    jobs[1].prepared()
    assert rig.prepared == [0]
    for job in jobs:
        job.answered(seen(1))
    assert rig.prepared == [0]
    assert len(rig.answers) == 1


@pytest.mark.parametrize("labels", [(), ("cat", "cat")])
def test_a_frame_without_anything_for_the_second_is_given_back_and_answered_at_once(labels):
    rig = Rig(only=["person"])
    rig.submit()
    rig.find(*labels)
    assert rig.prepared == [0]
    assert rig.answers == [(0, found(*labels))]
    assert not rig.second.jobs


def test_a_failure_of_the_first_goes_out_as_it_is():
    rig = Rig()
    rig.submit()
    job = rig.first.take()
    job.prepared()
    failed = FrameResult("m", error=Failure("npu_timeout", "the driver says -5"))
    job.answered(failed)
    assert rig.answers == [(0, failed)]
    assert rig.prepared == [0]


def test_a_failure_of_the_second_stands_beside_what_the_first_found():
    rig = Rig()
    rig.submit()
    rig.find("person", "cat", "person")
    rig.see(1)
    rig.see(2, Failure("npu_timeout", "the driver says -5"))
    rig.see(3)
    ((_, result),) = rig.answers
    assert [one.label for one in result.findings.detections] == ["person", "cat", "person"]
    assert [one.embedding for one in result.findings.detections] == [vector(1), None, vector(3)]
    assert result.error == Failure("npu_timeout", "1 of 3 crops for n: the driver says -5")


def test_every_batch_that_answered_a_frame_is_named_once():
    rig = Rig()
    rig.submit()
    rig.find("person", "person", "person")
    for run in (4, 4, 5):
        rig.see(run)
    ((_, result),) = rig.answers
    assert result.run == 1
    assert result.further == (Inference("n", 4, 2.0), Inference("n", 5, 2.0))


def test_frames_that_are_not_begun_are_taken_back_whole():
    rig = Rig()
    rig.submit(0)
    rig.submit(1)
    rig.submit(2, turn="b")
    assert [job.frame.seq for job in rig.chain.withdraw("a")] == [0, 1]
    assert [job.frame.seq for _, job in rig.first.jobs] == [2]
    assert not rig.answers
    assert "1 frames under way" in repr(rig.chain)


def test_crops_are_taken_back_too_and_their_frame_is_answered_with_what_there_is():
    rig = Rig()
    rig.submit(0)
    rig.submit(1)
    rig.find("person", "cat")
    rig.find("person")
    begun = rig.second.take()  # the first crop of frame 0 is being prepared
    rig.chain.withdraw("a")
    assert not rig.second.jobs
    assert [seq for seq, _ in rig.answers] == [1], "nothing of this one was begun"
    assert rig.prepared == [1]
    begun.prepared()
    begun.answered(seen(1))
    seq, result = rig.answers[1]
    assert (seq, rig.prepared) == (0, [1, 0])
    assert [one.embedding for one in result.findings.detections] == [vector(1), None]
    assert result.error.code == "withdrawn"
    assert "0 frames under way" in repr(rig.chain)


def test_a_frame_that_the_first_model_is_at_makes_no_crops_once_it_is_taken_back():
    rig = Rig()
    rig.submit()
    job = rig.first.take()
    rig.chain.withdraw("a")
    job.prepared()
    job.answered(found("person"))
    assert not rig.second.jobs
    ((_, result),) = rig.answers
    assert result.findings.detections
    assert result.error.code == "withdrawn"
    assert rig.prepared == [0]
    rig.submit(1)  # the request goes on with some of its frames
    rig.find("person")
    rig.see(1)
    assert rig.answers[1][1].error is None


def test_with_one_model_jobs_go_through_as_they_are():
    lane = Lane()
    chain = Chain(lane, "m")
    job = Job(Frame(0, Moment(0, 0), np.zeros((1, 1, 3), np.uint8)), "a", 0, int, print)
    chain.submit([job])
    assert lane.jobs == [("m", job)]
    assert chain.withdraw("a") == [job]


def test_a_turn_is_taken_back_while_answers_come_and_every_begun_frame_is_answered_once():
    """Two threads play the contexts, this one withdraws and submits: nothing is lost or doubled."""
    rig = Rig()
    begun, over = Counter(), threading.Event()

    def play(lane, answer):
        while not over.is_set() or lane.jobs:
            try:
                job = lane.take()
            except IndexError:
                continue
            if lane is rig.first:
                begun[job.frame.seq] += 1
            job.prepared()
            job.answered(answer)

    threads = [
        threading.Thread(target=play, args=(rig.first, found("person", "person"))),
        threading.Thread(target=play, args=(rig.second, seen(1))),
    ]
    for thread in threads:
        thread.start()
    taken_back = 0
    for seq in range(300):
        rig.submit(seq, turn=f"t{seq % 3}")
        if seq % 5 == 0:
            taken_back += len(rig.chain.withdraw(f"t{seq % 3}"))
    over.set()
    for thread in threads:
        thread.join()
    # a crop may be submitted after the second's player has looked for the last time
    while rig.second.jobs:
        rig.see(1)
    assert Counter(seq for seq, _ in rig.answers) == begun
    assert len(rig.answers) == 300 - taken_back
    assert Counter(rig.prepared) == begun
    assert "0 frames under way" in repr(rig.chain)


@pytest.fixture
def bench():
    bench = LaneBench()
    yield bench
    bench.finish()


def halves():
    """Two people, side by side, in a frame of 4×4."""
    people = [Detection("person", 0, 0.9, (x, 0.0, 2.0, 4.0)) for x in (0.0, 2.0)]
    return FrameResult("m", Findings(detections=tuple(people)))


def test_crops_of_several_requests_and_cameras_share_a_tensor(bench):
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 4, model="n"), started=False)
    for number, turn in ((1, "gate/a"), (2, "yard/b"), (3, "yard/c")):
        first = Lane()
        Chain(first, "m", Second(lane, "n", None, 20)).submit([bench.job(number, turn)])
        first.take().answered(halves())
    lane.start()
    assert device.next_run() == [1, 2, 3, 1]
    device.open_gate(2)
    assert device.next_run() == [2, 3, PADDING, PADDING]
    assert {bench.answers.get(timeout=SOON_S)[0] for _ in range(3)} == {1, 2, 3}


def test_a_frame_stays_as_it_is_until_its_last_crop_is_cut_though_others_run_already(bench):
    """What is given back is overwritten at once, by `Bench.job`."""
    device = Device(gated=True)
    lane = bench.lane(bench.context(device, 1, model="n"))
    first = Lane()
    Chain(first, "m", Second(lane, "n", None, 20)).submit([bench.job(5)])
    job = first.take()
    job.prepared()
    job.answered(halves())
    assert device.next_run() == [5]
    device.open_gate(2)
    assert device.next_run() == [5]
    number, result = bench.answers.get(timeout=SOON_S)
    assert (number, result.error, bench.prepared.get_nowait()) == (5, None, 5)
    assert bench.prepared.empty()


@given(
    st.integers(1, 4000), st.integers(1, 3000),
    st.tuples(*[st.floats(0, 1)] * 2), st.tuples(*[st.floats(0, 1)] * 2),
)  # fmt: skip
def test_a_crop_is_the_pixels_that_its_box_touches(width, height, start, size):
    x, y = (
        round(part * (side - 0.1), 1) for part, side in zip(start, (width, height), strict=True)
    )
    w = max(0.1, round(size[0] * (width - x), 1))
    h = max(0.1, round(size[1] * (height - y), 1))
    part = crop_of((x, y, w, h), width, height)
    assert part == part.within(width, height)
    for first, last, low, high in (
        (part.x, part.x + part.width, x, x + w),
        (part.y, part.y + part.height, y, y + h),
    ):
        assert first <= low < first + 1
        assert last - 1 < high - 0.001 < last


def test_a_box_that_ends_on_a_pixel_takes_no_further_one():
    assert crop_of((0.1, 0.7, 0.9, 0.3), 9, 9) == Part(0, 0, 1, 1)
    assert crop_of((8.9, 8.9, 0.1, 0.1), 9, 9) == Part(8, 8, 1, 1)


# with the shipped models --------------------------------------------------------------------

SIZES = {"astronaut": 512, "cameraman": 512}
PLACES = (
    (("astronaut", 40, 60), ("cameraman", 690, 180)),
    (("cameraman", 100, 0),),
    (("cameraman", 20, 200), ("astronaut", 640, 30)),
    (),
)
"""Which picture lies where in each scene: left, top."""


def scenes():
    """Pictures of 1280×720, with people at known places."""
    shapes = np.random.default_rng(5)
    for people in PLACES:
        scene = np.full((720, 1280, 3), shapes.integers(60, 200, 3), np.uint8)
        for name, left, top in people:
            photo = cv2.imread(str(ASSETS / "photos" / f"{name}.jpg"))[: 720 - top]
            scene[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
        yield scene


def alone(tmp_path, pictures, boxes):
    """The embeddings of crops, run one by one by a script that knows nothing of framebuf."""
    files = []
    for at, picture in enumerate(pictures):
        files.append(str(tmp_path / f"{at}.png"))
        cv2.imwrite(files[-1], picture)
    crops = [{"picture": files[at], "box": box} for at, box in boxes]
    said = subprocess.run(
        [sys.executable, "-I", Path(__file__).parent / "crop_alone.py"],
        input=json.dumps({"model": LOOKS["path"], "crops": crops}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return np.array(json.loads(said.stdout))


def test_every_person_has_the_embedding_of_its_crop_run_alone_though_frames_share_batches(tmp_path):
    pictures = list(scenes())
    with framebuf.open_model(**DETECTOR, then=LOOKS | {"only": ["person"]}) as model:
        results = list(model.map(pictures))
    assert all(result.error is None for result in results)
    found_in = [result.findings.detections for result in results]
    people = [[one for one in ones if one.label == "person"] for ones in found_in]
    for place, ones in zip(PLACES, people, strict=True):
        for name, left, top in place:
            middle = (left + SIZES[name] / 2, min(720, top + SIZES[name]) - 100)
            assert any(holds(one.box, middle) for one in ones), f"{name} at {left}, {top}"
    boxes = [(at, one.box) for at, ones in enumerate(people) for one in ones]
    ours = np.array([one.embedding.vector() for ones in people for one in ones])
    cosine = (ours * alone(tmp_path, pictures, boxes)).sum(axis=1)
    assert cosine.min() >= 0.999
    others = [one for ones in found_in for one in ones if one.label != "person"]
    assert all(one.embedding is None for one in others)
    runs = Counter(one.run for result in results for one in result.further)
    assert max(runs.values()) > 1, "no batch held crops of two frames"


def test_the_second_model_may_run_elsewhere_and_what_is_simulated_says_so(monkeypatch):
    monkeypatch.setenv("FRAMEBUF_SIM", "scale=0")
    there = {"platform": "sim:rk3588", "batch_sizes": [1]}
    with framebuf.open_model(**DETECTOR | {"batch_sizes": [1]}, then=LOOKS | there) as model:
        (result,) = model.map([next(scenes())])
        assert len(repr(model).split("<Lane")) == 3, "two lanes"
    assert result.error is None
    assert result.simulated
    assert all(one.embedding.dim == 1280 for one in result.findings.detections)


def holds(box, point):
    x, y, width, height = box
    return x <= point[0] <= x + width and y <= point[1] <= y + height


def test_a_second_model_that_wants_what_the_first_does_not_know_is_refused():
    with pytest.raises(ModelError, match=r"only names persan, which .* did you mean person\?"):
        framebuf.open_model(**DETECTOR, then=LOOKS | {"only": ["persan"]})
    bare = {key: value for key, value in DETECTOR.items() if key != "labels"}
    with pytest.raises(ModelError, match="has no labels: give it a label file"):
        framebuf.open_model(**bare, then=LOOKS | {"only": ["person"]})


def test_a_file_whose_second_model_wants_what_the_first_does_not_know_is_refused_with_its_line():
    text = f"""
[[camera]]
name = "gate"
source = "x"
models = ["person", "looks"]
[[model]]
name = "person"
path = "{DETECTOR["path"]}"
task = "detect"
decoder = "nanodet"
labels = "{DETECTOR["labels"]}"
[[model]]
name = "looks"
path = "{LOOKS["path"]}"
task = "embed"
only = ["person", "robot"]
"""
    loaded = config.parse(text, "f.toml", Path("/"))
    assert [at for at, _ in unfit_rows(loaded.config)] == [0]
    with pytest.raises(ConfigError) as error:
        open_networks(loaded, Watchdog(Notifier(None), own=False))
    assert error.value.where == "f.toml:5: camera[0].models"
    assert "only names robot, which model person does not know" in error.value.what
    assert not list(unfit_rows(config.parse(text.replace(', "robot"', ""), "f", Path("/")).config))


def test_of_files_that_say_task_and_labels_themselves_those_count(tmp_path):
    first, second = tmp_path / "first.rknn", tmp_path / "second.rknn"
    rknn(first, fields={11: "labels=person,car;task=detect;decoder=yolov8"})
    rknn(second, fields={11: "task=embed"})

    def row(*, only=("person",)):
        return config.models_of(
            {"name": "a", "path": str(first)},
            {"name": "b", "path": str(second), "only": list(only)},
        )

    check_row(row())
    with pytest.raises(ModelError, match="only names dog, which model a does not know; it knows"):
        check_row(row(only=["dog"]))
    rknn(second, fields={11: "task=raw"})
    with pytest.raises(ModelError, match="got a to detect, b to raw"):
        check_row(row())


def test_only_a_detector_goes_first_and_only_a_classifier_or_embedder_second():
    with pytest.raises(ConfigError, match="model finds no objects for then: its task is embed"):
        framebuf.open_model(**LOOKS, then=LOOKS)
    with pytest.raises(ConfigError, match="then stands second, and its task is detect"):
        framebuf.open_model(**DETECTOR, then=DETECTOR)
    with pytest.raises(ModelError, match="only is for a second model; give it in then"):
        framebuf.open_model(**DETECTOR, only=["person"])


def test_a_pool_that_is_closed_meanwhile_answers_every_frame():
    model = framebuf.open_model(**DETECTOR, then=LOOKS)
    results = model.map([next(scenes())] * 12)
    first = next(results)
    model.close()
    rest = list(results)
    assert first.error is None
    assert len(rest) == 11
    assert {result.error.code for result in rest if result.error} <= {"closed", "withdrawn"}
    assert math.isfinite(rest[0].ms.wait)
