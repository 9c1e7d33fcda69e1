"""Breaks a camera on RTSP at random, and holds what the node says of it against its promises."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.service.books import Books
    from tests.service.parts import Node
    from tests.service.rtsp import RtspCamera

STALE_S = 1.0
"""As the node's configuration says."""
RATE = 10
"""Frames kept a second."""
OFFLINE_S = STALE_S + 1.0
ONLINE_S = 5.0
AFTER_S = 3.0
"""How far the window across each gap reaches beyond its trigger."""
KINDS = ("killed", "frozen", "restarted")


class Outages:
    """A node's camera, broken again and again; counts and the worst times are kept."""

    def __init__(self, camera: RtspCamera, node: Node, books: Books, chance: random.Random) -> None:
        self._camera = camera
        self._node = node
        self._books = books
        self._chance = chance
        self._count = dict.fromkeys(KINDS, 0)
        self._offline_s: list[float] = []
        self._online_s: list[float] = []
        self._gaps = 0
        self._threads, self._files = self._held()

    def one(self) -> None:
        """One outage: break, be told, come back, be told, and the window across it adds up."""
        kind = self._chance.choice(KINDS)
        number = sum(self._count.values())
        self._count[kind] += 1
        # More than a second of frames, so that the window across holds no earlier gap
        self._answered(f"steady-{number}", {"before": 0, "after": 12 + self._chance.randrange(9)})
        window = {"mode": "window", "before": "1s", "after": f"{AFTER_S}s"}
        across = self._books.send_trigger("gate", {"id": f"gap-{number}", **window})
        self._books.wait_ack(across)
        began_s = time.monotonic()
        if kind == "frozen":
            self._camera.freeze()
        else:
            self._camera.kill()
        if kind != "restarted":
            told = self._books.wait_text("gate/availability", "offline", timeout_s=OFFLINE_S + 5)
            self._offline_s.append(told.arrived_s - began_s)
            assert told.arrived_s - began_s <= OFFLINE_S, f"{kind}: offline too late"
            # Away for as long as chance says; nothing is waited for
            time.sleep(self._chance.uniform(0.0, 4.0))
        self._returned(kind, number)
        self._check_gap(across, began_s, kind)

    def _returned(self, kind: str, number: int) -> None:
        """The camera is back: online is told, and frames are answered."""
        if kind == "frozen":
            self._camera.thaw()
        else:
            self._camera.start()
        back_s = time.monotonic()
        if kind != "restarted":
            told = self._books.wait_text("gate/availability", "online", timeout_s=ONLINE_S + 5)
            self._online_s.append(told.arrived_s - back_s)
        self._answered(f"back-{number}", {"before": 0, "after": 1})
        assert time.monotonic() - back_s <= ONLINE_S, f"{kind}: online too late"

    def _answered(self, id: str, trigger: dict[str, object]) -> None:
        self._books.send_trigger("gate", {"id": id, "mode": "window", **trigger})
        assert self._books.wait_done(id).document["event_type"] == "complete", id

    def _check_gap(self, id: str, began_s: float, kind: str) -> None:
        """A second before the break and three after it: all frames answered, or told as gone."""
        done = self._books.wait_done(id).document
        # A camera that thaws soon gives what it saw meanwhile, in one go, and nothing was lost
        complete = kind == "frozen" and not done["missing"]
        assert complete or set(done["missing"]) == {"camera_gap"}, f"{kind}: {done}"
        assert abs(done["requested"] - RATE * (1.0 + AFTER_S)) <= 4, f"{kind}: {done}"
        assert done["published"] >= RATE - 2, f"{kind}: {done}"
        self._gaps += done["missing"].get("camera_gap", 0)

    def check_nothing_left(self) -> None:
        """As many threads and open files as before the first outage."""
        self._node.wait_for(lambda: self._held() == (self._threads, self._files), "end of threads")

    def _held(self) -> tuple[int, int]:
        process = Path(f"/proc/{self._node.pid}")
        return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._count.items())
        return (
            f"<Outages {kinds}; offline within {max(self._offline_s, default=0):.2f} s, "
            f"online within {max(self._online_s, default=0):.2f} s of its return, "
            f"{self._gaps} frames told as camera_gap; {self._threads} threads, {self._files} files>"
        )
