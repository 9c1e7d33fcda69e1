"""A fleet on one broker: NODES of the product's parts, many in a process, and DAEMONS whole ones.

All on etc/mosquitto/fleet.conf, in plain TCP on this machine, an account a node. Accelerators are
simulated; so are the cameras of the NODES, while the DAEMONS read small pictures. Broker, nodes and
who looks on share the cores of one machine: what the figures tell of a fleet's, they tell at worst.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import resource
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fleet.census import Census
from tests.fleet.crowds import A_PROCESS, Crowds
from tests.ports import free_port
from tests.service.account import PASSWORD
from tests.service.fleet_broker import fleet_broker
from tests.service.parts import REPO, Mosquitto, Node

NODES = int(os.environ.get("NODES", "1000"))
DAEMONS = int(os.environ.get("DAEMONS", "20"))
BACK_S = 30.0
"""All nodes are back so long after the broker listens again."""
OUTAGE_S = 20.0
SPARE_FILES = 300
SIMULATED = (
    f'[[model]]\nname = "tiny"\npath = "{REPO}/tests/assets/tiny-rk3588-i8-batch{{1,4,8}}.rknn"\n'
    'platform = "sim:rk3588"\ntask = "embed"\nruntimes = 3\n'
)


def say(line: str) -> None:
    print(line, flush=True)


@pytest.fixture(scope="module", autouse=True)
def _open_files() -> Iterator[None]:
    """Raises this process's limit of open files; the broker that it starts has the same."""
    needed = max(A_PROCESS * 14, NODES + DAEMONS) + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(
            f"{NODES} nodes need {needed} open files, the hard limit (ulimit -Hn) is {hard}: "
            "raise it, or run with fewer, NODES=500"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Fleet:
    """The broker, who is on it, and who looks on."""

    def __init__(
        self, broker: Mosquitto, port: int, crowds: Crowds, daemons: Sequence[Node]
    ) -> None:
        self.broker = broker
        self.operators_port = port
        self.crowds = crowds
        self.daemons = daemons
        self.names = [f"n-{at:04}" for at in range(NODES)] + [node.name for node in daemons]

    def broker_mib(self) -> float:
        status = Path(f"/proc/{self.broker.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) / 1024

    def broker_cpu_s(self) -> float:
        stat = Path(f"/proc/{self.broker.pid}/stat").read_text()
        return sum(map(int, stat.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def fleet(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    rings = Path(f"/dev/shm/framebuf-test-fleet-{os.getpid()}")
    password = folder / "password"
    password.write_text(PASSWORD)
    names = [f"n-{at:04}" for at in range(NODES)]
    port, operators_port = free_port(), free_port()
    daemons = [_daemon(folder / f"d-{at:03}", port, password) for at in range(DAEMONS)]
    (folder / "broker").mkdir()
    broker = fleet_broker(
        tool, folder / "broker", port, operators_port,
        nodes=[*names, *(node.name for node in daemons)], operators=("trigger", "viewer"),
    )  # fmt: skip
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, rings, ignore_errors=True)
        broker.start()
        stack.callback(broker.stop)
        # The journals where the rings are: a thousand that write to one disk are no fleet
        crowds = Crowds(names, _made(rings / "journals"), _made(rings / "rings"), port, password)
        stack.callback(crowds.stop)
        for node in daemons:
            stack.callback(node.stop)
        yield Fleet(broker, operators_port, crowds, daemons)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _daemon(folder: Path, port: int, password: Path) -> Node:
    (folder / "pictures").mkdir(parents=True)
    for at in range(2):
        cv2.imwrite(str(folder / "pictures" / f"{at}.png"), np.full((48, 64, 3), at, np.uint8))
    table = (
        f'[[camera]]\nname = "gate"\nsource = "{folder}/pictures"\nfps = 1\nbuffer = 20\n'
        f'models = ["tiny"]\nstale_after = "20s"\ntrigger = {{ max_age = "60s" }}\n'
    )
    account = f'username = "{folder.name}"\npassword_file = "{password}"\n'
    return Node(folder, port, table + SIMULATED, folder.name, mqtt=account)


def test_a_fleet_is_seen_triggered_and_comes_back_after_its_broker_restarts(fleet: Fleet) -> None:
    """One story, told in order: each part begins where the one before ends."""
    say("")
    _arrive(fleet)
    _is_seen_by_who_comes_late(fleet)
    with Census(fleet.operators_port, "trigger", ("+/status", "+/+/ack", "+/+/result", "+/+/done",
                                                  "+/ack")) as census:  # fmt: skip
        assert census.wait(lambda: len(census.retained("status")) == len(fleet.names), 60)
        _trigger_all(fleet, census, "all-1")
        _restart(fleet, census, 0.0)
        _restart(fleet, census, OUTAGE_S)
        _trigger_all(fleet, census, "all-2")
        for id in ("all-1", "all-2"):  # and nothing came twice since
            _check_answers(fleet, census, id)
    _cost(fleet)


def _arrive(fleet: Fleet) -> None:
    empty_mib = fleet.broker_mib()
    began = time.monotonic()
    for node in fleet.daemons:
        node.launch()
    fleet.crowds.wait_ready()
    assert fleet.crowds.wait_greeted(0.0, NODES, 120), "nodes do not connect"
    for node in fleet.daemons:
        node.wait_log("ready: cameras")
        node.wait_log("connected to the broker")
    with Census(fleet.operators_port, "viewer", ("+/+/availability",)) as seen:
        all_online = Counter({b"online": len(fleet.names)})
        assert seen.wait(
            lambda: Counter(seen.newest("gate/availability").values()) == all_online, 60
        )
    say(
        f"{NODES} nodes in {len(fleet.crowds)} processes and {DAEMONS} daemons, on accelerators "
        f"that are simulated: all online {time.monotonic() - began:.1f} s after their start"
    )
    say(f"broker: {empty_mib:.1f} MiB when empty, {fleet.broker_mib():.1f} MiB with all")


def _is_seen_by_who_comes_late(fleet: Fleet) -> None:
    began = time.monotonic()
    wanted = {
        "status": {b"online"},
        "gate/availability": {b"online"},
        "info": None,
    }
    with Census(fleet.operators_port, "viewer", ("+/status", "+/info", "+/+/availability")) as late:

        def complete() -> bool:
            return all(
                len(late.retained(leaf)) == len(fleet.names)
                and (values is None or set(late.retained(leaf).values()) == values)
                for leaf, values in wanted.items()
            )

        assert late.wait(complete, 60), {
            leaf: (len(late.retained(leaf)), Counter(late.retained(leaf).values()).most_common(2))
            for leaf in wanted
        }
        for leaf in wanted:
            assert set(late.retained(leaf)) == set(fleet.names)
    say(
        f"a subscriber that comes late sees {len(wanted)} × {len(fleet.names)} retained states "
        f"in {time.monotonic() - began:.2f} s"
    )


def _trigger_all(fleet: Fleet, census: Census, id: str) -> None:
    at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    trigger = {"id": id, "at": at, "cameras": ["gate"], "mode": "window", "before": 1}
    began = time.monotonic()
    census.publish([f"{name}/trigger" for name in fleet.names], trigger)
    sent = time.monotonic()

    def answered() -> bool:
        return len(census.answers(id, "done")) >= len(fleet.names)

    all_came = census.wait(answered, 90)
    took = time.monotonic() - began
    _check_answers(fleet, census, id)
    assert all_came
    done = sorted(census.heard_since("gate/done", began).values())
    say(
        f"one trigger to all, {id}: the broker has {len(fleet.names)} triggers after "
        f"{sent - began:.2f} s; ack, result and done of each, once, after {took:.2f} s (half of "
        f"them after {statistics.median(done) - began:.2f} s); broker {fleet.broker_mib():.1f} MiB"
    )


def _check_answers(fleet: Fleet, census: Census, id: str) -> None:
    """Ack, result and done of each node, each exactly once."""
    for leaf, what in (("ack", "accepted"), ("result", "result"), ("done", "complete")):
        expected = Counter({f"{name} {what}": 1 for name in fleet.names})
        heard = census.answers(id, leaf)
        odd = {key: count for key, count in heard.items() if expected[key] != count}
        missing = sorted(expected.keys() - heard.keys())
        assert heard == expected, f"{leaf}: {len(missing)} missing {missing[:5]}, odd {odd}"


def _restart(fleet: Fleet, census: Census, outage_s: float) -> None:
    fleet.broker.stop()
    time.sleep(outage_s)
    tries = [count for each in fleet.crowds.figures() for count in each["failures"].values()]
    began = time.monotonic()
    fleet.broker.start()
    crowd_is_back = fleet.crowds.wait_greeted(began, NODES, 2 * BACK_S)

    def all_are_back() -> bool:
        return len(census.heard_since("status", began, b"online")) == len(fleet.names)

    missing = {*fleet.names} - {node for node, _ in fleet.crowds.greeted(began)}
    assert crowd_is_back, f"not back: {sorted(missing)[:5]}"
    assert census.wait(all_are_back, 2 * BACK_S), "not all say that they are online"
    greeted = fleet.crowds.greeted(began)
    last_s = max(census.heard_since("status", began, b"online").values()) - began
    say(
        f"the broker away for {outage_s:g} s and a restart: all are back {last_s:.1f} s after its "
        f"start (limit {BACK_S:g}); {max(tries)} attempts of a node at most meanwhile; broker "
        f"{fleet.broker_mib():.1f} MiB"
    )
    say(_histogram([at_s - began for _, at_s in greeted]))
    often = [node for node, count in Counter(node for node, _ in greeted).items() if count > 1]
    assert not often, f"connected more than once: {often[:5]}"
    assert last_s <= BACK_S


def _histogram(seconds: Sequence[float], step_s: float = 0.5, width: int = 60) -> str:
    """When the nodes were back, in steps of half a second."""
    counts = Counter(int(each / step_s) for each in seconds)
    most = max(counts.values())
    return "\n".join(
        f"  {at * step_s:5.1f} s {counts[at]:5}  {'#' * -(-counts[at] * width // most)}"
        for at in range(max(counts) + 1)
    )


def _cost(fleet: Fleet) -> None:
    before, broker_before = fleet.crowds.figures(), fleet.broker_cpu_s()
    began = time.monotonic()
    time.sleep(20.0)
    after, broker_after = fleet.crowds.figures(), fleet.broker_cpu_s()
    took = time.monotonic() - began
    idle = sum(a["cpu_s"] - b["cpu_s"] for a, b in zip(after, before, strict=True)) / took
    memory = sum(each["memory_mib"] for each in after)
    say(
        f"the crowd, idle with a frame a second each: {idle * 100:.0f} % of a core, "
        f"{memory:.0f} MiB private in {len(after)} processes, "
        f"{sum(each['threads'] for each in after)} threads, "
        f"{max(each['files'] for each in after)} open files in one process at most"
    )
    say(
        f"the broker, with all idle: {(broker_after - broker_before) / took * 100:.1f} % of a core,"
        f" {fleet.broker_mib():.1f} MiB"
    )
    for node in fleet.daemons[:1]:
        say(f"a whole daemon: {node.anonymous_kib() / 1024:.1f} MiB private")
