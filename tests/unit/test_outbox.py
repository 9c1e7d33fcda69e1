from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from framebuf.service.outbox import Outbox, Outgoing


def message(name):
    return Outgoing(name, b"")


def drain(outbox):
    """The topics that may be published now, in order; none is told to the outbox as sent."""
    out = []
    while (one := outbox.next()) is not None:
        out.append(one.topic)
    return out


def test_messages_leave_in_the_order_they_came():
    outbox = Outbox()
    for name in "abc":
        outbox.add(message(name))
    assert drain(outbox) == ["a", "b", "c"]
    assert outbox.next() is None


def test_what_greets_goes_first_in_its_own_order():
    outbox = Outbox()
    outbox.add(message("c"))
    outbox.add_first([message("a"), message("b")])
    assert drain(outbox) == ["a", "b", "c"]


def test_no_more_than_the_window_are_under_way():
    outbox = Outbox()
    for number in range(Outbox.WINDOW + 2):
        outbox.add(message(str(number)))
    for mid in range(Outbox.WINDOW):
        outbox.sent(mid, outbox.next())
    assert outbox.next() is None
    assert len(outbox) == Outbox.WINDOW + 2
    assert repr(outbox) == f"<Outbox 2 waiting, {Outbox.WINDOW} under way>"
    assert outbox.acknowledge(7).topic == "7"
    assert outbox.next().topic == str(Outbox.WINDOW)


def test_messages_of_qos_0_take_no_place_in_the_window():
    outbox = Outbox()
    for number in range(100):
        outbox.add(Outgoing(str(number), b"", qos=0))
    assert len(drain(outbox)) == 100
    assert len(outbox) == 0


def test_an_acknowledgement_counts_once_and_a_foreign_one_not_at_all():
    outbox = Outbox()
    told = []
    outbox.add(Outgoing("a", b"", acknowledged=lambda: told.append("a")))
    outbox.sent(5, outbox.next())
    assert outbox.acknowledge(6) is None
    outbox.acknowledge(5).acknowledged()
    assert outbox.acknowledge(5) is None
    assert told == ["a"]


@given(st.lists(st.sampled_from(["add", "first", "next", "ack"]), max_size=200))
def test_every_message_leaves_once_and_the_window_holds(steps):
    outbox = Outbox()
    added, out, under_way = 0, [], []
    for step in steps:
        if step in ("add", "first"):
            one = message(str(added))
            outbox.add_first([one]) if step == "first" else outbox.add(one)
            added += 1
        elif step == "next" and (one := outbox.next()) is not None:
            assert len(under_way) < Outbox.WINDOW
            outbox.sent(len(out), one)
            under_way.append(len(out))
            out.append(one.topic)
        elif step == "ack" and under_way:
            mid = under_way.pop(0)
            assert outbox.acknowledge(mid).topic == out[mid]
        assert len(outbox) == added - len(out) + len(under_way)
    assert len(set(out)) == len(out)


def test_what_was_under_way_when_a_connection_ended_goes_first_on_the_next_and_one_by_one():
    outbox = Outbox()
    for name in "abcd":
        outbox.add(message(name))
    for mid in range(3):
        outbox.sent(mid, outbox.next())
    outbox.acknowledge(0)
    assert outbox.recall() is None
    outbox.sent(0, outbox.next())
    assert outbox.next() is None
    assert [outbox.acknowledge(0).topic, *drain(outbox)] == ["b", "c", "d"]


def test_a_message_that_ends_every_connection_is_given_up():
    outbox = Outbox()
    outbox.add(message("poison"))
    outbox.add(message("good"))
    for turn in range(Outbox.MAX_LOSSES):
        outbox.sent(1, outbox.next())
        poison = outbox.recall()
        assert (poison is not None) == (turn == Outbox.MAX_LOSSES - 1)
    assert poison.topic == "poison"
    assert drain(outbox) == ["good"]


def test_a_retained_message_takes_the_place_of_an_older_one_that_waits():
    outbox = Outbox()
    for payload in (b"1", b"2"):
        outbox.add(Outgoing("state", payload, retain=True))
        outbox.add(Outgoing("done", payload))
    outbox.add_first([Outgoing("state", b"3", retain=True)])
    assert [m.payload for m in iter(outbox.next, None)] == [b"3", b"1", b"2"]


@given(st.integers(0, 70_000), st.none() | st.binary(max_size=300))
def test_the_size_of_a_packet_is_what_the_client_sends(length, correlation):
    topic, payload = "a/é", b"x" * length
    extra = Properties(PacketTypes.PUBLISH)
    if correlation is not None:
        extra.CorrelationData = correlation
    rest = b"\0\0" + topic.encode() + b"\0\0" + extra.pack() + payload
    packet = b"\x32" + VariableByteIntegers.encode(len(rest)) + rest
    assert Outgoing(topic, payload, correlation=correlation).size() == len(packet)
