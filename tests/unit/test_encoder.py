"""The encoder holds nothing up: not its callers, not the camera, whatever a picture takes."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue

import cv2
import numpy as np
import pytest

from framebuf.frames import Frame
from framebuf.results import Classification, Detection, Findings
from framebuf.service import drawing
from framebuf.service.encoder import Encoder, Shot, jpeg_of
from framebuf.units import Moment

SOON_S = 60.0
HOUR_S = 3600.0


def picture(number, height=8, width=8):
    return np.full((height, width, 3), number, np.uint8)


class FakeLease:
    """A lease whose pixels are the camera's again once it ends."""

    def __init__(self, number, pixels=None):
        self.pixels = picture(number) if pixels is None else pixels
        self.frame = Frame(number, Moment(0, 0), self.pixels)
        self.released = threading.Event()

    def release(self):
        self.pixels[:] = 255
        self.released.set()


class Desk:
    """An encoder whose pictures take as long as the test says; it tells which frame each shows."""

    def __init__(self, *, gated=False, every_s=HOUR_S):
        self.begun = SimpleQueue()
        self.came = SimpleQueue()
        self._gate = threading.Semaphore(0) if gated else None
        self.encoder = Encoder(every_s, self._encode)
        self.leases = {}

    def _encode(self, pixels):
        self.begun.put(int(pixels[0, 0, 0]))
        if self._gate is not None:
            assert self._gate.acquire(timeout=60)
        assert (pixels == pixels[0, 0, 0]).all()
        return bytes([pixels[0, 0, 0]])

    def open_gate(self, count=1):
        self._gate.release(count)

    def shot(self, number, **more):
        lease = self.leases[number] = FakeLease(number)
        return Shot(lease, lambda jpeg: self.came.put((number, jpeg)), **more)

    def next_begun(self):
        return self.begun.get(timeout=SOON_S)

    def next(self):
        return self.came.get(timeout=SOON_S)


@pytest.fixture
def desk(request):
    desk = Desk(**getattr(request, "param", {}))
    desk.encoder.start()
    yield desk
    if desk._gate is not None:
        desk.open_gate(1000)
    desk.encoder.stop(60.0)
    assert not desk.encoder._thread.is_alive()
    assert all(lease.released.is_set() for lease in desk.leases.values() if lease)


gated = pytest.mark.parametrize("desk", [{"gated": True}], indirect=True)


def test_pictures_come_in_the_order_in_which_they_were_asked_for(desk):
    for number in range(30):
        assert desk.encoder.submit(desk.shot(number))
    assert [desk.next() for _ in range(30)] == [(n, bytes([n])) for n in range(30)]
    assert all(lease.released.is_set() for lease in desk.leases.values())


@gated
def test_a_full_queue_refuses_at_once_and_leaves_the_frame_to_its_owner(desk):
    desk.encoder.submit(desk.shot(0))
    assert desk.next_begun() == 0
    for number in range(1, 1 + Encoder.QUEUE):
        assert desk.encoder.submit(desk.shot(number))
    refused = desk.shot(200)
    assert not desk.encoder.submit(refused)  # and did not wait: nobody opens the gate
    assert repr(desk.encoder) == "<Encoder 32/32, 0 newest>"
    assert not desk.leases[200].released.is_set()
    refused.lease.release()
    desk.open_gate()
    assert desk.next() == (0, b"\0")
    assert desk.next_begun() == 1
    assert desk.encoder.submit(desk.shot(99)), "there is room again"
    desk.open_gate(Encoder.QUEUE + 1)
    assert [desk.next()[0] for _ in range(Encoder.QUEUE + 1)] == [*range(1, 33), 99]


@gated
def test_a_frame_stays_leased_until_its_picture_is_made_and_no_longer(desk):
    desk.encoder.submit(desk.shot(7))
    assert desk.next_begun() == 7
    assert not desk.leases[7].released.is_set()
    desk.open_gate()
    assert desk.next() == (7, b"\7"), "the pixels were read before the lease ended"
    assert desk.leases[7].released.is_set()


def test_a_picture_whose_time_is_up_is_not_begun(desk):
    desk.encoder.submit(desk.shot(1, until_ns=time.monotonic_ns()))
    desk.encoder.submit(desk.shot(2))
    assert desk.next() == (1, None)
    assert desk.next() == (2, b"\2")
    assert desk.next_begun() == 2
    assert desk.leases[1].released.is_set()


@gated
def test_of_the_newest_only_the_last_is_made_and_it_goes_first(desk):
    desk.encoder.submit(desk.shot(0))
    assert desk.next_begun() == 0
    desk.encoder.submit(desk.shot(1))
    for number in (10, 11, 12):
        desk.encoder.show("gate", desk.shot(number))
    desk.encoder.show("yard", desk.shot(20))
    assert [desk.next(), desk.next()] == [(10, None), (11, None)], "replaced, and told at once"
    desk.open_gate(4)
    assert [desk.next()[0] for _ in range(4)] == [0, 12, 20, 1]


def test_a_camera_has_no_more_than_one_newest_picture_in_so_long(desk):
    desk.encoder.show("gate", desk.shot(1))
    assert desk.next() == (1, b"\1")
    desk.encoder.show("gate", desk.shot(2))
    desk.encoder.submit(desk.shot(3))
    assert desk.next() == (3, b"\3"), "an hour has not passed"
    desk.encoder.show("yard", desk.shot(4))
    assert desk.next() == (4, b"\4"), "each camera has its own time"
    with pytest.raises(Empty):
        desk.came.get_nowait()


@pytest.mark.parametrize("desk", [{"every_s": 0.02}], indirect=True)
def test_the_newest_picture_is_made_once_its_time_comes_though_nothing_else_happens(desk):
    for number in range(1, 6):
        desk.encoder.show("gate", desk.shot(number))
        if number == 1:
            assert desk.next() == (1, b"\1")
    made = []
    while 5 not in made:
        number, jpeg = desk.next()
        made += [number] if jpeg else []


@gated
def test_stopping_gives_up_what_waits_and_tells_who_waits_for_it(desk):
    desk.encoder.submit(desk.shot(0))
    assert desk.next_begun() == 0
    desk.encoder.submit(desk.shot(1))
    desk.encoder.show("gate", desk.shot(2))
    desk.encoder.stop(timeout_s=0.0)
    assert sorted([desk.next(), desk.next()]) == [(1, None), (2, None)]
    last = desk.shot(3)
    assert not desk.encoder.submit(last)
    last.lease.release()
    desk.encoder.show("gate", desk.shot(4))
    assert desk.next() == (4, None)


def test_an_encoder_that_never_started_stops():
    Encoder().stop()


# pictures ------------------------------------------------------------------------------------


def test_a_jpeg_is_the_picture():
    frame = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8),
                             (9, 9), 5)  # fmt: skip
    read = cv2.imdecode(np.frombuffer(jpeg_of(frame), np.uint8), cv2.IMREAD_COLOR)
    assert read.shape == frame.shape
    assert np.abs(read.astype(int) - frame).mean() < 3


@pytest.mark.parametrize("shape", [(1, 70_000, 3), (70_000, 1, 3), (0, 0, 3)])
def test_what_no_jpeg_can_hold_is_no_picture(shape):
    assert jpeg_of(np.zeros(shape, np.uint8)) is None


def test_findings_are_drawn_into_a_copy():
    lease = FakeLease(0, picture(114, 480, 640))
    before = lease.pixels.copy()
    came = SimpleQueue()
    encoder = Encoder(0, lambda pixels: came.put(pixels.copy()) or b"x")
    encoder.start()
    cat = Findings(detections=(Detection("cat", 15, 0.9, (200.0, 150.0, 240.0, 180.0)),))
    lease.release = lambda: None
    encoder.show("gate", Shot(lease, lambda _: None, cat))
    drawn = came.get(timeout=SOON_S)
    encoder.stop()
    assert tuple(drawn[150, 320]) == drawing.colour(15)
    assert (lease.pixels == before).all()


def test_the_best_class_stands_in_the_corner_and_of_the_rest_nothing_is_drawn():
    grey = picture(114, 480, 640)
    best = Findings(classes=(Classification("tripod", 3, 0.9), Classification("cat", 4, 0.1)))
    drawn = drawing.shown(grey, best)
    assert (drawn[2:30, 2:80] == drawing.colour(3)).all(axis=2).any()
    assert (drawn[60:] == 114).all()
    assert (drawing.shown(grey, Findings(detections=())) == grey).all()
