from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framebuf.models.custom_string import CustomString


@pytest.mark.parametrize(
    "text",
    [
        "labels=person, traffic light;task=detect;decoder=nanodet",
        " task = detect ; decoder=nanodet;labels=person,traffic light;\0",
        '{"labels": ["person", "traffic light"], "task": "detect", "decoder": "nanodet"}',
        '{"labels": "person,traffic light", "task": "detect", "decoder": "nanodet"}',
    ],
)
def test_both_forms_tell_labels_task_and_decoder(text):
    assert CustomString.parse(text) == CustomString(
        ("person", "traffic light"), "detect", "nanodet"
    )


def test_a_label_with_a_comma_stands_in_the_json_form():
    assert CustomString.parse('{"labels": ["a,b", "c;d"]}').labels == ("a,b", "c;d")


def test_names_of_others_are_kept():
    assert CustomString.parse("labels=a;version=1.4=rc").other == {"version": "1.4=rc"}
    assert CustomString.parse('{"version": 3, "by": "x"}').other == {"version": "3", "by": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "", "built by hand, v3", "labels", "=a,b", "labels=", '{"labels": [1, 2], "task": 3}',
        '{"labels": ["\\ud800"]}', "{not json", "[1]", '{"a":' * 100_000,
    ],
)  # fmt: skip
def test_text_of_another_kind_says_nothing_and_is_no_error(text):
    assert CustomString.parse(text) == CustomString()


@given(st.lists(st.text("abc é/", min_size=1).map(str.strip).filter(bool), min_size=1))
def test_labels_come_back_in_order(labels):
    assert CustomString.parse(f"task=raw;labels={','.join(labels)}").labels == tuple(labels)
