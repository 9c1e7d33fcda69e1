"""Results a second with the journal over without it, on tmpfs and on disk.

Real broker, daemon as a subprocess, a model so small that MQTT and the journal are what is left
to do. Most of what a node takes by default is under way. Triggers ask for ten frames; those of a
single frame, which costs an acceptance, a done and an end of its own, are told without a limit.
Without: the same daemon with a journal that keeps nothing but the ids, in memory. Turn by turn, so
that whatever else the machine does meets all alike; the median of the rounds counts.

What a single frame loses is not won back by fewer statements. All rows of a kind that a turn writes
were once put into one, by VALUES of many rows: a third of the statements, each of which gives up
the interpreter's lock, but as much work or more for SQLite, no shorter turns beside busy threads,
and no gain in results that stood out of the noise. On a disk a turn waits for it besides: neither
an acceptance nor a done may go out before the disk has it.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, tiny

LIMIT = 0.9
ROUNDS = 5
ROUND_S = 2.0
UNDER_WAY = 24
WARM = 60


class Measured(Node):
    """A node that stands ready for one round after the other."""

    def __init__(self, folder: Path, state: Path, port: int, film: Path, name: str) -> None:
        folder.mkdir()
        camera = (
            f'[[camera]]\nname = "c"\nsource = "{film}"\nfps = 10\nbuffer = 30\nmodels = ["m"]\n'
        )
        super().__init__(folder, port, camera + tiny("m"), name)
        text = self.config.read_text()
        self.config.write_text(text.replace(f'"{folder}/state"', f'"{state}"'))
        self.rates: list[float] = []

    def launch(self) -> None:
        if self.name != "without":
            super().launch()
            return
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, self.config], stdout=log, stderr=log, env=self._env
            )


def main() -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("journal: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    worst = 1.0
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path(__file__).parents[2])))
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        broker = Mosquitto(program, disk, free_port())
        broker.start()
        stack.callback(broker.stop)
        film = make_video(disk / "film.mp4", 50, (320, 240))
        states = {"without": disk / "none", "tmpfs": memory / "state", "disk": disk / "state"}
        nodes = {
            name: Measured(disk / name, state, broker.port, film, name)
            for name, state in states.items()
        }
        for frames in (10, 1):
            for node in nodes.values():
                node.rates.clear()
            for _ in range(ROUNDS):
                for node in nodes.values():
                    node.rates.append(_rate(node, broker.port, frames))
            medians = {name: statistics.median(node.rates) for name, node in nodes.items()}
            for name in ("tmpfs", "disk"):
                ratio = medians[name] / medians["without"]
                worst = min(worst, ratio) if frames > 1 else worst
                limit = f" (limit {LIMIT:g})" if frames > 1 else ""
                print(
                    f"triggers of {frames} frames, journal on {name}: {medians[name]:.0f} results a"
                    f" second over {medians['without']:.0f} without: {ratio:.2f}{limit}"
                )
    return int(worst < LIMIT)


def _rate(node: Measured, port: int, frames: int) -> float:
    """Results a second while `UNDER_WAY` triggers are kept open."""
    with node.running(), Books.open(port, node.name) as books:
        books.wait_text("c/availability", "online")
        books.wait_done(books.send_trigger("c", {"before": 0, "after": 12, "at": _now()}))
        ids: list[str] = []

        def fire() -> None:
            now = time.time_ns()
            books._client.publish(
                f"{books.prefix}c/trigger",
                b'{"id": "%s-%d", "mode": "window", "before": %d}'
                % (node.name.encode(), now, frames),
                1,
            )
            ids.append(f"{node.name}-{now}")

        return _drive(books, fire)


def _now() -> str:
    """For a trigger that may have waited in the broker."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _drive(books: Books, fire: Any) -> float:
    for _ in range(UNDER_WAY):
        fire()
    seen = results = dones = 0
    begun = ended = 0.0
    while not ended:
        fresh = books.wait_for(lambda all_, at=seen: list(all_[at:]) or None)
        seen += len(fresh)
        for message in fresh:
            results += message.leaf == "result" and bool(begun)
            if message.leaf == "done":
                dones += 1
                fire()
            if dones == WARM and not begun:
                begun = message.arrived_s
            if begun and message.arrived_s - begun > ROUND_S:
                ended = message.arrived_s
    return results / (ended - begun)


@contextmanager
def _transaction(*, durable: bool) -> Any:
    yield


def _serve_without(config: Path) -> None:
    """The daemon with a journal that writes nothing."""
    from framebuf import config as configuration
    from framebuf.service import crash, daemon, signals, storage, systemd

    class Without:
        def __init__(self) -> None:
            self.path = Path("none")
            self.number = 0
            self.orders: dict[int, Any] = {}
            self.ended: dict[tuple[str, str], tuple[int, bytes]] = {}
            self.transaction = _transaction

        def accept(self, order: Any, _: object) -> int:
            self.number += 1
            self.orders[self.number] = order
            return self.number

        def advance(self, *_: object) -> None:
            pass

        claim = attempt = advance

        def finish(self, number: int, done: bytes, _now: int) -> None:
            order = self.orders.pop(number)
            self.ended[order.camera, order.id] = (order.received.utc_ns, done)

        def claims(self, _: str) -> list[Any]:
            return []

        def find(self, camera: str, id: str) -> tuple[int, bytes] | None:
            return self.ended.get((camera, id))

        def __len__(self) -> int:
            return len(self.ended)

        def close(self) -> None:
            pass

    class Nowhere:
        @staticmethod
        def open(*_: object) -> Any:
            return Without(), []

    storage.Journal = Nowhere  # type: ignore[misc, assignment]
    systemd.log_to_journal_or_stderr("INFO")
    node = daemon.Daemon(configuration.load(config))
    crash.end_process_when_told()
    signals.stop_on_signals(node)
    node.run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve_without(Path(sys.argv[1]))
    else:
        sys.exit(main())
