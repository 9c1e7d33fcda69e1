"""Fifty people look at the page, and Prometheus scrapes: how much later is a first result?

The daemon as a subprocess with a real broker, the sample detector and a camera of 15 frames a
second; a client sends triggers for a single frame, one after the other, and takes the time until
the first result is back. In short turns nobody looks, and 50 do: each holds the page's event stream
and fetches pictures of the newest results as the page does, while /metrics is scraped once a
second. The viewers are one process of their own, nice: in life they are other machines. Each turn
is compared with those before and after it, for other work on this machine shows. Prints the
median of those ratios; exits 1 beyond the limit.
"""

from __future__ import annotations

import http.client
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, nanodet

LIMIT = 1.05
VIEWERS = 50
CALM_S = 3.0
TURNS = 8
ROUNDS = 15
WARM = 4


class Viewer:
    """One page: an event stream, and a connection for its pictures."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream = socket.create_connection(("127.0.0.1", port))
        self._stream.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self._pictures = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._text = b""
        self._next_s = 0.0
        self.events = 0
        self.fetched = 0

    def fileno(self) -> int:
        return self._stream.fileno()

    def read(self) -> None:
        """What has come: count it, and fetch the pictures of the results in it."""
        got = self._stream.recv(2**18)
        if not got:
            raise ConnectionError("the event stream ended")
        *events, self._text = (self._text + got).split(b"\n\n")
        self.events += len(events)
        fresh = [event for event in events if b"event: results\n" in event]
        if fresh and time.monotonic() >= self._next_s:  # the page opens the newest, so often
            self._next_s = time.monotonic() + CALM_S
            told = json.loads(fresh[-1].partition(b"data: ")[2].splitlines()[0])
            for result in told["results"][:8]:
                self._fetch(f"/api/picture/gate/{result['seq']}?width=480")

    def _fetch(self, path: str) -> None:
        try:
            self._pictures.request("GET", path)
            answer = self._pictures.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError):  # it was idle for too long
            self._pictures.close()
            self._fetch(path)
            return
        answer.read()
        self.fetched += answer.status == 200

    def close(self) -> None:
        self._stream.close()
        self._pictures.close()


def look(port: int) -> int:
    """The viewers' process: a line on standard input turns them on, the next off, and so on."""
    os.nice(19)
    while sys.stdin.readline():
        viewers = [Viewer(port) for _ in range(VIEWERS)]
        selector = selectors.DefaultSelector()
        for viewer in viewers:
            selector.register(viewer, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        scrape_s, scrapes, told, on = time.monotonic(), 0, False, True
        while on:
            for key, _ in selector.select(0.2):
                if isinstance(key.fileobj, Viewer):
                    key.fileobj.read()
                else:
                    sys.stdin.readline()
                    on = False
            if time.monotonic() >= scrape_s:
                scrape_s += 1.0
                scraper = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                scraper.request("GET", "/metrics")
                scrapes += scraper.getresponse().status == 200
                scraper.close()
            if not told and all(viewer.events for viewer in viewers):
                told = True
                print("all look", flush=True)
        for viewer in viewers:
            viewer.close()
        events, pictures = (sum(getattr(v, n) for v in viewers) for n in ("events", "fetched"))
        print(f"{events} {pictures} {scrapes}", flush=True)
    return 0


def main() -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("viewers: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(program, folder, free_port())
        broker.start()
        try:
            return _measure(folder, broker.port)
        finally:
            broker.stop()


def _measure(folder: Path, port: int) -> int:
    web = free_port()
    film = make_video(folder / "film.mp4", 60, (1280, 720))
    tables = f'[web]\nlisten = "127.0.0.1:{web}"\n' + (
        f'[[camera]]\nname = "gate"\nsource = "{film}"\nfps = 15\nbuffer = "10s"\nmodels = ["m"]\n'
    )
    alone: list[float] = []  # the median of each turn
    watched: list[float] = []
    seen = [0, 0, 0]
    command = [sys.executable, __file__, "look", str(web)]
    with (
        Node(folder, port, tables + nanodet("m"), "seen").running(),
        Books.open(port, "seen") as books,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as viewers,
    ):
        assert viewers.stdin is not None
        assert viewers.stdout is not None
        books.wait_text("gate/availability", "online")
        alone.append(_turn(books))
        for _ in range(TURNS):
            print("on", file=viewers.stdin, flush=True)
            assert viewers.stdout.readline() == "all look\n", "the viewers do not get the page"
            watched.append(_turn(books))
            print("off", file=viewers.stdin, flush=True)
            told = viewers.stdout.readline().split()
            seen = [before + int(more) for before, more in zip(seen, told, strict=True)]
            alone.append(_turn(books))
        viewers.stdin.close()
    ratios = [
        2 * turn / (before + after)
        for turn, before, after in zip(watched, alone, alone[1:], strict=False)
    ]
    ratio = statistics.median(ratios)
    print(
        f"trigger to first result, {VIEWERS} viewers and a scrape a second over nobody: "
        f"{ratio:.3f} (limit {LIMIT:g}), {TURNS} turns of {ROUNDS} from {min(ratios):.2f} to "
        f"{max(ratios):.2f}; medians {statistics.median(watched):.1f} and "
        f"{statistics.median(alone):.1f} ms; they were sent {seen[0]} events, {seen[1]} pictures; "
        f"{seen[2]} scrapes"
    )
    if min(seen) == 0:
        print("viewers: nobody saw anything", file=sys.stderr)
        return 1
    return int(ratio > LIMIT)


def _turn(books: Books) -> float:
    """The median time from a trigger to its first result, milliseconds."""
    _first_results(books, WARM)
    return statistics.median(_first_results(books, ROUNDS))


def _first_results(books: Books, rounds: int) -> list[float]:
    """Milliseconds from each trigger to its first result."""
    taken = []
    for _ in range(rounds):
        sent = time.monotonic()
        id_ = books.send_trigger("gate", {"mode": "window", "before": 1})
        taken.append((books.wait_results(id_, 1)[0].arrived_s - sent) * 1e3)
        books.wait_done(id_)
    return taken


if __name__ == "__main__":
    sys.exit(look(int(sys.argv[2])) if sys.argv[1:2] == ["look"] else main())
