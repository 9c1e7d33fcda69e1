"""What a camera costs between triggers with an encoded buffer: processor, and memory.

    python tests/bench/idle.py [SECONDS]

A made-up film stands in for a 1080p camera: H.264, 30 frames and 4 Mbit a second, a key frame each
second, noise that moves. First a bare loop of cv2.VideoCapture reads it at its pace, then a daemon
keeps it with store = "encoded", each for SECONDS (60 unless given); the ratio of their processor
times has the limit, so that a slower machine does not change it. Then four such cameras fill 60 s
each (or SECONDS, where fewer are given). Exits 1 where a limit is passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ports import free_port
from tests.service.books import Books
from tests.service.parts import Mosquitto, Node, tiny

CPU_LIMIT = 1 / 15
MEMORY_LIMIT = 1 / 100
FOUR_LIMIT_MB = 256
WIDTH, HEIGHT, RATE, BIT_RATE, GROUP = 1920, 1080, 30, 4_000_000, 30
RAW_SECOND = WIDTH * HEIGHT * 3 * RATE
FILM_S = 10


def make_film(path: Path, seconds: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Texture that moves with noise over it, ten seconds of it again and again."""
    width, height = size
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (height // 20, width // 10, 3), np.uint8)
    texture = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 13, (height + 64, width + 64, 3), np.uint8)
    rate = str(BIT_RATE)
    packets = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate, stream.gop_size = BIT_RATE, GROUP
        stream.options = {
            "preset": "veryfast", "bf": "0", "sc_threshold": "0", "maxrate": rate, "bufsize": rate,
        }  # fmt: skip
        for i in range(FILM_S * RATE):
            x, y = (int(n) for n in rng.integers(0, 64, 2))
            moved = texture[:, 3 * i % width : 3 * i % width + width]
            picture = cv2.add(moved, noise[y : y + height, x : x + width])
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            packets += [(p.is_keyframe, bytes(p)) for p in stream.encode(frame)]
        packets += [(p.is_keyframe, bytes(p)) for p in stream.encode()]
        for i in range(round(seconds * RATE)):
            packet = av.Packet(packets[i % len(packets)][1])
            packet.is_keyframe = packets[i % len(packets)][0]
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = i
            packet.duration = 1
            container.mux(packet)
    return path


def read_at_its_pace(film: str, seconds: float) -> None:
    """The bare loop, in a process of its own; prints the processor's seconds a second."""
    capture = cv2.VideoCapture(film)
    capture.read()
    begun, used = time.monotonic(), time.process_time()
    for number in range(round(seconds * RATE)):
        if not capture.read()[0]:
            capture.release()
            capture = cv2.VideoCapture(film)
            capture.read()
        time.sleep(max(0.0, begun + (number + 1) / RATE - time.monotonic()))
    print((time.process_time() - used) / (time.monotonic() - begun))


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ring_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("*.packets"))


def resident_mb(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1000 for name in ("RssAnon", "RssShmem", "RssFile")}


def tables(film: Path, names: list[str], buffer_s: int) -> str:
    return (
        "".join(
            f'[[camera]]\nname = "{name}"\nsource = "{film}"\nbuffer = "{buffer_s}s"\n'
            'store = "encoded"\nmodels = ["tiny"]\n'
            for name in names
        )
        + tiny()
    )


def one_camera(folder: Path, port: int, film: Path, seconds: float) -> tuple[float, float]:
    """Processor's seconds a second of the daemon, and bytes of a buffered second."""
    node = Node(folder, port, tables(film, ["gate"], 60), "idle1")
    with node.running(), Books.open(port, node.name) as books:
        books.wait_text("gate/availability", "online")
        time.sleep(min(5.0, seconds / 4))  # the start is over
        begun, used = time.monotonic(), processor_s(node.pid)
        time.sleep(seconds)
        passed = time.monotonic() - begun
        cost = (processor_s(node.pid) - used) / passed
        id = books.send_trigger("gate", {"mode": "window", "before": "1s"})
        newest = books.wait_done(id).document["window"]
        print(f"  the trigger at the end: {books.request(id).done['published']} frames, {newest}")
        held_s = min(60.0, passed + min(5.0, seconds / 4))
        return cost, ring_bytes(node.ring_dir) / held_s


def four_cameras(folder: Path, port: int, film: Path, seconds: float) -> float:
    """MB of all that the daemon holds in memory of its own, rings included."""
    names = ["a", "b", "c", "d"]
    node = Node(folder, port, tables(film, names, 60), "idle4")
    with node.running(), Books.open(port, node.name) as books:
        for name in names:
            books.wait_text(f"{name}/availability", "online")
        time.sleep(seconds + 8)
        rings = ring_bytes(node.ring_dir) / 1e6
        resident = resident_mb(node.pid)
        for name in names:
            id = books.send_trigger(
                name, {"mode": "window", "before": f"{seconds:g}s", "max_frames": 4}
            )
            done = books.wait_done(id).document
            if done["event_type"] != "complete":
                raise RuntimeError(f"{seconds:g} s are not held: {done}")
        text = ", ".join(f"{name} {mb:.0f} MB" for name, mb in resident.items())
        print(f"  four cameras, {seconds:g} s each: rings {rings:.0f} MB; of the process {text}")
        return rings + resident["RssAnon"]


def main(seconds: float) -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("idle: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film_s = seconds + 20
        film = make_film(folder / "film.mp4", film_s)
        bit_rate = film.stat().st_size * 8 / film_s
        print(f"  {WIDTH}×{HEIGHT}, {RATE} a second, {bit_rate / 1e6:.1f} Mbit/s, g={GROUP}")
        broker = Mosquitto(program, folder, free_port())
        broker.start()
        try:
            bare = float(
                subprocess.run(
                    [sys.executable, __file__, "--bare", film, str(seconds)],
                    check=True, capture_output=True, text=True,
                ).stdout
            )  # fmt: skip
            ours, second = one_camera(folder, broker.port, film, seconds)
            four = four_cameras(folder, broker.port, film, min(60.0, seconds))
        finally:
            broker.stop()
    ratio, memory = ours / bare, second / RAW_SECOND
    print(
        f"processor of an idle encoded camera over a bare read loop: {100 * ours:.2f} % / "
        f"{100 * bare:.1f} % of a core = 1/{1 / ratio:.1f} (limit 1/{1 / CPU_LIMIT:.0f})\n"
        f"memory of a buffered second over raw: {second / 1e6:.2f} MB / {RAW_SECOND / 1e6:.0f} MB "
        f"= 1/{1 / memory:.0f} (limit 1/{1 / MEMORY_LIMIT:.0f})\n"
        f"four encoded cameras, rings and the daemon's own memory: {four:.0f} MB "
        f"(limit {FOUR_LIMIT_MB} MB)"
    )
    return int(ratio > CPU_LIMIT or memory > MEMORY_LIMIT or four > FOUR_LIMIT_MB)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        read_at_its_pace(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
