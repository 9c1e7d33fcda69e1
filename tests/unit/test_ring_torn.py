"""A writer that dies anywhere: stopped between every two of its stores.

The steps are CPython's instructions: of the buffer's modules and of what fills the pixels, every
one is stopped at, and each state of the files that is new is kept. So no store is passed over, and
what one store writes is at most one field, but for the rows of pixels, which are stopped at here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from framebuf.buffer.directory import RingDirectory
from framebuf.buffer.layout import PAGE
from framebuf.frames import Origin
from framebuf.units import Size, Span
from tests.unit.rings import Hand, at, colour, ring_folder
from tests.unit.test_ring_recovery import after_restart, held

BUFFER = Path(sys.modules[RingDirectory.__module__].__file__).parent


def data_of(path):
    """The file's size, and its parts that are no holes."""
    with path.open("rb") as file:
        size, at, parts = path.stat().st_size, 0, []
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # holes to the end
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            parts.append((start, os.pread(file.fileno(), at - start, start)))
        return size, tuple(parts)


def restore(files, folder):
    for name, (size, parts) in files.items():
        with (folder / name).open("wb") as file:
            for start, data in parts:
                file.seek(start)
                file.write(data)
            file.truncate(size)


class Steps:
    """Runs a call, and keeps each new state of the folder's ring files before an instruction."""

    def __init__(self, directory):
        self.states = []
        self.count = 0
        self._directory = directory

    def run(self, call):
        self.keep()
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(before)
        self.keep()

    def keep(self):
        rings = sorted(self._directory.path.glob("*.ring"))
        state = {path.name: data_of(path) for path in rings}
        if not self.states or state != self.states[-1]:
            self.states.append(state)

    def _enter(self, frame, event, arg):
        code = frame.f_code
        if Path(code.co_filename).parent != BUFFER and code.co_name != "fill":
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame, event, arg):
        if event == "opcode":
            self.count += 1
            self.keep()
        return self._step


def fill(slot):
    """The pixels, row by row."""
    for row in slot.pixels:
        row[:] = colour(slot.seq)


def write(hand, seq, width=None):
    """A frame none of whose fields is that of the frame before in its slot."""
    origin = Origin(seq, f"{seq}.jpg")
    slot = hand.buffer.begin(at(1000 * seq), 3, width or 2 + seq % 3, origin)
    if slot is not None:
        fill(slot)
        hand.buffer.commit(slot, f"error {seq}")


def recovered(state, **more):
    """The frames found in a state, all whole; and the writer goes on, and is found again."""
    with ring_folder() as folder:
        restore(state, folder.path)
        after = after_restart(folder, **more)
        found = held(after.buffer)
        assert after.buffer.held() == len(found)
        for seq in found:
            frame = after.buffer.lease(seq).frame
            assert frame.origin == Origin(seq, f"{seq}.jpg")
            assert frame.error == f"error {seq}"
        for lease in [after.buffer.lease(seq) for seq in found]:
            assert lease.frame.captured == at(1000 * lease.seq)
    with ring_folder() as folder:
        restore(state, folder.path)
        after = after_restart(folder, **more)
        newest = after.buffer.newest()
        goes_on = range(newest.seq + 1 if newest else 0, (newest.seq if newest else -1) + 7)
        for seq in goes_on:
            write(after, seq)
        went_on = held(after.buffer)
        assert went_on[-2:] == list(goes_on)[-2:]
        assert held(after_restart(folder, **more).buffer) == went_on
    return found


MORE = {"span": Span(frames=3), "rate": 1.0}


@pytest.mark.parametrize("count", [0, 2, 4, 9], ids="the {}th frame".format)
def test_between_any_two_stores_of_a_frame_exactly_those_committed_are_found(count):
    with ring_folder() as directory:
        hand = Hand(directory, **MORE)
        for seq in range(count):
            write(hand, seq)
        before = held(hand.buffer)
        steps = Steps(directory)
        steps.run(lambda: write(hand, count))
        after = held(hand.buffer)
    found = [recovered(state, **MORE) for state in steps.states]
    # The frame that makes room goes, then the new one comes: nothing else is ever seen, and no way
    # back. The new frame is there from its last store on
    without = [seq for seq in before if seq in after]
    expected = [before, without, after]
    places = [expected.index(seqs) for seqs in found]
    assert places == sorted(places)
    assert found[:1] + found[-2:] == [before, without, after]
    assert steps.count > 200
    assert len(steps.states) >= 14, "rows of pixels, fields of the stamp and of the slot"


def test_between_any_two_stores_of_a_new_ring_no_frame_is_torn_and_none_goes_before_its_time():
    """Four slots of 4 pages give way to three of 6; the files of each state are both there."""
    more = {"span": Span(frames=3), "rate": 1.0, "memory": Size(23 * PAGE)}
    with ring_folder() as directory:
        hand = Hand(directory, **more)
        for seq in range(4):
            write(hand, seq, 4 * PAGE // 9)
        for seq in range(4, 8):
            before = held(hand.buffer)
            steps = Steps(directory)
            steps.run(lambda seq=seq: write(hand, seq, 6 * PAGE // 9))
            after = held(hand.buffer)
            stays = set(before) & set(after)
            for state in steps.states:
                found = recovered(state, **more)
                assert stays <= set(found) <= set(before) | set(after)
            assert (recovered(steps.states[0], **more), found) == (before, after)
        assert after == [5, 6, 7]
