import time

import pytest

from framebuf.errors import ContractError
from framebuf.service.message import Message
from framebuf.service.response import Response, Responses
from framebuf.units import Moment

OURS = Responses(("reply", "plc/7/"), "framebuf/gate-7")


def asking(topic, correlation=None, payload=b"{}"):
    now = Moment(time.monotonic_ns(), time.time_ns())
    return Message("t", payload, now, response_topic=topic, correlation=correlation)


def test_none_is_asked_for():
    assert OURS.of(asking(None)) is None


@pytest.mark.parametrize("topic", ["reply", "reply/a", "reply/", "plc/7", "plc/7/a/b"])
def test_what_is_below_a_prefix_by_whole_levels_is_allowed(topic):
    assert OURS.of(asking(topic, b"x")) == Response(topic, b"x")


@pytest.mark.parametrize(
    "topic",
    [
        *("", "a", "plc", "plc/70", "replyx", "/reply", "REPLY/a", "$share/g/reply/a", "$SYS/a"),
        *("reply/+", "reply/#", "reply/a#", "reply/\0", "reply/\uffff", "reply/a\nb"),
        *("reply/\ud800", "reply/trigger", "framebuf/gate-7/gate/trigger", "framebuf/gate-7"),
    ],
)
def test_everything_else_is_refused_with_the_id(topic):
    with pytest.raises(ContractError) as error:
        OURS.of(asking(topic, payload=b'{"id":"a"}'))
    assert (error.value.code, error.value.id) == ("bad_response_topic", "a")


def test_the_nodes_own_topics_are_refused_though_a_prefix_allows_them():
    for topic in ("framebuf/gate-7/gate/done", "framebuf/gate-7/status"):
        with pytest.raises(ContractError):
            Responses(("framebuf",), "framebuf/gate-7").of(asking(topic))


def test_without_prefixes_none_is_allowed():
    with pytest.raises(ContractError):
        Responses((), "framebuf/gate-7").of(asking("reply/a"))
