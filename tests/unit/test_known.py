from __future__ import annotations

import pytest

from framebuf.service import known
from framebuf.service.known import KnownIds
from framebuf.units import SECOND_NS

HOUR_NS = 3600 * SECOND_NS


def ended(ids, number, now_ns, camera="c"):
    ids.accept(camera, f"id-{number}", number)
    ids.end(camera, f"id-{number}", b"done-%d" % number, now_ns)


def test_an_id_is_known_from_its_acceptance_on_and_has_its_done_once_it_ended():
    ids = KnownIds(HOUR_NS)
    assert ids.find("c", "a") is None
    ids.accept("c", "a", 123)
    assert (ids.find("c", "a").first_at_ns, ids.find("c", "a").done) == (123, None)
    ids.end("c", "a", b"{}", 456)
    assert (ids.find("c", "a").first_at_ns, ids.find("c", "a").done) == (123, b"{}")
    assert len(ids) == 1


def test_an_id_belongs_to_its_camera():
    ids = KnownIds(HOUR_NS)
    ids.accept("gate", "a", 1)
    assert ids.find("yard", "a") is None
    ids.accept("yard", "a", 2)
    ids.end("yard", "a", b"yard", 3)
    assert ids.find("gate", "a").done is None
    assert ids.find("yard", "a").done == b"yard"


def test_an_id_that_is_not_open_cannot_end():
    ids = KnownIds(HOUR_NS)
    with pytest.raises(KeyError):
        ids.end("c", "a", b"{}", 1)
    ended(ids, 1, 1)
    with pytest.raises(KeyError):
        ids.end("c", "id-1", b"{}", 1)


def test_ten_thousand_ids_are_known_however_old():
    ids = KnownIds(0)
    for number in range(known.AT_LEAST + 5):
        ended(ids, number, number * HOUR_NS)
    assert len(ids) == known.AT_LEAST == 10_000
    assert ids.find("c", "id-4") is None
    assert ids.find("c", "id-5").done == b"done-5"


def test_more_than_ten_thousand_are_known_for_as_long_as_was_asked(monkeypatch):
    monkeypatch.setattr(known, "AT_LEAST", 3)
    ids = KnownIds(10)
    for number in range(8):
        ended(ids, number, number)
    assert len(ids) == 8
    ended(ids, 8, 14)  # those that ended before 4 are too old
    assert ids.find("c", "id-3") is None
    assert ids.find("c", "id-4") is not None


def test_a_flood_of_ids_has_its_bound(monkeypatch):
    monkeypatch.setattr(known, "AT_LEAST", 3)
    monkeypatch.setattr(known, "AT_MOST_BYTES", 5_000)
    ids = KnownIds(HOUR_NS)
    for number in range(20):
        ids.accept("c", f"id-{number}", 0)
        ids.end("c", f"id-{number}", b"x" * 1_000, number)
    assert len(ids) == 5
    assert ids.find("c", "id-15") is not None


def test_an_open_id_is_never_forgotten(monkeypatch):
    monkeypatch.setattr(known, "AT_LEAST", 1)
    ids = KnownIds(0)
    ids.accept("c", "open", 7)
    for number in range(20):
        ended(ids, number, number * HOUR_NS)
    assert ids.find("c", "open").first_at_ns == 7
    ids.end("c", "open", b"{}", 99 * HOUR_NS)
    assert ids.find("c", "open").done == b"{}"
