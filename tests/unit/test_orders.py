from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf import config
from framebuf.buffer.extent import Extent
from framebuf.contract import Trigger, decode_trigger
from framebuf.errors import ContractError
from framebuf.service.orders import made_up_id, read_order
from framebuf.units import SECOND_NS, Duration, Moment, Span, parse_rfc3339, rfc3339

NOW = Moment(1_000 * SECOND_NS, parse_rfc3339("2026-11-22T06:30:00.120Z"))


@dataclass
class FakeBuffer:
    """What an order asks of a buffer: how much it holds."""

    extent: Extent | None = None
    period: int | None = None

    def period_ns(self):
        return self.period


HELD = FakeBuffer(Extent(250, 63, shortened=False), SECOND_NS // 25)
UNSEEN = FakeBuffer()


def camera(keys="", trigger=""):
    text = (
        f'[[camera]]\nname = "gate"\nsource = "x"\nmodels = ["m"]\n{keys}\n[camera.trigger]\n'
        f'{trigger}\n[[model]]\nname = "m"\npath = "m.onnx"\ntask = "raw"\n'
    )
    return config.parse(text, "f.toml", Path("/")).config.camera[0]


def order(trigger=b"{}", *, at=None, buffer=HELD, kept=False, of=None, received=NOW):
    said = Trigger(at=at) if at is not None else decode_trigger(trigger)
    return read_order(said, of or camera(), buffer, received, kept=kept)


def refused(*args, **more):
    with pytest.raises(ContractError) as error:
        order(*args, **more)
    return error.value


def utc(seconds):
    """A time that many seconds from now, as it stands in a trigger."""
    return rfc3339(NOW.utc_ns + round(seconds * SECOND_NS))


# the clock -----------------------------------------------------------------------------------


def test_without_a_time_the_moment_is_that_of_receipt():
    assert order().moment == NOW


@given(st.integers(-5_000, 5_000), st.integers(0, 2**62), st.integers(0, 10**19))
def test_the_moment_is_as_far_from_receipt_on_the_monotonic_clock_as_on_the_other(ms, mono, utc_ns):
    received = Moment(mono, utc_ns // 10**6 * 10**6 % (253_402_300_790 * SECOND_NS))
    moment = order(at=rfc3339(received.utc_ns + ms * 10**6), received=received).moment
    assert moment.mono_ns - received.mono_ns == ms * 10**6
    assert moment.utc_ns - received.utc_ns == ms * 10**6


@pytest.mark.parametrize(
    ("ago_s", "code"),
    [
        (5, None),
        (5.001, "stale"),
        (3600, "stale"),
        (-5, None),
        (-5.001, "bad_at"),
        (-3600, "bad_at"),
    ],
)
def test_five_seconds_are_the_limit_both_ways(ago_s, code):
    if code is None:
        assert order(at=utc(-ago_s)).moment == NOW.shifted(round(-ago_s * SECOND_NS))
    else:
        assert refused(at=utc(-ago_s)).code == code


def test_max_age_is_the_cameras_and_the_future_is_not():
    patient = camera(trigger='max_age = "1h"')
    assert order(at=utc(-3600), of=patient).moment == NOW.shifted(-3600 * SECOND_NS)
    assert refused(at=utc(-3601), of=patient).code == "stale"
    assert refused(at=utc(6), of=patient).code == "bad_at"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00+23:59"])
def test_an_event_of_another_age_is_stale_and_its_message_readable(at):
    error = refused(at=at)
    assert error.code == "stale"
    assert re.search(r"the event is \d+(\.\d{1,3})?s old; the limit is 5s", str(error))


def test_an_event_after_the_calendar_is_ahead():
    assert refused(at="9999-12-31T23:59:59-23:59").code == "bad_at"


def test_the_age_counts_the_zone():
    assert order(at="2026-11-22T01:00:00.120-05:30").moment == NOW


def test_what_the_broker_kept_is_stale_unless_it_says_when():
    error = refused(b'{"id":"a"}', kept=True)
    assert (error.code, error.id) == ("stale", "a")
    assert order(at=utc(-1), kept=True).moment == NOW.shifted(-SECOND_NS)
    assert refused(at=utc(-6), kept=True).code == "stale"


def test_the_deadline_runs_from_receipt_and_not_from_the_event():
    trigger = f'{{"at":"{utc(-4)}","deadline":"2s"}}'.encode()
    assert order(trigger).deadline_ns == NOW.mono_ns + 2 * SECOND_NS


# defaults ------------------------------------------------------------------------------------


def test_a_trigger_that_says_nothing_gets_the_defaults_of_its_camera():
    of = camera(
        trigger='mode = "window"\nbefore = "3s"\nafter = "1s"\nmax_frames = 7\ndeadline = "9s"'
    )
    got = order(of=of)
    assert (got.camera, got.drain, got.priority) == ("gate", False, 0)
    assert got.deadline_ns == NOW.mono_ns + 9 * SECOND_NS
    spec = got.spec
    assert (spec.moment_ns, spec.stride, spec.max_frames) == (NOW.mono_ns, 1, 7)
    assert (spec.before, spec.after) == (Span.parse("3s"), Span.parse("1s"))


def test_a_camera_that_says_nothing_drains_its_whole_history():
    got = order()
    assert (got.drain, got.spec.before, got.spec.after.is_zero) == (True, None, True)
    assert got.spec.max_frames == 300
    assert got.deadline_ns == NOW.mono_ns + 30 * SECOND_NS


def test_what_a_trigger_says_goes_before_the_defaults_also_where_it_is_zero():
    of = camera(trigger='before = "3s"\nafter = "1s"\nmode = "window"')
    got = order(
        b'{"id":"a","before":0,"after":"0s","mode":"drain","priority":-3,"stride":4,'
        b'"max_frames":2,"meta":[1]}',
        of=of,
    )
    assert got.spec.is_moment
    assert (got.id, got.turn, got.drain, got.priority) == ("a", "gate/a", True, -3)
    assert (got.spec.stride, got.spec.max_frames, bytes(got.meta)) == (4, 2, b"[1]")


def test_a_made_up_id_is_t_and_a_uuid_of_version_7_that_no_other_has():
    before = time.time_ns() // 10**6
    ids = [order().id for _ in range(100)]
    assert len(set(ids)) == 100
    for id in [*ids, made_up_id()]:
        assert id.startswith("t-")
        value = uuid.UUID(id[2:])
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
        assert before <= value.int >> 80 <= time.time_ns() // 10**6
        assert decode_trigger(f'{{"id":"{id}"}}'.encode()).id == id


# windows that cannot be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "fits"),
    [('"10s"', True), ('"10.2s"', True), ('"10.3s"', False), ("250", True), ("251", False),
     ('"0s"', True), ("0", True), ('"9999d"', False), ("2147483647", False)],
)  # fmt: skip
def test_a_window_that_the_full_history_does_not_hold_is_too_large(before, fits):
    trigger = b'{"id":"a","before":%s}' % before.encode()
    if fits:
        assert order(trigger).spec.before == Span.parse(eval(before))
    else:
        error = refused(trigger)
        assert (error.code, error.id) == ("window_too_large", "a")
        assert "the history holds 250 frames, 10.0s" in str(error)


@pytest.mark.parametrize(
    ("buffer", "before", "fits"),
    [('"10s"', '"10s"', True), ('"10s"', '"11s"', False), ('"10s"', "9999", True),
     ("100", "100", True), ("100", "101", False), ("100", '"9999d"', True)],
)  # fmt: skip
def test_before_the_first_frame_the_configured_buffer_is_the_limit(buffer, before, fits):
    of = camera(f"buffer = {buffer}")
    trigger = b'{"before":%s}' % before.encode()
    if fits:
        assert order(trigger, of=of, buffer=UNSEEN).spec.before is not None
    else:
        error = refused(trigger, of=of, buffer=UNSEEN)
        assert error.code == "window_too_large"
        assert "the history holds 10" in str(error)


def test_frames_are_checked_though_the_cameras_rate_is_not_known():
    unsteady = FakeBuffer(Extent(5, 2, shortened=False), None)
    assert refused(b'{"before":6}', buffer=unsteady).code == "window_too_large"
    assert order(b'{"before":"9s"}', buffer=unsteady).spec.before == Span.parse("9s")


@pytest.mark.parametrize("default", ['"10s"', "250"])
def test_a_default_that_memory_does_not_hold_means_the_whole_history(default):
    of = camera(f"buffer = {default}", trigger=f"before = {default}")
    little = FakeBuffer(Extent(100, 25, shortened=True), SECOND_NS // 25)
    assert order(of=of, buffer=little).spec.before is None
    assert order(of=of, buffer=HELD).spec.before == Span.parse(eval(default))
    assert refused(f'{{"before":{default}}}'.encode(), of=of, buffer=little).code == (
        "window_too_large"
    )


def test_a_window_that_ends_after_its_deadline_is_too_large():
    error = refused(b'{"id":"a","after":"3s","deadline":"2s"}')
    assert (error.code, error.id) == ("window_too_large", "a")
    assert refused(b'{"after":"2s","deadline":"2s"}').code == "window_too_large"
    assert order(b'{"after":"1999ms","deadline":"2s"}').spec.after == Span.parse("1999ms")
    assert order(b'{"after":100000,"deadline":"2s"}').spec.after.frames == 100_000
    assert refused(b'{"after":"31s"}').code == "window_too_large"


def test_no_window_that_is_accepted_leaves_the_calendar():
    got = order(b'{"before":"9999d"}', of=camera("buffer = 100"), buffer=UNSEEN)
    assert rfc3339(got.moment.utc_ns - got.spec.before.ns) < "2026"
    assert Duration.parse("9999d").ns == got.spec.before.ns
