"""V4L2 devices, over a class with the manners of cv2.VideoCapture. Not a real device yet."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from framebuf.capture import open_source, v4l2
from framebuf.capture.v4l2 import Device
from framebuf.errors import SourceError
from framebuf.units import Moment

MJPG = cv2.VideoWriter.fourcc(*"MJPG")


class FakeCapture:
    """A USB camera: raw pictures only as fast as its cable, JPEGs faster; sizes as it has them.

    As OpenCV's: `set` takes what it likes, `grab` only says no, `retrieve` writes into what it is
    given if that has the right size, and else silently makes a new array.
    """

    SIZES = ((640, 480), (1280, 720))
    RAW_RATES = (30.0, 10.0)

    def __init__(self, path, api):
        assert api == cv2.CAP_V4L2
        self.path = path
        self.size, self.fourcc, self.wish = (640, 480), 0, 30.0
        self.asked = [640, 480]
        self.gives = None
        self.opened, self.plugged, self.damaged = True, True, False
        self.released = False
        self.grabbed = 0

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self.opened

    def set(self, prop, value):
        if prop == cv2.CAP_PROP_FOURCC:
            self.fourcc = int(value)
        elif prop == cv2.CAP_PROP_FPS:
            self.wish = value
        else:
            self.asked[prop == cv2.CAP_PROP_FRAME_HEIGHT] = int(value)
            if prop == cv2.CAP_PROP_FRAME_HEIGHT:  # OpenCV applies both at the second one
                self.size = min(self.SIZES, key=lambda size: abs(size[0] - self.asked[0]))
        return True

    def get(self, prop):
        fastest = 30.0 if self.fourcc == MJPG else self.RAW_RATES[self.SIZES.index(self.size)]
        return {
            cv2.CAP_PROP_FRAME_WIDTH: float(self.size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self.size[1]),
            cv2.CAP_PROP_FPS: min(self.wish, fastest),
        }[prop]

    def grab(self):
        assert not self.released
        self.grabbed += self.plugged
        return self.plugged

    def retrieve(self, image):
        width, height = self.gives or self.size
        if self.damaged:
            return False, None
        if image.shape != (height, width, 3):
            return True, np.zeros((height, width, 3), np.uint8)
        image[:] = self.grabbed
        return True, image

    def release(self):
        self.released = True


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def node(tmp_path):
    """What stands in for the device's node; a link, as those below /dev/v4l/by-id are."""
    (tmp_path / "video0").touch()
    link = tmp_path / "usb-ACME_Cam-index0"
    link.symlink_to("video0")
    return str(link)


@pytest.fixture
def opened(node, stop):
    def opener(capture=None, **wanted):
        made = []

        def video_capture(path, api):
            made.append(capture or FakeCapture(path, api))
            return made[0]

        device = Device.open(node, stop, opener=video_capture, **wanted)
        return device, made[0]

    return opener


def slot_of(grab):
    """A slot as a ring gives it: a view into larger memory; and what is around it."""
    memory = np.full((grab.height * grab.width * 3) * 3, 7, np.uint8)
    size = grab.height * grab.width * 3
    return memory, np.ndarray((grab.height, grab.width, 3), np.uint8, memory.data, offset=size)


def test_frames_are_written_into_their_slot_and_nowhere_else(opened):
    device, _ = opened()
    for number in (1, 2):
        grab = device.grab()
        assert (grab.width, grab.height) == (640, 480)
        memory, slot = slot_of(grab)
        assert grab.write(slot) is None
        assert (slot == number).all()
        assert (memory[: slot.size] == 7).all()
        assert (memory[-slot.size :] == 7).all()


def test_opencv_itself_writes_into_a_slot_and_makes_a_new_array_for_another_size(tmp_path):
    """What the fake takes over from it."""
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"))
    assert capture.grab()
    slot, other = np.zeros((48, 64, 3), np.uint8), np.zeros((24, 64, 3), np.uint8)
    assert capture.retrieve(slot)[1] is slot
    assert slot.mean() == pytest.approx(90, abs=3)
    assert capture.retrieve(other)[1] is not other
    capture.release()


def test_size_and_rate_are_asked_for_and_what_is_granted_is_told(opened, caplog):
    device, capture = opened(size=(640, 480), fps=15.0)
    assert device.rate == 15.0
    assert capture.fourcc == 0, "raw pictures do"
    assert not caplog.records
    device, capture = opened(size=(800, 600), fps=60.0)
    assert (device.rate, capture.size) == (30.0, (640, 480))
    assert [record.message.partition(" grants ")[2] for record in caplog.records] == [
        "640×480 and 30 frames a second, asked for 800×600, 60 frames a second"
    ]


def test_jpegs_are_asked_for_where_raw_pictures_are_too_slow(opened, caplog):
    device, capture = opened(size=(1280, 720), fps=30.0)
    assert capture.fourcc == MJPG
    assert (device.rate, capture.size) == (30.0, (1280, 720))
    assert not caplog.records


def test_without_wishes_nothing_is_changed(opened):
    device, capture = opened()
    assert (capture.asked, capture.wish, capture.fourcc) == ([640, 480], 30.0, 0)
    assert device.rate == 30.0
    assert device.clock is None


@pytest.mark.parametrize("told", [0.0, -1.0, 1e9])
def test_a_rate_that_makes_no_sense_is_no_rate(opened, node, told):
    capture = FakeCapture(node, cv2.CAP_V4L2)
    capture.get = lambda prop: told if prop == cv2.CAP_PROP_FPS else 480.0
    assert opened(capture)[0].rate is None


def test_a_rate_that_the_driver_does_not_tell_is_measured(opened, monkeypatch):
    device, _ = opened()
    device.rate = None
    moments = iter(range(0, 10**10, 10**8))
    monkeypatch.setattr(v4l2, "now", lambda: Moment(next(moments), 0))
    assert device.measure() == 10.0
    device.rate = 30.0
    assert device.measure() == 30.0


def test_a_damaged_picture_is_told_and_the_next_one_comes(opened):
    device, capture = opened()
    capture.damaged = True
    grab = device.grab()
    assert grab.write(slot_of(grab)[1]) == "cannot be decoded"
    capture.damaged = False
    grab = device.grab()
    assert grab.write(slot_of(grab)[1]) is None


def test_another_size_than_was_said_opens_it_again_and_shows_nobody_an_empty_slot(opened):
    device, capture = opened()
    capture.gives = (320, 240)
    grab = device.grab()
    with pytest.raises(SourceError, match="gives 320×240 where it said 640×480"):
        grab.write(slot_of(grab)[1])


def test_unplugged_it_fails_and_by_its_stable_path_it_is_found_again(opened, node):
    device, capture = opened()
    device.grab()
    capture.plugged = False
    with pytest.raises(SourceError, match="gives no frames"):
        device.grab()
    Path(node).unlink()
    with pytest.raises(SourceError, match="no such device; is it plugged in"):
        device.grab()
    device.close()
    assert capture.released
    with pytest.raises(SourceError, match="no such device; is it plugged in"):
        opened()
    Path(node).symlink_to("video0")  # it may be video1 by now: the link knows
    assert opened()[0].grab().width == 640


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "add the user to the group video"),
        (errno.EPERM, "DeviceAllow"),
        (errno.EBUSY, "another program has it"),
        (errno.ENODEV, "the device is gone"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_may_not_be_opened_is_told_with_a_remedy(opened, node, monkeypatch, number, words):
    def refuse(path, flags):
        raise OSError(number, "Input/output error", path)

    monkeypatch.setattr(v4l2.os, "open", refuse)
    with pytest.raises(SourceError, match=words):
        opened()


def test_what_is_no_camera_is_closed_and_told(opened, node):
    capture = FakeCapture(node, cv2.CAP_V4L2)
    capture.opened = False
    with pytest.raises(SourceError, match="no camera, or another program has it"):
        opened(capture)
    assert capture.released


def test_stop_ends_a_device(opened, stop):
    device, capture = opened()
    stop.set()
    with pytest.raises(SourceError, match="stopped"):
        device.grab()
    assert capture.grabbed == 0


@pytest.mark.parametrize("path", ["/dev/video77", "/dev/v4l/by-id/usb-none-index0"])
def test_a_device_that_is_not_there_is_still_a_device(stop, path):
    with pytest.raises(SourceError, match="no such device; is it plugged in"):
        open_source(path, stop=stop, fps=15.0, size=(640, 480))


def test_a_character_device_that_is_no_camera_is_told(stop, capfd):
    with pytest.raises(SourceError, match="cannot open /dev/null: no camera"):
        open_source("/dev/null", stop=stop)
    capfd.readouterr()  # OpenCV speaks its mind
