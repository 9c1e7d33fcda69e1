"""A writer that is killed with signal 9, a dozen times, at work in one and the same folder."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

from framebuf.buffer.directory import RingDirectory
from framebuf.units import Size, Span
from tests.unit.rings import Hand, ring_folder
from tests.unit.test_ring_recovery import held

KILLS = 12
MORE = {"span": Span(frames=20), "memory": Size(6 * 2**20), "rate": 10.0}

# Forks, for importing takes longer than all the rest; each child writes until it is killed
FORKS = """
import os, sys
from pathlib import Path
from tests.unit.test_ring_killed import write_on
for number, _ in enumerate(sys.stdin):
    if not (child := os.fork()):
        write_on(Path(sys.argv[1]), number)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def size(number, seq):
    """Every third child writes larger frames once in a while, which makes new rings."""
    side = 60 + 10 * number if number % 3 == 2 and seq % 7 == 6 else 40
    return side, 2 * side


def write_on(path, number):
    """What is there must be whole; then write, say each seq once it is committed, for ever."""
    with RingDirectory.open(path) as directory:
        hand = Hand(directory, **MORE)
        hand.buffer.recover(time.monotonic_ns())
        say(f"pid {os.getpid()}")
        while True:
            seq = hand.frame(time.monotonic_ns(), *size(number, hand.buffer._next_seq))
            say(f"wrote {seq}")


def say(line):
    """In one piece, whatever happens; print may write its words one by one."""
    os.write(1, f"{line}\n".encode())


def test_of_a_writer_that_is_killed_every_frame_it_told_is_there_and_none_is_torn():
    chance = random.Random(5)
    told = []
    with ring_folder() as outer:
        path = outer.path / "rings"
        with subprocess.Popen(
            [sys.executable, "-c", FORKS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1,
        ) as forks:  # fmt: skip
            for _ in range(KILLS):
                forks.stdin.write("go\n")
                pid = int(line_of(forks).removeprefix("pid "))
                first = len(told)
                lines = [line_of(forks) for _ in range(chance.randrange(1, 60))]
                os.kill(pid, signal.SIGKILL)
                while (line := line_of(forks)) != "ended\n":
                    lines.append(line)
                told += [int(line.removeprefix("wrote ")) for line in lines]
                assert told[first:] == list(range(told[first], told[first] + len(told) - first))
                with RingDirectory.open(path) as directory:
                    check(directory, told)
            forks.stdin.close()


def line_of(process):
    line = process.stdout.readline()
    assert line, f"it ended, {process.wait(10)}"
    return line


def check(directory, told):
    hand = Hand(directory, **MORE)
    hand.buffer.recover(time.monotonic_ns())
    found = held(hand.buffer)
    newest = hand.buffer.newest().seq
    # one more may be there than was told, or be stamped and not whole
    assert told[-1] <= newest <= told[-1] + 1
    history = hand.buffer.extent.history
    missing = set(told[-history:]) - set(found)
    assert not missing
    assert hand.buffer.bytes() <= MORE["memory"].bytes
    assert sum(f.stat().st_blocks for f in directory.path.glob("*.ring")) * 512 == (
        hand.buffer.bytes()
    )
