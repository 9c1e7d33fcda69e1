"""What goes out of the requests' thread when triggers ask for pictures, and the part of a frame.

The encoder is the real one, but for how long a picture takes; broker and lane are stand-ins.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pytest

from framebuf import config
from framebuf.config import Camera, Node
from framebuf.contract import Topics
from framebuf.frames import Part
from framebuf.models.chain import Chain
from framebuf.results import BatchPlace, Classification, Detection, Failure, Findings, FrameResult
from framebuf.service import images, survey
from framebuf.service.bell import Bell
from framebuf.service.encoder import Encoder
from framebuf.service.feed import Feed
from framebuf.service.health import Counters
from framebuf.service.journal import Journal
from framebuf.service.last_image import LastImages
from framebuf.service.marks import Marks
from framebuf.service.message import Message
from framebuf.service.report import Desk
from framebuf.service.requests import Requests
from framebuf.units import Moment, Size
from tests.unit.rings import MS, PERIOD, Hand, colour, ring_folder

SOON_S = 60.0
HOUR_NS = 3600 * 10**9
C = "framebuf/n/gate"


class FakeBroker:
    max_packet = None

    def __init__(self):
        self.connected = threading.Event()
        self.connected.set()
        self.said = SimpleQueue()
        self.acknowledged = SimpleQueue()

    def publish(self, message):
        self.said.put(message)

    answer_stranger = publish

    def acknowledge(self, message):
        self.acknowledged.put(message)


class FakeLane:
    """Keeps the jobs; the test says when each is prepared and answered, and how."""

    def __init__(self):
        self.jobs = SimpleQueue()

    def submit(self, _model, jobs):
        for job in jobs:
            self.jobs.put(job)

    def withdraw(self, _model, _turn):
        return []


class Bench:
    """One camera with eight frames, and all that is said about it, in order."""

    def __init__(self, directory, *, roi=None, last_image=False, gated=True):
        self.hand = Hand(directory, memory=Size(2**20))
        self.broker, self.lane, self.counters = FakeBroker(), FakeLane(), Counters()
        self.begun = SimpleQueue()
        self._gate = threading.Semaphore(0 if gated else 10_000)
        self.encoder = Encoder(0.0, self._encode)
        camera = Camera(name="gate", source="x", models=("m",), roi=roi)
        self.feed = Feed(camera, self.hand.buffer, Chain(self.lane, "m"))
        topics = Topics("framebuf", "n")
        self.bell = Bell()
        self.last = None
        if last_image:
            self.last = LastImages(topics, self.encoder, self.counters, self.bell.ring)
        self.journal, _ = Journal.open(directory.path, "b", HOUR_NS)
        self.requests = Requests(
            Node(name="n"), (), topics, [self.feed], self.broker, self.counters, "b", self.encoder,
            self.last, journal=self.journal, marks=Marks.open(directory, "b"),
        )  # fmt: skip
        newest = time.monotonic_ns() - MS
        self.hand.frames(*(newest - back * PERIOD for back in range(7, -1, -1)))
        self.encoder.start()
        self.requests.start()

    def _encode(self, pixels):
        seen = int(pixels[0, 0, 0])
        self.begun.put(seen)
        assert self._gate.acquire(timeout=60)
        return b"jpeg %d" % seen

    def open_gate(self, count=1):
        self._gate.release(count)

    def trigger(self, images="all", before=3, **more):
        document = {"id": "r", "mode": "window", "before": before, "images": images, **more}
        now = Moment(time.monotonic_ns(), time.time_ns())
        payload = json.dumps(document).encode()
        self.requests.receive(Message(f"{C}/trigger", payload, now, False, False, 1, 1))
        assert self.next()[0] == "ack"

    def job(self):
        return self.lane.jobs.get(timeout=SOON_S)

    def answer(self, *answers):
        """Answer the next jobs as they come; each is prepared first, as on a context."""
        for result in answers:
            job = self.job()
            job.prepared()
            job.answered(result)

    def next(self):
        """The next message: its topic below the camera's, and what it says."""
        message = self.broker.said.get(timeout=SOON_S)
        leaf = message.topic.removeprefix(f"{C}/")
        if leaf.startswith("image/"):
            assert (message.qos, message.retain) == (0, False)
            return leaf, message.payload
        if leaf == "result" and message.acknowledged is not None:
            message.acknowledged()
        return leaf, json.loads(message.payload)

    def results(self, count):
        """The next messages, which are results: index and image."""
        said = [self.next() for _ in range(count)]
        assert {leaf for leaf, _ in said} == {"result"}
        return [(result["index"], result.get("image")) for _, result in said]

    def done(self):
        leaf, done = self.next()
        assert leaf == "done"
        return done

    def strong(self):
        """Frames that the camera may not take: it takes all others."""
        ring = self.hand.buffer._store.rings._rings[-1]
        return sorted(use.seq for use in ring._use._uses if use.strong)

    def counts(self):
        return {name: n for name, n in self.counters.snapshot().items() if "image" in name}


@pytest.fixture
def bench(request, monkeypatch):
    let_wait(monkeypatch, HOUR_NS)  # whatever else this machine does
    with ring_folder() as directory:
        bench = Bench(directory, **getattr(request, "param", {}))
        yield bench
        bench.open_gate(10_000)
        bench.requests.stop(0.0)
        bench.encoder.stop(60.0)
        while not bench.broker.said.empty():
            bench.next()
        bench.requests.settle()
        bench.journal.close()
        assert bench.strong() == []
        assert "waited for, 0 bytes" in repr(bench.requests._images)


def free(**more):
    return pytest.mark.parametrize("bench", [{"gated": False, **more}], indirect=True)


def let_wait(monkeypatch, wait_ns):
    monkeypatch.setattr(images, "WAIT_NS", wait_ns)
    monkeypatch.setattr(images, "BEGIN_NS", wait_ns // 2)


def found(*labels):
    boxes = tuple(Detection(label, 0, 0.5, (0.0, 0.0, 1.0, 1.0)) for label in labels)
    return FrameResult("m", Findings(detections=boxes), None, BatchPlace(1, 0, 1))


FAILED = FrameResult("m", error=Failure("inference_failed", "…"))


@free()
def test_each_picture_goes_out_before_its_result_and_shows_its_frame(bench):
    bench.trigger(before=5)
    bench.answer(*[found()] * 5)
    for index in range(5):
        leaf, jpeg = bench.next()
        assert leaf == f"image/r/{index}"
        leaf, result = bench.next()
        assert (leaf, result["index"], result["image"]) == ("result", index, "sent")
        assert jpeg == b"jpeg %d" % colour(result["frame"]["seq"])
    assert bench.done()["published"] == 5
    assert bench.counts() == {"images_sent": 5}


@free()
def test_results_stay_in_capture_order_whatever_order_pictures_and_answers_come_in(bench):
    bench.trigger("detections", before=4)
    jobs = [bench.job() for _ in range(4)]
    for job in jobs:
        job.prepared()
    for at, answer in ((3, found("cat")), (1, found()), (0, found("cat")), (2, FAILED)):
        jobs[at].answered(answer)
    said = [bench.next() for _ in range(6)]
    assert [leaf for leaf, _ in said] == [
        "image/r/0", "result", "result", "result", "image/r/3", "result",
    ]  # fmt: skip
    results = [document for leaf, document in said if leaf == "result"]
    assert [r["index"] for r in results] == [0, 1, 2, 3]
    assert [r.get("image") for r in results] == ["sent", None, None, "sent"]


@free()
@pytest.mark.parametrize(
    "answer", [found(), FAILED, FrameResult("m", Findings(classes=(Classification("x", 0, 1.0),)))]
)
def test_detections_asks_for_nothing_where_nothing_was_detected(bench, answer):
    bench.trigger("detections", before=1)
    bench.answer(answer)
    assert bench.results(1) == [(0, None)]
    bench.done()
    assert bench.counts() == {}


@free()
def test_without_images_a_frame_is_the_cameras_again_once_it_is_in_a_tensor(bench):
    bench.trigger("none", before=1)
    job = bench.job()
    assert bench.strong() == [7]
    job.prepared()
    assert bench.strong() == []
    job.answered(found("cat"))
    assert bench.results(1) == [(0, None)]


def test_a_frame_stays_leased_until_its_picture_is_made(bench):
    bench.trigger(before=1)
    job = bench.job()
    job.prepared()
    assert bench.strong() == [7], "it is in a tensor, but not in a picture"
    job.answered(found())
    assert bench.begun.get(timeout=SOON_S) == colour(7)
    assert bench.strong() == [7]
    bench.open_gate()
    assert bench.next() == ("image/r/0", b"jpeg %d" % colour(7))
    assert bench.strong() == []
    assert bench.results(1) == [(0, "sent")]


def test_a_result_waits_for_its_picture_only_so_long_and_says_that_it_was_dropped(
    bench, monkeypatch
):
    let_wait(monkeypatch, 1000 * MS)
    bench.trigger(before=2)
    started = time.monotonic_ns()
    bench.answer(found(), found())
    assert bench.begun.get(timeout=SOON_S) == colour(6)  # and nobody opens the gate
    assert bench.results(2) == [(0, "dropped"), (1, "dropped")]
    assert time.monotonic_ns() - started >= 1000 * MS
    assert bench.done()["event_type"] == "complete"
    bench.open_gate(2)  # what comes now is too late
    let_wait(monkeypatch, HOUR_NS)
    bench.trigger(id="next", before=1)
    bench.answer(found())
    assert bench.next() == ("image/next/0", b"jpeg %d" % colour(7))
    assert bench.results(1) == [(0, "sent")]
    assert bench.counts() == {"images_dropped": 2, "images_sent": 1}


def test_what_finds_the_encoders_queue_full_is_dropped_at_once(bench, monkeypatch):
    monkeypatch.setattr(Encoder, "QUEUE", 1)
    bench.trigger(before=1)
    bench.answer(found())
    bench.begun.get(timeout=SOON_S)
    for id in ("queued", "refused"):
        bench.trigger(id=id, before=1)
        bench.answer(found())
    assert bench.results(1) == [(0, "dropped")]
    assert bench.done()["id"] == "refused"
    bench.open_gate(2)
    leaves = [bench.next()[0] for _ in range(6)]
    assert leaves == ["image/r/0", "result", "done", *["image/queued/0"], "result", "done"]
    assert bench.counts() == {"images_dropped": 1, "images_sent": 2}


def test_a_deadline_sends_what_is_answered_without_the_picture_it_waits_for(bench):
    bench.trigger(before=2, deadline="2s")
    bench.answer(found("cat"))
    assert bench.results(1) == [(0, "dropped")]
    done = bench.done()
    assert (done["published"], done["missing"], done["summary"]) == (1, {"deadline": 1}, {"cat": 1})


@free()
def test_without_a_broker_pictures_are_dropped_and_results_kept(bench):
    bench.trigger(before=2)
    bench.broker.connected.clear()
    bench.answer(found(), found())
    assert bench.results(2) == [(0, "dropped"), (1, "dropped")]
    assert bench.begun.empty(), "nor are they made"


def test_a_picture_that_is_made_after_the_broker_went_is_dropped(bench):
    bench.trigger(before=1)
    bench.answer(found())
    bench.begun.get(timeout=SOON_S)
    bench.broker.connected.clear()
    bench.open_gate()
    assert bench.results(1) == [(0, "dropped")]


@free()
def test_pictures_that_the_network_does_not_take_hold_no_result_up(bench, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    bench.trigger(before=2)
    bench.answer(found(), found())
    said = [bench.broker.said.get(timeout=SOON_S) for _ in range(4)]
    leaves = [message.topic.removeprefix(f"{C}/") for message in said]
    assert leaves == ["image/r/0", "result", "result", "done"]
    acknowledged = [m.acknowledged for m in said if m.acknowledged]
    assert json.loads(said[2].payload)["image"] == "dropped"
    for call in acknowledged:
        call()
    bench.trigger(id="next", before=1)  # the broker has taken what was on its way
    bench.answer(found())
    assert bench.next()[0] == "image/next/0"


@free()
def test_a_frame_that_cannot_be_decoded_has_no_picture_and_says_so(bench):
    buffer, now = bench.hand.buffer, Moment(time.monotonic_ns(), time.time_ns())
    buffer.commit(buffer.begin(now, 2, 2), "half a picture")
    bench.trigger(before=2)
    bench.answer(found())
    assert bench.next()[0] == "image/r/0"
    assert bench.results(1) == [(0, "sent")]
    leaf, result = bench.next()
    assert (leaf, result["image"], result["error"]["code"]) == ("result", "dropped", "undecodable")


# the part of the frame ------------------------------------------------------------------------


@free(roi=(1, 0, 4, 4))
def test_a_roi_that_leaves_the_frame_is_cut_and_the_log_says_so_once(bench, caplog):
    with caplog.at_level(logging.WARNING):
        bench.trigger("none", before=2)
        jobs = [bench.job(), bench.job()]
        assert [job.part for job in jobs] == [Part(1, 0, 1, 2)] * 2
        for job in jobs:
            job.answered(found())
        assert bench.results(2) == [(0, None), (1, None)]
    assert [r.getMessage() for r in caplog.records] == [
        "camera gate: roi 4×4 at 1,0 is cut to 1×2 at 1,0 by a frame of 2×2"
    ]


@free(roi=(2, 0, 4, 4))
def test_a_frame_that_the_roi_misses_is_a_result_with_an_error_and_its_picture(bench, caplog):
    with caplog.at_level(logging.WARNING):
        bench.trigger(before=2)
        for index in range(2):
            assert bench.next()[0] == f"image/r/{index}"
            _, result = bench.next()
            assert result["error"] == {
                "code": "roi_outside", "message": "roi 4×4 at 2,0 is outside a frame of 2×2",
            }  # fmt: skip
            assert (result["frame"]["width"], result["frame"]["height"]) == (2, 2)
    assert bench.done()["event_type"] == "failed"
    assert [r.name for r in caplog.records].count("framebuf.service.feed") == 1


@pytest.mark.parametrize(
    ("roi", "outcome"),
    [
        ((0, 0, 640, 480), None),
        ((600, 0, 41, 9), "41×9 at 600,0 leaves a frame of 640×480: it is cut to 40×9 at 600,0"),
        ((0, 480, 9, 9), "9×9 at 0,480 leaves a frame of 640×480: no frame can be answered"),
    ],
)
def test_check_tells_what_becomes_of_a_roi_that_leaves_the_frame(roi, outcome):
    text = (
        f'[[camera]]\nname = "c"\nsource = "x"\nmodels = ["m"]\nroi = {list(roi)}\n'
        '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "raw"\n'
    )
    loaded = config.parse(text, "f.toml", Path("/"))
    desk = Desk(loaded)
    survey.check_roi(desk, "camera[0].roi", loaded.config.camera[0], 640, 480)
    assert [(p.where, p.what) for p in desk.report.problems] == (
        [("f.toml:5: camera[0].roi", outcome)] if outcome else []
    )


# the newest picture ---------------------------------------------------------------------------


def wait_pictures(bench):
    """The next pictures that are to go out; a bell tells that they are there."""
    assert bench.bell.wait(SOON_S)
    return bench.last.changes()


@free(last_image=True)
def test_the_newest_answered_frame_is_kept_and_an_older_one_does_not_come_back(bench):
    bench.trigger("none", before=1)
    bench.answer(found("cat"))
    (message,) = wait_pictures(bench)
    assert (message.topic, message.qos, message.retain) == (f"{C}/last_image", 0, True)
    assert bench.last.changes() == [], "told once"
    assert [m.payload for m in bench.last.greeting()] == [message.payload]
    assert bench.results(1) == [(0, None)]
    bench.done()
    bench.begun.get(timeout=SOON_S)
    bench.trigger("none", id="older", before=8)
    bench.answer(*[found()] * 7)
    bench.results(7)
    bench.encoder.stop()
    assert bench.begun.empty()
    assert bench.counts() == {"last_images": 1}, "nor did they wait"


@free(last_image=True)
def test_what_failed_is_not_shown(bench):
    bench.trigger("none", before=1)
    bench.answer(FAILED)
    bench.results(1)
    assert bench.begun.empty()
    assert bench.last.greeting() == []


@pytest.mark.parametrize("bench", [{"last_image": True}], indirect=True)
def test_a_newer_frame_takes_the_place_of_one_that_was_not_drawn_yet(bench):
    bench.trigger("none", before=4)
    bench.answer(found())
    bench.begun.get(timeout=SOON_S)  # the first is being made
    bench.answer(found(), found(), found())
    bench.results(4)
    bench.done()
    bench.open_gate(2)
    bench.begun.get(timeout=SOON_S)
    assert bench.begun.empty()
    assert bench.counters.snapshot()["last_images_skipped"] == 2


def test_a_picture_that_is_larger_than_the_broker_takes_is_dropped_and_said_to_be(bench):
    bench.broker.max_packet = 1024
    bench.open_gate(3)
    bench.trigger()
    bench.answer(found(), found(), found())
    assert bench.results(3) == [(0, "dropped"), (1, "dropped"), (2, "dropped")]
    assert bench.counters.snapshot()["images_dropped"] == 3
