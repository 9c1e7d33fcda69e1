"""Trigger to first result and to done, of windows of 1, 8 and 90 frames, from either store.

One made-up film of 1280×720, H.264, 30 frames a second, a key frame each second, is a daemon's
camera with store = "raw", then with store = "encoded"; the small network answers. Prints medians in
milliseconds, and what the encoded store takes over the raw one; nothing has a limit here, for it
is the camera's distance of key frames that decides. Exits 1 only where a window is not complete.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import idle
from tests.ports import free_port
from tests.service.books import Books
from tests.service.parts import Mosquitto, Node, tiny

WINDOWS = (1, 8, 90)
ROUNDS = 12
SIZE = (1280, 720)
FILM_S = 20


def measure(folder: Path, port: int, film: Path, store: str) -> dict[int, tuple[float, float]]:
    """By window: median milliseconds to the first result, and to done."""
    table = (
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nbuffer = 95\nmemory = "600 MiB"\n'
        f'store = "{store}"\nmodels = ["tiny"]\n{tiny()}'
    )
    node = Node(folder, port, table, f"enc-{store}")
    found = {}
    with node.running(), Books.open(port, node.name) as books:
        books.wait_text("gate/availability", "online")
        books.wait_done(books.send_trigger("gate", {"mode": "window", "before": 0, "after": 95}))
        for frames in WINDOWS:
            first, done = [], []
            for turn in range(ROUNDS + 2):
                sent = time.monotonic()
                id = books.send_trigger("gate", {"mode": "window", "before": frames})
                result = books.wait_results(id, 1)[0]
                end = books.wait_done(id)
                if end.document["event_type"] != "complete":
                    raise RuntimeError(f"{store}, {frames} frames: {end.document}")
                if turn > 1:  # else it warms up
                    first.append(1e3 * (result.arrived_s - sent))
                    done.append(1e3 * (end.arrived_s - sent))
            found[frames] = (statistics.median(first), statistics.median(done))
    return found


def main() -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("encoded: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = idle.make_film(folder / "film.mp4", FILM_S, SIZE)
        broker = Mosquitto(program, folder, free_port())
        broker.start()
        try:
            times = {
                store: measure(folder, broker.port, film, store) for store in ("raw", "encoded")
            }
        finally:
            broker.stop()
    for frames in WINDOWS:
        (raw_first, raw_done), (first, done) = times["raw"][frames], times["encoded"][frames]
        print(
            f"window of {frames:2}: to first result raw {raw_first:.1f} ms, encoded {first:.1f} ms "
            f"({first - raw_first:+.1f}); to done raw {raw_done:.1f} ms, encoded {done:.1f} ms "
            f"({done / raw_done:.1f} times)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
