"""One node of a crowd: the product's parts as the daemon builds them, but for three of them.

Its camera reads a made-up source, its lane and its encoder are shared with the others of the
process; the tick is the crowd's, without the stats. All else is its own: buffer, journal, requests,
publisher and connection, with their threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framebuf import config
from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.capture.camera import Camera
from framebuf.capture.pace import Pacer
from framebuf.capture.source import Grab
from framebuf.contract import Topics
from framebuf.models.chain import Chain
from framebuf.service.broker import Broker
from framebuf.service.feed import Feed
from framebuf.service.health import Counters
from framebuf.service.journal import Journal
from framebuf.service.marks import Marks
from framebuf.service.message import Message, Session
from framebuf.service.outbox import Outgoing
from framebuf.service.requests import Requests
from framebuf.service.restored import Restored
from framebuf.service.state import State
from framebuf.service.state_dir import StateDirectory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.lane import Lane
    from framebuf.models.network import Network
    from framebuf.service.encoder import Encoder

MAX_PACKET = 2**20
MODEL = "tiny"
CAMERA = "gate"


class MadeUp:
    """A source of one small grey picture a second."""

    rate = 1.0
    clock = None
    largest = 0

    def __init__(self, stop: threading.Event) -> None:
        self._pacer = Pacer(stop)
        self._shade = 0

    def measure(self) -> float | None:
        return self.rate

    def grab(self) -> Grab:
        moment = self._pacer.wait(10**9)
        self._shade = (self._shade + 1) % 256
        return Grab(moment, 48, 64, self._write)

    def _write(self, dst: NDArray[np.uint8]) -> None:
        dst[:] = self._shade

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Shared:
    """What the members of one process have together."""

    folder: Path
    """Has a journal of each."""
    rings: Path
    port: int
    password_file: Path
    boot_id: str
    model: str
    """The [[model]] table."""
    network: Network
    lane: Lane
    encoder: Encoder
    welcomed: Callable[[str], None]
    """Told the node's name at each greeting, on its publisher's thread."""


class Member:
    """Belongs to the crowd's main thread."""

    def __init__(self, name: str, state: State, broker: Broker, stack: ExitStack) -> None:
        self.name = name
        self._state = state
        self._broker = broker
        self._stack = stack

    @classmethod
    def start(cls, name: str, shared: Shared) -> Member:
        loaded = config.parse(_toml(name, shared), f"{name}.toml", shared.folder).config
        stack = ExitStack()
        topics = Topics(loaded.mqtt.base, name)
        counters = Counters()
        directory = stack.enter_context(RingDirectory.open(Path(loaded.node.ring_dir)))
        folder = stack.enter_context(StateDirectory.open(Path(loaded.node.state_dir)))
        journal, entries = Journal.open(folder.path, shared.boot_id, loaded.node.remember.ns)
        stack.callback(journal.close)
        requests: list[Requests] = []
        (table,) = loaded.camera
        buffer = Buffer(
            CAMERA, directory, span=table.buffer, memory=table.memory, stale_ns=table.stale_ns,
            boot_id=shared.boot_id,
            on_commit=lambda: [part.captured(CAMERA) for part in requests] and None,
        )  # fmt: skip
        buffers = {CAMERA: buffer}
        marks = Marks.open(directory, shared.boot_id)
        restored = Restored.of(entries, journal, marks, buffers, shared.boot_id)
        camera = Camera(table, buffer, on_fatal=_fatal, source_opener=_open_made_up)
        camera.start()
        stack.callback(camera.stop, 3.0)
        feed = Feed(
            table, buffer, Chain.of(loaded.model, {MODEL: shared.lane}), restored.claims[CAMERA],
            restored.open[CAMERA],
        )  # fmt: skip
        state = State(
            loaded, topics, shared.boot_id, buffers, {CAMERA: camera}, [shared.network], counters
        )
        broker = Broker(
            loaded.mqtt,
            _session(name, topics, table.trigger.max_age.ns),
            counters,
            on_message=partial(_receive, requests),
            greeting=partial(_greet, state, partial(shared.welcomed, name)),
        )
        requests.append(
            Requests(
                loaded.node, (), topics, [feed], broker, counters, shared.boot_id, shared.encoder,
                journal=journal, marks=marks, lost=restored.lost,
            )
        )  # fmt: skip
        requests[0].start()
        broker.start()
        stack.callback(requests[0].settle)
        stack.callback(broker.stop, state.farewell())
        stack.callback(requests[0].stop, 3.0)
        return cls(name, state, broker, stack)

    def tick(self) -> None:
        """As the daemon's main thread, once a second."""
        for message in self._state.changes():
            self._broker.publish(message)

    @property
    def failures(self) -> int:
        """Attempts to connect, since the connection before was lost."""
        return self._broker._backoff.failures

    def stop(self) -> None:
        self._stack.close()


def _toml(name: str, shared: Shared) -> str:
    return (
        f'[mqtt]\nhost = "127.0.0.1"\nport = {shared.port}\n'
        f'username = "{name}"\npassword_file = "{shared.password_file}"\n'
        f'[node]\nname = "{name}"\nring_dir = "{shared.rings}/{name}"\n'
        f'state_dir = "{shared.folder}/{name}"\n'
        f'[[camera]]\nname = "{CAMERA}"\nsource = "made-up"\nbuffer = 20\n'
        f'stale_after = "20s"\nmodels = ["{MODEL}"]\ntrigger = {{ max_age = "60s" }}\n'
        f"{shared.model}"
    )


def _session(name: str, topics: Topics, max_age_ns: int) -> Session:
    return Session(
        client_id=f"framebuf-{name}",
        subscriptions=(topics.of_camera(CAMERA, "trigger"), topics.of_node("trigger")),
        expiry_s=max_age_ns // 10**9,
        max_packet=MAX_PACKET,
        will=Outgoing(topics.of_node("status"), b"offline", retain=True),
    )


def _open_made_up(_source: str, *, stop: threading.Event, **_: Any) -> MadeUp:
    return MadeUp(stop)


def _receive(requests: Sequence[Requests], message: Message) -> None:
    requests[0].receive(message)


def _greet(state: State, told: Callable[[], None]) -> list[Outgoing]:
    told()
    return state.greeting()


def _fatal(error: Exception) -> None:
    raise error
