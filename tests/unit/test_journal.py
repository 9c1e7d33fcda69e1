"""The journal on real SQLite files: what it takes down, what it finds again, what it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framebuf.buffer.claims import Claims
from framebuf.buffer.history import Stamp
from framebuf.buffer.window import Asked, Window
from framebuf.buffer.windowspec import WindowSpec
from framebuf.errors import ConfigError, JournalError
from framebuf.service import journal as journals
from framebuf.service import journal_file
from framebuf.service.journal import Journal
from framebuf.service.orders import Order
from framebuf.service.record import Progress, ResponseRecord
from framebuf.service.response import Response
from framebuf.service.state_dir import StateDirectory
from framebuf.units import SECOND_NS, Moment, Span

HOUR_NS = 3600 * SECOND_NS
EVENT = Moment(100 * SECOND_NS, 1_800_000_000 * SECOND_NS)
DONE = (
    b'{"v":1,"event_type":"complete","id":"a","camera":"gate","requested":0,"published":0,'
    b'"failed":0,"missing":{},"thinned":0,"already_claimed":0,"window":{"from":"x","to":"y"},'
    b'"summary":{},"ms":{"total":1.0,"infer":0.0},"boot_id":"b","attempts":1}'
)


def order(id="a", camera="gate", **more):
    spec = WindowSpec(EVENT.mono_ns - 5, None, Span(frames=3), 2, 9, 77)
    given = {
        "priority": -3,
        "meta": msgspec.Raw(b'{"lot": "A7"}'),
        "images": "detections",
        "response": Response("answers/x", b"\x00\xff"),
    } | more
    return Order(id, camera, EVENT, EVENT.shifted(-5), spec, drain=True, deadline_ns=99, **given)


def progress(asked=0, **more):
    window = Window(order().spec, None)
    window.asked = asked
    return Progress(window=window.counts(), **more)


def asked(*indexes):
    return [Asked(i, Stamp(500 + i, EVENT.shifted(i), dropped=i == 1)) for i in indexes]


def reopened(path, boot="b", remember_ns=HOUR_NS):
    journal, entries = Journal.open(path, boot, remember_ns)
    journal.close()
    return entries


@pytest.fixture
def journal(tmp_path):
    opened, entries = Journal.open(tmp_path, "b", HOUR_NS)
    assert entries == []
    yield opened
    opened.close()


def accept(journal, one=None, **more):
    with journal.transaction(durable=True):
        return journal.accept(one or order(), progress(**more))


def end(journal, id, now_ns=1, done=DONE):
    with journal.transaction(durable=True):
        number = journal.accept(order(id), progress())
        journal.advance(number, progress(), done=done)
        journal.finish(number, done, now_ns)


# what is written is found again ---------------------------------------------------------------


def test_a_request_is_found_again_whole(journal, tmp_path):
    number = accept(journal)
    step = progress(3, started=True, published=1, askers=(ResponseRecord("answers/x", b"1"),))
    with journal.transaction(durable=False):
        journal.advance(number, step, asked(0, 1, 2))
    journal.close()
    (entry,) = reopened(tmp_path)
    assert (entry.number, entry.boot, entry.done) == (number, "b", None)
    assert entry.order == order()
    assert entry.progress == step
    assert [place for place, _ in entry.frames] == [0, 1, 2]
    assert [stamp for _, stamp in entry.frames] == [one.stamp for one in asked(0, 1, 2)]


def test_frames_that_are_over_and_those_missing_at_the_end_are_not_found_again(journal, tmp_path):
    number = accept(journal)
    with journal.transaction(durable=False):
        journal.advance(number, progress(5), asked(0, 1, 2, 3, 4))
    with journal.transaction(durable=False):
        journal.advance(number, progress(5, over=2), done=DONE, missing=[3])
    journal.close()
    (entry,) = reopened(tmp_path)
    assert [place for place, _ in entry.frames] == [2, 4]
    assert entry.done == DONE


def test_what_was_not_committed_is_not_there(journal, tmp_path):
    def crash():
        with journal.transaction(durable=True):
            journal.accept(order(), progress())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    journal.close()
    assert reopened(tmp_path) == []


def test_an_id_that_ended_is_known_by_its_camera_and_no_longer_unfinished(journal, tmp_path):
    end(journal, "a")
    assert journal.find("gate", "a") == (EVENT.utc_ns, DONE)
    assert journal.find("yard", "a") is None
    assert len(journal) == 1
    journal.close()
    again, entries = Journal.open(tmp_path, "b", HOUR_NS)
    assert entries == []
    assert again.find("gate", "a") == (EVENT.utc_ns, DONE)
    again.close()


def test_claims_last_for_one_boot(journal, tmp_path):
    with journal.transaction(durable=False):
        journal.claim("gate", [(3, 9), (12, 12)], oldest=0)
        journal.claim("yard", [(1, 1)], oldest=0)
    assert journal.claims("gate") == [(3, 9), (12, 12)]
    with journal.transaction(durable=False):
        journal.claim("gate", [], oldest=10)
    assert journal.claims("gate") == [(12, 12)]
    journal.close()
    for boot, left in (("b", [(12, 12)]), ("c", [])):
        again, _ = Journal.open(tmp_path, boot, HOUR_NS)
        assert again.claims("gate") == left
        again.close()


def test_claims_are_told_as_ranges_once():
    claims = Claims([(1, 3)])
    assert [seq for seq in (2, 3, 4, 5, 8) if claims.claim(seq)] == [4, 5, 8]
    assert claims.fresh() == [(4, 5), (8, 8)]
    claims.saved()
    assert not claims.is_fresh
    assert not claims.claim(8)


# how much it keeps ----------------------------------------------------------------------------


def test_ten_thousand_ids_are_known_however_old(journal):
    assert journals.AT_LEAST == 10_000


@pytest.mark.parametrize(
    ("remember_ns", "size", "known"),
    [(0, 10, 3), (10, 10, 8), (HOUR_NS, 1_000, 5)],
    ids=["the last ones", "as long as was asked", "no more than there is room for"],
)
def test_of_more_ids_the_oldest_are_forgotten(tmp_path, monkeypatch, remember_ns, size, known):
    monkeypatch.setattr(journals, "AT_LEAST", 3)
    monkeypatch.setattr(journals, "AT_MOST_BYTES", 5_000)
    journal, _ = Journal.open(tmp_path, "b", remember_ns)
    for number in range(8):
        end(journal, f"id-{number}", now_ns=number + 1, done=b"x" * size)
    assert len(journal) == known
    assert journal.find("gate", f"id-{7 - known}") is None
    assert journal.find("gate", f"id-{8 - known}") is not None
    journal.close()


def test_an_unfinished_request_is_never_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "AT_LEAST", 1)
    journal, _ = Journal.open(tmp_path, "b", 0)
    accept(journal, order("open"))
    for number in range(5):
        end(journal, f"id-{number}", now_ns=number * HOUR_NS)
    journal.close()
    assert [entry.order.id for entry in reopened(tmp_path)] == ["open"]


# what it cannot use ---------------------------------------------------------------------------


def write_sqlite(path, application=0, version=0):
    db = sqlite3.connect(path)
    db.executescript(
        f"CREATE TABLE t (x); PRAGMA application_id={application}; PRAGMA user_version={version};"
    )
    db.close()


@pytest.mark.parametrize("kind", ["text", "folder", "other program's", "no database beside a wal"])
def test_what_is_no_journal_is_set_aside_with_a_warning(tmp_path, caplog, kind):
    file = tmp_path / journal_file.NAME
    if kind == "text":
        file.write_text("no database at all" * 100)
    elif kind == "folder":
        file.mkdir()
    elif kind == "other program's":
        write_sqlite(file, application=7)
    else:
        file.with_name(file.name + "-wal").write_bytes(b"x")
    journal, entries = Journal.open(tmp_path, "b", HOUR_NS)
    accept(journal)
    journal.close()
    assert entries == []
    assert list(tmp_path.glob("journal.sqlite.corrupt-*"))
    assert "was set aside" in caplog.text
    assert len(reopened(tmp_path)) == 1


def test_only_the_newest_that_were_set_aside_are_kept(tmp_path):
    file = tmp_path / journal_file.NAME
    for number in range(5):
        file.write_text(f"no database {number}" * 100)
        journal_file.set_aside(file, "broken")
    kept = sorted(path.read_text()[:13] for path in tmp_path.iterdir())
    assert len(kept) == journal_file.KEPT_ASIDE
    assert "no database 4" in kept


def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path):
    file = tmp_path / journal_file.NAME
    write_sqlite(file, journal_file.APPLICATION, journal_file.VERSION + 1)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="newer framebuf: its version is 2, expected 1"):
        Journal.open(tmp_path, "b", HOUR_NS)
    assert file.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_that_may_not_be_written_is_the_operators_to_mend(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="state_dir"):
        StateDirectory.open(tmp_path / "state")


def test_a_file_in_place_of_the_folder_is_the_operators_to_mend(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="state_dir"):
        StateDirectory.open(tmp_path / "state")
    with pytest.raises(ConfigError, match="Not a directory"):
        StateDirectory.open(tmp_path / "state" / "below")


def test_the_folder_is_private_and_belongs_to_one_daemon(tmp_path):
    with StateDirectory.open(tmp_path / "a" / "state") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(JournalError, match=f"in use by the framebuf with pid {os.getpid()}"):
            StateDirectory.open(folder.path)
    StateDirectory.open(tmp_path / "a" / "state").close()


def test_a_folder_that_others_use_is_refused_and_stays_open_to_them(tmp_path):
    (tmp_path / "theirs").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=r"state_dir.*others use, mode 755, with 1 entries"):
        StateDirectory.open(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_full_disk_is_told_and_nothing_of_the_transaction_stays(journal):
    accept(journal, order("before"))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="full"):
        accept(journal, order("big", meta=msgspec.Raw(b'"%s"' % (b"x" * 200_000))))
    journal._db.execute("PRAGMA max_page_count = 1000000")
    accept(journal, order("after"))
    path = journal.path.parent
    journal.close()
    assert [entry.order.id for entry in reopened(path)] == ["before", "after"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """The files of a journal that has seen something; its write-ahead log not yet in the base."""
    path = tmp_path_factory.mktemp("lived")
    journal, _ = Journal.open(path, "b", HOUR_NS)
    for number in range(20):
        end(journal, f"id-{number}")
    number = accept(journal, order("open"))
    with journal.transaction(durable=True):
        journal.advance(number, progress(3, started=True), asked(0, 1, 2))
        journal.claim("gate", [(500, 502)], 0)
    copy = tmp_path_factory.mktemp("copy")
    for file in path.iterdir():
        shutil.copy(file, copy)
    journal.close()
    for file in path.iterdir():
        shutil.copy(file, copy / f"closed-{file.name}")
    return copy


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_journal_with_wrong_bytes_opens_or_is_set_aside_or_is_refused(
    lived, tmp_path_factory, data
):
    folder = Path(tmp_path_factory.mktemp("fuzzed"))
    closed = data.draw(st.booleans())
    names = [journal_file.NAME] if closed else [journal_file.NAME, journal_file.NAME + "-wal"]
    for name in names:
        shutil.copy(lived / (f"closed-{name}" if closed else name), folder / name)
    file = folder / data.draw(st.sampled_from(names))
    content = bytearray(file.read_bytes())
    places = st.integers(0, len(content) - 1) | st.integers(0, 200)
    for place, value in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=0, max_size=8)
    ):
        content[place] = value
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    file.write_bytes(content)
    try:
        journal, entries = Journal.open(folder, "b", HOUR_NS)
    except (ConfigError, JournalError):
        return
    try:
        assert {entry.order.id for entry in entries} <= {"open", *(f"id-{n}" for n in range(20))}
        for entry in entries:
            Window(entry.order.spec, None).resume(entry.progress.window)
        Claims(journal.claims("gate"))
        number = accept(journal, order("new"))
        assert number > 0
        end(journal, "other")
    finally:
        journal.close()
        shutil.rmtree(folder)
