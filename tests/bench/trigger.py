"""Trigger to result, less the inference: what the way through broker and daemon costs.

A client publishes single-frame triggers one after the other and takes the time until the result
is back, over a real broker and the daemon as a subprocess. From each time the inference that the
result tells (`ms.infer`) is subtracted. Milliseconds, for they are what the limit is about; both
ends of MQTT are in them.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, nanodet, tiny

LIMIT_MS = 5.0
WARM = 20
ROUNDS = 150


def main() -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("trigger: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(program, folder, free_port())
        broker.start()
        film = make_video(folder / "film.mp4", 50)
        try:
            for model in (tiny("m"), nanodet("m")):
                worst = max(worst, _measure(folder, broker.port, film, model))
        finally:
            broker.stop()
    return int(worst > LIMIT_MS)


def _measure(folder: Path, port: int, film: Path, model: str) -> float:
    camera = f'[[camera]]\nname = "c"\nsource = "{film}"\nfps = 10\nbuffer = 20\nmodels = ["m"]\n'
    overheads = []
    name = f"n{len(model)}"  # a session that is resumed would make the first trigger stale
    with Node(folder, port, camera + model, name).running(), Books.open(port, name) as books:
        books.wait_text("c/availability", "online")
        for turn in range(WARM + ROUNDS):
            sent = time.monotonic()
            id = books.send_trigger("c", {"mode": "window", "before": 1})
            result = books.wait_results(id, 1)[0]
            took_ms = (result.arrived_s - sent) * 1e3
            books.wait_done(id)
            if turn >= WARM:
                overheads.append(took_ms - result.document["ms"]["infer"])
    median = statistics.median(overheads)
    p95 = statistics.quantiles(overheads, n=20)[-1]
    network = Path(model.split('path = "')[1].split('"', 1)[0]).stem
    print(
        f"trigger to result less inference, {network}: median {median:.2f} ms, "
        f"95 % {p95:.2f} ms, n={len(overheads)} (limit {LIMIT_MS:g} ms)"
    )
    return median


if __name__ == "__main__":
    sys.exit(main())
