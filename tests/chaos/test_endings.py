"""Each way in which the daemon ends badly, under a supervisor that plays systemd.

All nodes start at once and fail side by side, for most of the time goes into waiting.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.faults import inject
from tests.chaos.supervisor import EX_CONFIG, Life, Supervisor
from tests.service.books import Books
from tests.service.parts import ASSETS, FRAMEBUF, Mosquitto, Node, films, tiny

WATCHDOG_S = 8.0
"""All nodes start at once: one that is whole must be fed though the machine is busy with that."""


@dataclass(frozen=True)
class Ending:
    """A fault, and what sets it off."""

    fault: str = ""
    """Python, run in the first process before framebuf; the second one is whole."""
    trigger: dict[str, object] | None = None
    watchdog_s: float | None = WATCHDOG_S
    restart_s: float = 600.0
    """All restart alike, so a few are enough."""


HUNG_CAMERA = (
    "from framebuf.capture.pictures import Pictures\nPictures.grab = hang\n"
    "from framebuf.service import hung\nhung.HUNG_NS = 2 * 10**9\n"
)
HUNG_INFERENCE = (  # not before the first trigger: models are timed when they are loaded
    "from framebuf.models.runtimes.onnx import OnnxRuntime\n"
    "from framebuf.service.requests import Requests\n"
    "receive = Requests.receive\n"
    "def received(*message):\n"
    "    OnnxRuntime.infer = hang\n"
    "    receive(*message)\n"
    "Requests.receive = received\n"
)
OWN_S = "from framebuf.service import watchdog\nwatchdog.OWN_S = 6.0\n"
ONE = {"before": 1, "mode": "window"}
ENDINGS = {
    "callback": Ending(
        "from framebuf.service.requests import Requests\nRequests.receive = explode",
        ONE,
        restart_s=0.1,
    ),
    # it stops all else before it ends, for which the watchdog must leave it the time
    "main": Ending(
        "from framebuf.service.state import State\nState.pictures = explode", watchdog_s=30.0
    ),
    "inference": Ending(HUNG_INFERENCE, ONE),
    "mqtt": Ending("from framebuf.service.requests import Requests\nRequests.receive = hang", ONE),
    "publish": Ending(
        "from framebuf.service.publisher import Publisher\n"
        "take = Publisher._take\n"
        "def once(self, event):\n"
        "    take(self, event)\n"
        "    self._run = self._finish = lambda: None\n"
        "    self._events.put('stop')\n"
        "Publisher._take = once"
    ),
    "requests": Ending("from framebuf.service.intake import Intake\nIntake.take = hang", ONE),
    "encoder": Ending(
        "from framebuf.service import drawing, encoder\n"
        "encoder.Encoder.__init__.__defaults__ = (1.0, hang)",
        ONE | {"images": "all"},
    ),
    "alone": Ending(
        OWN_S + "from framebuf.service.state import State\nState.changes = hang", watchdog_s=None
    ),
    "alone-inference": Ending(OWN_S + HUNG_INFERENCE, ONE, watchdog_s=None),
    "alone-loading": Ending(
        "from framebuf.service import engines\nengines.LOAD_S = 5\nengines.open_network = hang\n",
        watchdog_s=None,
    ),
    "slow": Ending(
        "from framebuf.service import engines\n"
        "opened = engines.open_network\n"
        "def slow(*model):\n"
        "    time.sleep(1)\n"
        "    return opened(*model)\n"
        "engines.open_network = slow"
    ),
    "camera": Ending(HUNG_CAMERA, restart_s=0.1),
}


@pytest.fixture(scope="module")
def nodes(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Supervisor]]:
    found = {}
    with ExitStack() as stack:
        for name, ending in ENDINGS.items():
            folder = tmp_path_factory.mktemp(name)
            node = Node(folder, mosquitto.port, films(ASSETS / "photos") + tiny(), name=name)
            stack.callback(shutil.rmtree, node.ring_dir, ignore_errors=True)
            env = inject(folder / "fault", ending.fault)
            always = name == "camera"  # a driver that hangs does so again
            found[name] = stack.enter_context(
                Supervisor(
                    [FRAMEBUF, "run", "-c", node.config], folder,
                    watchdog_s=ending.watchdog_s, restart_s=ending.restart_s,
                    env=lambda life, env=env, always=always: env if always or not life else {},
                )
            )  # fmt: skip
        with Books.open(mosquitto.port, "+") as books:
            for name, ending in ENDINGS.items():
                if ending.trigger:
                    books.wait_message(
                        lambda m, name=name: m.topic == f"framebuf/{name}/gate/availability"
                        and m.payload == b"online",
                        what=f"camera of {name}",
                    )  # fmt: skip
                    payload = json.dumps(ending.trigger).encode()
                    books.publish(f"framebuf/{name}/gate/trigger", payload)
        yield found


def bitten(supervisor: Supervisor, thread: str) -> Life:
    """The first process was ended by the watchdog, for a thread's sake."""
    life = supervisor.wait_end(0)
    assert (life.bitten, life.returncode) == (True, -signal.SIGABRT)
    assert f"thread {thread} " in supervisor.log
    assert "in hang" in supervisor.log or "has ended" in supervisor.log, "not told where it hangs"
    return life


def ended(supervisor: Supervisor) -> str:
    """The first process ended itself with 1; the log."""
    life = supervisor.wait_end(0)
    assert (life.bitten, life.returncode) == (False, 1), supervisor.log
    return supervisor.log


def test_an_exception_in_a_callback_of_paho_ends_the_process(nodes):
    log = ended(nodes["callback"])
    nodes["callback"].wait_ready(1)
    assert "thread mqtt died; ending the process" in log
    assert "RuntimeError: injected" in log


def test_an_exception_on_the_main_thread_ends_the_process(nodes):
    assert "RuntimeError: injected" in ended(nodes["main"])


@pytest.mark.parametrize(
    ("name", "thread"),
    [("inference", "inference"), ("mqtt", "mqtt"), ("publish", "mqtt-publish"),
     ("requests", "requests"), ("encoder", "encoder")],
)  # fmt: skip
def test_a_thread_that_hangs_is_named_and_the_watchdog_ends_the_process(nodes, name, thread):
    bitten(nodes[name], thread)


def test_without_a_service_manager_a_hung_main_thread_ends_the_process(nodes):
    assert "in hang" in ended(nodes["alone"])


def test_without_a_service_manager_a_hung_inference_ends_the_process(nodes):
    log = ended(nodes["alone-inference"])
    assert "thread inference on " in log
    assert "in hang" in log


def test_without_a_service_manager_a_model_that_never_loads_ends_the_process(nodes):
    assert "in hang" in ended(nodes["alone-loading"])


def test_while_models_load_the_service_manager_is_asked_for_time(nodes):
    life = nodes["slow"].wait_ready(0)
    first = {name: at_s for at_s, fields in reversed(life.told) for name in fields}
    assert life.said("EXTEND_TIMEOUT_USEC") == ["90000000"] * 2
    assert life.said("STATUS")[:2] == ["loading model tiny", "timing the models"]
    assert first["READY"] - first["EXTEND_TIMEOUT_USEC"] > 1.0


def test_a_hung_camera_is_offline_and_restarts_the_process_once(nodes, mosquitto):
    supervisor = nodes["camera"]
    log = ended(supervisor)
    assert "camera gate hangs; only a new process gets it back" in log
    supervisor.wait_for(lambda: "less than 10 min ago" in supervisor.log, "word about the second")
    life = supervisor.life
    fed = len(life.said("WATCHDOG"))
    supervisor.wait_for(lambda: len(life.said("WATCHDOG")) > fed + 5, "food for the watchdog")
    assert len(supervisor.lives) == 2
    with Books.open(mosquitto.port, "camera") as books:
        books.wait_text("gate/availability", "offline")


def test_kill_9_is_followed_by_a_new_process_and_sigterm_is_not(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    node = Node(tmp_path, mosquitto.port, films(ASSETS / "photos") + tiny(), name="killed")
    with Supervisor([FRAMEBUF, "run", "-c", node.config], tmp_path) as supervisor:
        first = supervisor.wait_ready(0)
        supervisor.kill()
        second = supervisor.wait_ready(1)
        assert first.returncode == -signal.SIGKILL
        life = supervisor.kill(signal.SIGTERM)
        assert supervisor.wait_given_up() is life is second
        assert life.returncode == 0
        assert life.said("STOPPING") == ["1"]
    shutil.rmtree(node.ring_dir)


def test_a_configuration_that_no_restart_mends_is_not_restarted(tmp_path: Path) -> None:
    node = Node(tmp_path, 1, films(ASSETS / "photos"), name="wrong")  # no such model
    with Supervisor([FRAMEBUF, "run", "-c", node.config], tmp_path) as supervisor:
        assert supervisor.wait_given_up().returncode == EX_CONFIG
    assert len(supervisor.lives) == 1
