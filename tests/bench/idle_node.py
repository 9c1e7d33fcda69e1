"""What one node costs while nobody triggers it, and what the command line costs.

Two daemons on a real mosquitto, each with one camera of 640×480 that gives one frame a second and
ten seconds of history (9 MiB of shared memory, told apart): one with a folder of pictures and a
simulated NPU, which needs neither video library nor onnxruntime; one with a video file and the
same small network on the CPU, which needs both. For each: from the shell to ready, in seconds by
the clock and of CPU; memory, private (RssAnon) and with its share of what others map too (Pss);
then a minute of doing nothing: CPU, wake-ups, messages.

The figures are for reading. What is held, and exits 1 beyond its limit, are ratios to what Python
and its libraries cost on the same machine, and counts.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.ports import free_port
from tests.service.listener import Listener
from tests.service.numbered import make_video
from tests.service.parts import FRAMEBUF, REPO, Mosquitto, Node, tiny

HELP_LIMIT = 1.8
"""CPU of `framebuf --help` over that of importing typer."""
START_LIMIT = 4.0
MEMORY_LIMIT = 2.5
"""CPU until ready, and private memory, over those of importing the libraries that it uses."""
WAKE_UPS_LIMIT = 8.0
"""A second: one each of the main thread, the requests, the connection and the camera."""
MESSAGES_LIMIT = 3
"""A minute: the stats, and perhaps what is newly known of a camera."""
MINUTE_S = 60.0
LIBRARIES = "import cv2, msgspec, numpy, sqlite3, paho.mqtt.client"
HELPS = 15
SIMULATED = (
    f'[[model]]\nname = "tiny"\npath = "{REPO}/tests/assets/tiny-rk3588-i8-batch{{1,4,8}}.rknn"\n'
    'platform = "sim:rk3588"\ntask = "embed"\nruntimes = 3\n'
)


@dataclass(frozen=True)
class Seen:
    """A process at one moment."""

    cpu_s: float
    wake_ups: int
    """Voluntary context switches of all its threads."""
    private_mib: float
    pss_mib: float
    shared_mib: float
    """Of Pss: memory files, the rings."""
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Seen:
        process = Path(f"/proc/{pid}")
        status = (process / "status").read_text()
        rollup = (process / "smaps_rollup").read_text()
        ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return cls(
            cpu_s=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
            wake_ups=sum(map(_wake_ups, (process / "task").iterdir())),
            private_mib=_kib(status, "RssAnon") / 1024,
            pss_mib=_kib(rollup, "Pss") / 1024,
            shared_mib=_kib(rollup, "Pss_Shmem") / 1024,
            threads=_kib(status, "Threads"),
            files=len(list((process / "fd").iterdir())),
        )


def _wake_ups(task: Path) -> int:
    try:
        return _kib((task / "status").read_text(), "voluntary_ctxt_switches")
    except FileNotFoundError:  # it has just ended
        return 0


def _kib(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"no {name} in {text}")
    return int(match[1])


def cpu_ms(command: list[str | Path]) -> float:
    """Of the whole process, the least of several runs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

    return min(once() for _ in range(HELPS))


def private_mib(imports: str) -> float:
    """Memory of a Python that has imported so much."""
    code = f"{imports}\nprint(open('/proc/self/status').read())"
    said = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        for _ in range(3)
    ]
    return statistics.median(_kib(each.stdout, "RssAnon") / 1024 for each in said)


def start(node: Node, imports: str) -> tuple[Seen, bool]:
    """Until its history is full."""
    libraries_ms, base_mib = cpu_ms([sys.executable, "-c", imports]), private_mib(imports)
    began = time.monotonic()
    node.start()
    took_s = time.monotonic() - began
    cpu_s = Seen.of(node.pid).cpu_s
    node.wait_log("is online")
    node.wait_log("connected to the broker")
    time.sleep(12.0)
    now = Seen.of(node.pid)
    start_ratio, memory_ratio = cpu_s * 1e3 / libraries_ms, now.private_mib / base_mib
    print(
        f"{node.name}: ready after {took_s:.2f} s, {cpu_s:.2f} s of CPU"
        f" ({start_ratio:.1f} × its libraries' import, {libraries_ms:.0f} ms, limit {START_LIMIT});"
        f" {now.threads} threads, {now.files} open files"
    )
    print(
        f"{node.name}: {now.private_mib:.1f} MiB private"
        f" ({memory_ratio:.2f} × its libraries, {base_mib:.1f} MiB, limit {MEMORY_LIMIT}),"
        f" Pss {now.pss_mib:.1f} MiB of which {now.shared_mib:.1f} are the ring"
    )
    return now, start_ratio <= START_LIMIT and memory_ratio <= MEMORY_LIMIT


def idle(port: int, nodes: dict[Node, Seen]) -> bool:
    """A minute of nothing."""
    with Listener("127.0.0.1", port, ["framebuf/#"]) as listener:
        listener.start()
        for node in nodes:
            for leaf in ("status", "info", "gate/availability"):  # what is retained
                topic = f"framebuf/{node.name}/{leaf}"
                listener.wait_message(lambda m, topic=topic: m.topic == topic, what=topic)
        heard = len(listener.messages)
        before = {node: Seen.of(node.pid) for node in nodes}
        time.sleep(MINUTE_S)
        after = {node: Seen.of(node.pid) for node in nodes}
        said = [message.topic for message in listener.messages[heard:]]
    good = True
    for node in nodes:
        cpu = (after[node].cpu_s - before[node].cpu_s) / MINUTE_S
        wakes = (after[node].wake_ups - before[node].wake_ups) / MINUTE_S
        topics = [topic for topic in said if topic.startswith(f"framebuf/{node.name}/")]
        print(
            f"{node.name}: idle {cpu * 100:.2f} % of a core,"
            f" {wakes:.1f} wake-ups a second (limit {WAKE_UPS_LIMIT:g}),"
            f" {len(topics)} messages a minute (limit {MESSAGES_LIMIT}):"
            f" {', '.join(sorted(set(topics))) or 'none'}"
        )
        good &= wakes <= WAKE_UPS_LIMIT and len(topics) <= MESSAGES_LIMIT
    return good


def paint(folder: Path) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 480, 640, 3), np.uint8)
    for at, picture in enumerate(noise):
        cv2.imwrite(str(folder / f"{at}.png"), cv2.blur(picture, (9, 9)))
    return folder


def camera(source: Path) -> str:
    return (
        f'[[camera]]\nname = "gate"\nsource = "{source}"\nfps = 1\nbuffer = "10s"\n'
        'models = ["tiny"]\n'
    )


def main() -> int:
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        print("idle_node: no mosquitto; apt install mosquitto", file=sys.stderr)
        return 1
    help_ms = cpu_ms([FRAMEBUF, "--help"])
    ratio = help_ms / cpu_ms([sys.executable, "-c", "import typer"])
    print(
        f"framebuf --help: {help_ms:.0f} ms of CPU,"
        f" {ratio:.2f} × importing typer (limit {HELP_LIMIT})"
    )
    good = ratio <= HELP_LIMIT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(program, folder, free_port())
        broker.start()
        pictures, film = paint(folder / "pictures"), make_video(folder / "film.mp4", 50, fps=1)
        kinds = {
            "pictures-simulated": (camera(pictures) + SIMULATED, LIBRARIES),
            "video-onnx": (camera(film) + tiny(), f"{LIBRARIES}, av, onnxruntime"),
        }
        nodes: dict[Node, Seen] = {}
        try:
            for title, (table, imports) in kinds.items():
                (folder / title).mkdir()
                node = Node(folder / title, broker.port, table, title)
                nodes[node], fine = start(node, imports)
                good &= fine
            good &= idle(broker.port, nodes)
        finally:
            for node in nodes:
                node.stop()
            broker.stop()
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
