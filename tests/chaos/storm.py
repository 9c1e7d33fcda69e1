"""A storm: the daemon is killed again and again, and all around it breaks."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.chaos.faultlog import Fault, FaultLog
from tests.chaos.proxy import Proxy
from tests.chaos.sender import Sender, utc_now
from tests.chaos.supervisor import Life, Supervisor
from tests.ports import free_port
from tests.service.books import Books
from tests.service.listener import BooksError
from tests.service.parts import FRAMEBUF, REPO, Mosquitto, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.rtsp import RtspCamera

NODE, CAMERA = "storm", "gate"
RATE = 10
"""Frames kept a second."""
WATCHDOG_S = 6.0
READY_S = 120.0
"""An NPU may hang at the start too, which ends after 90 s."""
QUIET_S = 15.0
"""Longer than a back-off, and than a hang until the watchdog has ended it."""
PROBE_BEFORE_S = 5.0
"""How far the trigger after each kill reaches back: beyond the kill, and two seconds more."""
FILES = ("tiny-rk3588-i8-batch1.rknn", "tiny-rk3588-i8-batch4.rknn", "tiny-rk3588-i8-batch8.rknn")


def tables(source: str, folder: Path, store: str = "raw") -> str:
    """The storm's camera and model; the model's outputs are computed by the ONNX file beside it."""
    models = folder / "models"
    models.mkdir()
    for name in FILES:
        shutil.copy(REPO / "tests" / "assets" / name, models)
    shutil.copy(REPO / "tests" / "assets" / "tiny-n.onnx", models / "tiny-rk3588-i8.onnx")
    return (
        f'[[camera]]\nname = "{CAMERA}"\nsource = "{source}"\nfps = {RATE}\nbuffer = "8s"\n'
        f'memory = "200 MiB"\nstore = "{store}"\nstale_after = "1s"\nmodels = ["tiny"]\n'
        # The session lives as long: what the broker took while the node was away is not lost
        '[camera.trigger]\nmax_age = "10m"\ndeadline = "60s"\n'
        f'[[model]]\nname = "tiny"\npath = "{models}/tiny-rk3588-i8-batch{{1,4,8}}.rknn"\n'
        'platform = "sim:rk3588"\ntask = "embed"\nresize = "stretch"\nruntimes = 3\n'
    )


class Storm:
    """The real parts of a node, what breaks them, and what was heard of it meanwhile."""

    def __init__(
        self, broker: Mosquitto, broker_state: Path, camera: RtspCamera, folder: Path, seed: int,
        *, hangs: float, errors: float = 0.005, every_s: float = 0.25, store: str = "raw",
    ) -> None:  # fmt: skip
        """`broker_state` is the broker's persistence file; probabilities are those of a run."""
        self.faults = FaultLog()
        self.chance = random.Random(seed)
        self.kills: list[tuple[float, Life]] = []
        """When the daemon was killed, monotonic, and the life that ended then."""
        self.asked_s = float("inf")
        """When the end had come, and what was open was asked for again."""
        self.probes: list[str] = []
        """The id of the trigger after each kill."""
        self._broker = broker
        self._broker_state = broker_state
        self._camera = camera
        self._stack = ExitStack()
        self.proxy = Proxy(free_port(), broker.port)
        node = Node(folder, self.proxy.port, tables(camera.url, folder, store), name=NODE)
        self.ring_dir = node.ring_dir
        self.books = Books(broker.port, NODE, "framebuf")
        self.sender = Sender(
            broker.port, f"framebuf/{NODE}/{CAMERA}/trigger", random.Random(seed + 1), every_s
        )

        def simulated(life: int) -> dict[str, str]:
            how = f"scale=0.3,jitter=0.3,errors={errors},hangs={hangs},seed={seed + life}"
            return {"FRAMEBUF_SIM": how}

        self.supervisor = Supervisor(
            [FRAMEBUF, "run", "-c", node.config], folder, watchdog_s=WATCHDOG_S, env=simulated
        )

    def __enter__(self) -> Self:
        self._camera.start()
        self._stack.callback(shutil.rmtree, self.ring_dir, ignore_errors=True)
        self.books.start()
        for part in (self.books, self.proxy, self.supervisor):
            self._stack.enter_context(part)
        try:
            self.supervisor.wait_ready(0, READY_S)
            self.books.wait_text(f"{CAMERA}/availability", "online")
            self._stack.enter_context(self.sender)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # what breaks ----------------------------------------------------------------------------

    def blow(self, kills: int, told: Callable[[int], None]) -> None:
        """So many kills of the daemon, each alone or while something else is broken.

        `told` hears how many there were, after each.
        """
        for number in range(kills):
            with self._broken():
                self._pause(1.2)
                self._kill(number)
                self._pause(0.8)
            lives = len(self.supervisor.lives)
            self.supervisor.wait_ready(lives - 1, READY_S)
            self._probe(number)
            self._pause(3.0)
            told(number + 1)

    def _pause(self, most_s: float) -> None:
        """For as long as chance says; nothing is waited for."""
        time.sleep(self.chance.uniform(0.0, most_s))

    def _kill(self, number: int) -> None:
        while (life := self.supervisor.kill()) is None:  # it is just being restarted
            time.sleep(0.01)
        self.kills.append((time.monotonic(), life))
        self.faults.add(Fault("kill", self.kills[-1][0], self.kills[-1][0]))
        lives = self.supervisor.lives
        self.supervisor.wait_for(lambda: lives[-1] is not life, f"life after kill {number}")

    def _probe(self, number: int) -> None:
        """Ask for the frames around the kill: those before it are still there."""
        id = f"probe-{number}"
        self.probes.append(id)
        before = f"{PROBE_BEFORE_S:g}s"
        self.sender.send(
            {"id": id, "mode": "window", "at": utc_now(), "before": before, "after": "300ms"}
        )

    def _broken(self) -> AbstractContextManager[None]:
        kinds: list[Callable[[], AbstractContextManager[None]]] = [
            self._withheld, self._cut, self._stalled, self._frozen, self._camera_killed,
            self._broker_restarted, self._broker_lost,
        ]  # fmt: skip
        if self.chance.random() < 0.5:
            return _nothing()
        return self.chance.choice(kinds)()

    @contextmanager
    def _withheld(self) -> Iterator[None]:
        with self.faults.during("withheld"):
            self.proxy.withhold()
            yield
            self.proxy.release()

    @contextmanager
    def _cut(self) -> Iterator[None]:
        with self.faults.during("cut"):
            self.proxy.cut(refuse=True)
            yield
            self.proxy.restore()

    @contextmanager
    def _stalled(self) -> Iterator[None]:
        with self.faults.during("stalled"):
            self.proxy.stall()
            yield
            self.proxy.go_on()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        with self.faults.during("camera_frozen"):
            self._camera.freeze()
            yield
            self._camera.thaw()

    @contextmanager
    def _camera_killed(self) -> Iterator[None]:
        with self.faults.during("camera_killed"):
            self._camera.kill()
            yield
            self._camera.start()

    @contextmanager
    def _broker_restarted(self) -> Iterator[None]:
        """It writes its state down, and has it again."""
        with self.faults.during("broker_restarted"):
            self._broker.stop()
            yield
            self._broker_back()

    @contextmanager
    def _broker_lost(self) -> Iterator[None]:
        """It is killed and begins anew: sessions, and messages that it took, are gone."""
        with self.faults.during("broker_lost"):
            self._broker.kill()
            self._broker_state.unlink(missing_ok=True)
            yield
            self._broker_back()

    def _broker_back(self) -> None:
        """The node comes to it after the books: they could not hear what it says before."""
        self.proxy.cut(refuse=True)
        self._broker.start()
        end = time.monotonic() + READY_S
        while not (self.books.is_connected() and self.sender.is_connected()):
            assert time.monotonic() < end, "the books do not find the broker again"
            time.sleep(0.02)
        while True:  # what it hears of itself, it hears of others
            word = f"{time.monotonic()}".encode()
            self.books.publish(f"framebuf/{NODE}/fence", word)
            try:
                self.books.wait_message(lambda m, word=word: m.payload == word, 1.0)
                break
            except BooksError:
                assert time.monotonic() < end, "the books hear nothing"
        self.proxy.restore()

    # the end --------------------------------------------------------------------------------

    def settle(self) -> list[str]:
        """Nothing breaks any more: until all that was accepted has its done.

        Returns the ids that a new trigger had to ask again for, as a broker that lost its state
        makes it necessary.
        """
        self.sender.pause()
        self.supervisor.wait_ready(len(self.supervisor.lives) - 1, READY_S)
        self._until_settled()
        asked_again = sorted(self.open_ids())
        self.asked_s = time.monotonic()
        for id in asked_again:
            self.sender.send(self.sender.sent[id].document)
        self._until_settled()
        self.books.fence(CAMERA)
        return asked_again

    def _until_settled(self) -> None:
        """Until nothing is open, or the node has been quiet for so long that nothing will come."""
        heard, since_s = 0, time.monotonic()
        while self.open_ids() or self.sender.under_way():
            now, news = time.monotonic(), len(self.books.messages)
            if news != heard:
                heard, since_s = news, now
            if now - since_s > QUIET_S:
                return
            time.sleep(0.2)

    def open_ids(self) -> set[str]:
        """Triggers that were accepted, or that nobody has spoken of, without done."""
        accepted, ended = set(), set()
        for message in self.books.messages:
            if message.leaf == "done":
                ended.add(message.id)
            elif message.leaf == "ack":
                rejected = message.document["status"] == "rejected"
                (ended if rejected else accepted).add(message.id)
        taken = {sent.id for sent in self.sender.taken()}
        return {id for id in taken | accepted if id in self.sender.sent} - ended


@contextmanager
def _nothing() -> Iterator[None]:
    yield
