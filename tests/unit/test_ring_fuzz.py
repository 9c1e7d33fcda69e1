"""Ring files that are not what they were: mutated, cut, put together. None may stop a start."""

from __future__ import annotations

import functools
import os
import tracemalloc

from hypothesis import example, given, settings
from hypothesis import strategies as st

from framebuf.buffer.layout import HEADER, PAGE, SLOT, STAMP, Shape
from framebuf.buffer.strangers import remove_strangers
from framebuf.frames import Origin
from framebuf.units import Size, Span, rfc3339
from tests.unit.rings import Hand, at, colour, ring_folder

NOW = 10**9
MORE = {"span": Span(frames=6), "memory": Size(2**20), "rate": 2.0}


@functools.cache
def real(count, width):
    """A ring file with so many frames written, some after gaps, some with origins and errors."""
    with ring_folder() as directory:
        hand = Hand(directory, **MORE)
        for seq in range(count):
            if seq % 5 == 4:
                hand.buffer.interrupted()
            slot = hand.buffer.begin(at(1000 * seq), 2, width, Origin(seq, f"{seq}.png"))
            slot.pixels[:] = colour(seq)
            hand.buffer.commit(slot, "no end" if seq % 4 == 3 else None)
        return (directory.path / "gate.0.ring").read_bytes()


SHAPE = Shape(8, PAGE, 16)
assert len(real(3, 2)) == SHAPE.file_bytes

# Where a change tells: any field of the header, of any stamp, of any slot; else any byte
fields = st.one_of(
    st.sampled_from([(kind[1], kind[0].itemsize) for kind in HEADER.fields.values()]),
    st.builds(
        lambda n, kind: (SHAPE.stamps_at + n * STAMP.itemsize + kind[1], kind[0].itemsize),
        st.integers(0, SHAPE.stamps - 1), st.sampled_from(list(STAMP.fields.values())),
    ),
    st.builds(
        lambda n, kind: (SHAPE.slots_at + n * SLOT.itemsize + kind[1], kind[0].itemsize),
        st.integers(0, SHAPE.slots - 1), st.sampled_from(list(SLOT.fields.values())),
    ),
    st.tuples(st.integers(0, SHAPE.file_bytes - 1), st.integers(1, 64)),
)  # fmt: skip
numbers = st.one_of(
    st.integers(0, 40), st.integers(0, 40).map(lambda n: 1000 * n),
    st.integers(0, 64).map(lambda n: 2**n - 1), st.integers(0, 63).map(lambda n: 2**n),
    st.integers(0, 2**64 - 1),
)  # fmt: skip
values = st.one_of(numbers.map(lambda n: n.to_bytes(8, "little")), st.binary(max_size=64))
edits = st.lists(st.tuples(fields, values), max_size=8)
ends = st.one_of(st.just(0), st.integers(-SHAPE.file_bytes, 3 * PAGE), st.just(2**40))


def change(data, edits, end):
    """The data with fields overwritten, and cut or grown by `end`."""
    changed = bytearray(data)
    for (start, size), value in edits:
        changed[start : start + size] = value[:size].ljust(size, b"\0")[: len(changed) - start]
    return bytes(changed[: len(changed) + min(end, 0)]), max(end, 0)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([1, 3, 8, 21, 40]), st.sampled_from([2, 680]), edits, ends, st.booleans())
@example(21, 2, [], 0, False)
@example(21, 2, [], 0, True)
def test_whatever_is_in_the_files_a_start_takes_what_is_right_and_goes_on(
    count, width, edits, end, is_sparse
):
    data, more = change(real(count, width), edits, end)
    with ring_folder() as directory:
        path = directory.path / "gate.3.ring"
        with path.open("wb") as file:
            for page in range(0, len(data), PAGE):
                if is_sparse and not any(data[page : page + PAGE]):
                    file.seek(PAGE, os.SEEK_CUR)
                else:
                    file.write(data[page : page + PAGE])
            file.truncate(len(data) + more)
        (directory.path / "gate.1.ring").write_bytes(real(8, 2))
        had = sum(f.stat().st_blocks * 512 for f in directory.path.glob("*.ring"))
        hand = Hand(directory, **MORE)
        remove_strangers(directory, {"gate"}, "b-1")
        tracemalloc.start()
        hand.buffer.recover(NOW)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * 2**20, "beside the files, which are mapped"
        used = sum(f.stat().st_blocks * 512 for f in directory.path.glob("*.ring"))
        assert used <= had
        stamps = check_order(hand.buffer)
        newest = stamps[-1].seq if stamps else -1
        assert hand.frames(*(NOW + seq for seq in range(40))) == list(
            range(newest + 1, newest + 41)
        )
        check_order(hand.buffer)
        assert hand.buffer.bytes() <= MORE["memory"].bytes
        kept = [hand.buffer.lease(newest + 1 + seq) for seq in range(40 - 6, 40)]
        assert all((lease.frame.pixels == colour(lease.seq)).all() for lease in kept)


def check_order(buffer):
    """What the history says is in order, and every frame of it can be read."""
    stamps = list(buffer.after(-1))
    assert [s.seq for s in stamps] == sorted({s.seq for s in stamps})
    assert [s.mono_ns for s in stamps] == sorted(s.mono_ns for s in stamps)
    for stamp in stamps:
        assert rfc3339(stamp.captured.utc_ns)
        lease = buffer.lease(stamp.seq)
        if lease is not None:
            frame = lease.frame
            assert frame.seq == stamp.seq
            assert int(frame.pixels.sum()) >= 0
            lease.release()
        else:
            assert buffer.why_gone(stamp) in ("memory", "evicted", "frames_lost")
    return stamps


def test_the_files_that_are_changed_here_are_found_whole_as_they_are():
    """Else the other test would show little."""
    with ring_folder() as directory:
        (directory.path / "gate.0.ring").write_bytes(real(21, 680))
        hand = Hand(directory, **MORE)
        hand.buffer.recover(NOW)
        assert [seq for seq in range(30) if hand.buffer.lease(seq)] == list(range(13, 21))
        assert len(hand.buffer.after(-1)) == 16
