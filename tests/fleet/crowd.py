"""A process of many nodes. Run by `Crowds`; speaks JSON lines with it.

    crowd.py NODES FOLDER RINGS PORT PASSWORD_FILE      NODES: names, with commas between them

Says `{"ready": N}` once all have begun to connect, `{"node": …, "at_s": …}` at each greeting of a
broker (monotonic), and answers each line of standard input with what it has: `{"memory_mib",
"threads", "files", "cpu_s", "failures"}`. Ends when standard input does.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import select
import sys
import threading
import time
from pathlib import Path

from framebuf.config import parse
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.service import crash
from framebuf.service.boot import boot_id
from framebuf.service.encoder import Encoder
from tests.fleet.member import CAMERA, MODEL, Member, Shared

REPO = Path(__file__).parents[2]
TABLE = (
    f'[[model]]\nname = "{MODEL}"\npath = "{REPO}/tests/assets/tiny-rk3588-i8-batch1.rknn"\n'
    'platform = "sim:rk3588"\ntask = "embed"\n'
)


class Voice:
    """Lines to whoever runs the crowd, from any thread, never late for a full pipe."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="voice")
        self._thread.start()

    def say(self, **document: object) -> None:
        self._lines.put(json.dumps(document))

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            print(line, flush=True)


def figures(members: list[Member]) -> dict[str, object]:
    status = Path("/proc/self/status").read_text()
    anonymous = re.search(r"RssAnon:\s+(\d+)", status)
    return {
        "memory_mib": int(anonymous[1]) / 1024 if anonymous else None,
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "cpu_s": time.process_time(),
        "failures": {member.name: member.failures for member in members},
    }


def main(nodes: str, folder: str, rings: str, port: str, password_file: str) -> None:
    # Each thread that waits for the interpreter wakes so often: 300 of them, every 5 ms, and where
    # cores are short none comes to its work
    sys.setswitchinterval(0.1)
    logging.basicConfig(level="ERROR", format="%(asctime)s %(levelname)s %(message)s")
    crash.end_process_when_told()
    voice = Voice()
    camera = f'[[camera]]\nname = "{CAMERA}"\nsource = "made-up"\nmodels = ["{MODEL}"]\n'
    (model,) = parse(camera + TABLE, "crowd.toml", Path(folder)).config.model
    network = open_network(model)
    (lane,) = open_lanes([network]).values()
    lane.start()
    encoder = Encoder()
    encoder.start()
    shared = Shared(
        Path(folder), Path(rings), int(port), Path(password_file), boot_id(), TABLE,
        network, lane, encoder, lambda node: voice.say(node=node, at_s=time.monotonic()),
    )  # fmt: skip
    members = [Member.start(name, shared) for name in nodes.split(",")]
    voice.say(ready=len(members))
    while True:
        for member in members:
            member.tick()
        if select.select([sys.stdin], [], [], 1.0)[0]:
            if not sys.stdin.readline():
                break
            voice.say(**figures(members))
    for member in members:
        member.stop()
    encoder.stop()
    lane.close()
    voice.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
