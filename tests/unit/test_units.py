from __future__ import annotations

import calendar
import contextlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf.units import (
    DURATION_SCHEMA,
    LONGEST_NS,
    SECOND_NS,
    SIZE_SCHEMA,
    Duration,
    Moment,
    Size,
    Span,
    parse_rfc3339,
    rfc3339,
)

anything = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()),
    st.binary(), st.from_regex(r"[0-9.]{1,12} ?(ms|s|m|h|d|MiB|kB)"),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9:]{5})"),
)  # fmt: skip


@given(anything)
def test_whatever_comes_is_read_or_is_a_value_error(value):
    for parse in (Duration.parse, Span.parse, Size.parse, parse_rfc3339):
        with contextlib.suppress(ValueError):
            parse(value)


@given(st.integers(0, LONGEST_NS))
def test_a_printed_duration_reads_as_the_same(ns):
    assert Duration.parse(str(Duration(ns))) == Duration(ns)


@given(st.integers(0, 999_999_999 * 2**20))
def test_a_printed_size_reads_as_the_same_where_it_has_a_unit_above_bytes(count):
    size = Size(count * 1024)
    assert size.bytes > 999_999_999_000 or Size.parse(str(size)) == size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("1500ms", 1_500_000_000),
        ("1.5s", 1_500_000_000),
        ("1 s", SECOND_NS),
        ("0.000001ms", 1),
        ("0.1ms", 100_000),
        ("864000000.000000001s", None),
        ("863999999.999999999s", 863_999_999_999_999_999),
        ("5m", 300 * SECOND_NS),
        ("1.5h", 5400 * SECOND_NS),
        ("10000d", LONGEST_NS),
        ("10000.1d", None),
        ("999999999d", None),
    ],
)
def test_durations_are_exact_to_the_nanosecond_and_end_at_ten_thousand_days(text, ns):
    if ns is None:
        with pytest.raises(ValueError, match="at most 10000d"):
            Duration.parse(text)
    else:
        assert Duration.parse(text).ns == ns


@pytest.mark.parametrize(
    "value",
    ["", "5", "s", "-1s", "+1s", "1e3s", "1.s", ".5s", "1,5s", "1  s", " 1s", "1s ", "1s\n", "1S",
     "1 min", "1s2ms", "٣s", "1_0s", "0x1s", "inf s", "nan", "1" * 10 + "s", 5, 5.0, None, True,
     b"1s", ["1s"]],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_an_example(value):
    with pytest.raises(ValueError, match='is no duration: write "1500ms"'):
        Duration.parse(value)


def test_a_span_is_frames_or_a_duration_and_nothing_else():
    assert Span.parse(8).frames == 8
    assert Span.parse("1.5s") == Span(ns=1_500_000_000)
    assert Span.parse(0).is_zero
    assert Span.parse("0s").is_zero
    for value in (-1, 2**31, 10**400, 1.0, True, "8"):
        with pytest.raises(ValueError, match=r"is no duration|are out of range"):
            Span.parse(value)


def test_a_huge_integer_is_refused_without_being_printed():
    with pytest.raises(ValueError, match="a huge integer frames are out of range"):
        Span.parse(10**5000)


def test_a_long_foreign_value_is_shortened_in_the_message():
    for parse in (Duration.parse, Size.parse, parse_rfc3339):
        with pytest.raises(ValueError, match="…") as refused:
            parse("x" * 60_000)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512 MiB", 2**29),
        ("512MiB", 2**29),
        ("2 GB", 2 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("7 B", 7),
    ],
)
def test_sizes_are_read_with_their_unit(text, count):
    assert Size.parse(text).bytes == count


@pytest.mark.parametrize("value", ["", "5", "1 mib", "1 M", "-1 MiB", "1e3 B", "1 MiB\n", 5, None])
def test_what_is_no_size_is_refused_with_an_example(value):
    with pytest.raises(ValueError, match='is no size: write "512 MiB"'):
        Size.parse(value)


def test_sizes_are_shown_as_people_write_them():
    shown = [str(Size(count)) for count in (16 * 2**30, 640 * 2**20, 2 * 10**9, 1000)]
    assert shown == ["16 GiB", "640 MiB", "2 GB", "1 kB"]


@pytest.mark.parametrize("schema", [DURATION_SCHEMA, SIZE_SCHEMA])
def test_the_schemas_examples_fit_their_pattern_and_parse(schema):
    parse = Duration.parse if schema is DURATION_SCHEMA else Size.parse
    for text in schema["examples"]:
        assert re.fullmatch(schema["pattern"], text)
        parse(text)


@given(st.datetimes(), st.integers(0, 999), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_a_time_of_any_zone_is_the_same_instant_as_in_utc(at, millis, zone):
    at = at.replace(microsecond=0)
    expected = calendar.timegm(at.timetuple()) * 1000 + millis - zone * 60_000
    hours, minutes = divmod(abs(zone), 60)
    text = f"{at.isoformat()}.{millis:03d}{'-' if zone < 0 else '+'}{hours:02d}:{minutes:02d}"
    assert parse_rfc3339(text) == expected * 10**6


@given(st.integers(-2_000_000_000_000, 4_000_000_000_000))
def test_a_printed_time_reads_as_the_same_millisecond(millis):
    text = rfc3339(millis * 10**6 + 999_999)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert parse_rfc3339(text) == millis * 10**6
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=millis
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-22t06:30:00z", "2026-11-22T06:30:00Z"),
        ("2026-11-22 06:30:00Z", "2026-11-22T06:30:00Z"),
        ("2026-11-22T06:30:00-00:00", "2026-11-22T06:30:00Z"),
        ("2026-11-22T06:30:00.5Z", "2026-11-22T06:30:00.500Z"),
        ("2026-11-22T06:30:00.1234567899999Z", "2026-11-22T06:30:00.123456789Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("2016-12-31T15:59:60.25-08:00", "2016-12-31T23:59:59.25Z"),
        ("2024-02-29T00:00:00Z", "2024-02-28T19:00:00-05:00"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00.000+23:59"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.0-23:59"),
    ],
)
def test_other_spellings_of_rfc_3339_are_the_same_instant(text, same):
    assert parse_rfc3339(text) == parse_rfc3339(same)


def test_a_fraction_is_not_rounded_into_the_next_second():
    at = parse_rfc3339("2026-11-22T06:30:00.999999999Z")
    assert at % SECOND_NS == 999_999_999
    assert rfc3339(at) == "2026-11-22T06:30:00.999Z"


@pytest.mark.parametrize(
    "text",
    ["2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z",
     "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "0000-01-01T00:00:00Z"],
)  # fmt: skip
def test_a_day_that_is_not_on_the_calendar_is_refused(text):
    with pytest.raises(ValueError, match=f"'{text}' is not on the calendar: "):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    ["2026-11-22T06:30:00", "2026-11-22", "2026-11-22T06:30Z", "2026-11-22T24:00:00Z",
     "2026-11-22T06:60:00Z", "2026-11-22T06:30:61Z", "2026-11-22T06:30:00+24:00",
     "2026-11-22T06:30:00+05:75", "2026-11-22T06:30:00+0530", "2026-11-22T06:30:00.Z",
     "2026-11-22T06:30:00,5Z", "2026-11-22T06:30:00Z\n", " 2026-11-22T06:30:00Z",
     "20261122T063000Z", "2026-W47-7T06:30:00Z", "٢٠٢٦-11-22T06:30:00Z", "1795329000", "now", "",
     1795329000, None,
     "2026-11-22T06:30:00.\u0661Z"],
)  # fmt: skip
def test_what_is_no_rfc_3339_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is no RFC 3339 time: write"):
        parse_rfc3339(text)


def test_a_moment_moves_on_both_clocks():
    assert Moment(5, 100).shifted(-7) == Moment(-2, 93)
