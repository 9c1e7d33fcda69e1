"""The daemon: builds the parts, starts them, stops them; nothing else."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import cv2

from framebuf.capture.camera import Camera
from framebuf.contract import Topics
from framebuf.errors import ConfigError, FramebufError, RingError
from framebuf.service.bell import Bell
from framebuf.service.boot import boot_id
from framebuf.service.chains import chains_of
from framebuf.service.encoder import Encoder
from framebuf.service.engines import Engines
from framebuf.service.extras import open_decoding, open_web
from framebuf.service.feed import Feed
from framebuf.service.frontend import FrontEnd
from framebuf.service.health import Counters
from framebuf.service.hung import HungCameras
from framebuf.service.reload import Reload
from framebuf.service.rhythm import Rhythm
from framebuf.service.storage import Storage
from framebuf.service.systemd import Notifier
from framebuf.service.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.config import Loaded
    from framebuf.models.chain import Chain
    from framebuf.service.codedchain import CodedChain
    from framebuf.service.pulse import Pulse
    from framebuf.service.requests import Requests

_log = logging.getLogger(__name__)


class Daemon:
    """One node. `run` blocks the calling thread until `stop`; parts stop in reverse order.

    Start: journal; rings, with what is left in them; the frames of open requests leased again;
    cameras (so that frames come while models load); models, requests, broker. The rings' files
    stay at the end, for the next start to find.
    """

    def __init__(
        self, loaded: Loaded, *, own_watchdog: bool = False, fixed_level: bool = False
    ) -> None:
        """`own_watchdog`: end the process when it hangs, where no service manager does.

        `fixed_level`: a reload leaves the log level, which the command line says.
        """
        self._loaded = loaded
        self._config = loaded.config
        self._topics = Topics(self._config.mqtt.base, self._config.node.name)
        self._bell = Bell()
        self._is_stopping = False
        self._fatal: FramebufError | None = None
        self._front: FrontEnd | None = None  # a reference: set once, read by the cameras' threads
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, own=own_watchdog)
        self._reload = Reload(loaded, self._notifier, fixed_level=fixed_level)
        self._boot_id = boot_id()
        self.counters = Counters()

    def stop(self) -> None:
        """Ask the daemon to stop. Any thread, and signal handlers."""
        self._is_stopping = True
        self._bell.ring()

    def reload(self) -> None:
        """Ask the daemon to read its file again. Any thread, and signal handlers."""
        self._reload.ask()
        self._bell.ring()

    def run(self) -> None:
        """Start, serve, stop.

        Raises:
            ConfigError: what no restart can mend.
            FramebufError: what a restart may mend.
        """
        cv2.setNumThreads(1)  # contexts prepare side by side; OpenCV's own threads only contend
        with ExitStack() as stack:
            self._serve(stack)
        if self._fatal is not None:
            raise self._fatal

    def _serve(self, stack: ExitStack) -> None:
        storage = Storage.open(self._loaded, self._boot_id, self._captured, stack)
        buffers = storage.buffers
        cameras = self._cameras(stack, buffers)
        web = open_web(  # before the models, for who asks whether they are loaded
            self._loaded, self._topics, buffers, cameras, self._watchdog.hanging, stack
        )
        engines = Engines.open(self._loaded, self.counters, self._watchdog, stack)
        decoding = open_decoding(self._config, stack)
        chains = chains_of(self._config, engines.networks, engines.entrances, buffers, decoding)
        encoder = self._encoder(stack)
        front = self._front = FrontEnd.open(
            self._loaded, self._topics, self._boot_id, storage, cameras, engines,
            self._feeds(storage, chains), encoder, self.counters, web.onlooker if web else None,
            self._bell,
        )  # fmt: skip
        if web is not None:
            web.show(front.census, front.broker, front.requests, front.feeds, front.state)
        front.start(stack)
        _log.info(
            "node %s ready: cameras %s, models %s",
            self._config.node.name, ", ".join(buffers), engines, extra={"EVENT": "node_ready"},
        )  # fmt: skip
        self._notifier.tell(READY="1", STATUS=front.state.text(front.broker))
        pulses = (encoder.pulse, *front.broker.pulses, *(decoding.pulses if decoding else ()))
        self._watch(pulses, front.requests, engines)
        reload = partial(self._reload.serve, front.feeds, engines.tunable, front.discovery)
        rhythm = Rhythm(buffers.values(), engines.remotes, front.broker, self._watchdog.interval_s)
        self._turn(rhythm, front, HungCameras(cameras, storage.directory), reload)
        self._watchdog.close()
        storage.marks.disarm()
        _log.info("node %s stops", self._config.node.name, extra={"EVENT": "node_stopping"})
        self._notifier.tell(STOPPING="1")

    def _captured(self, camera: str) -> None:
        """A frame was. On its camera's thread."""
        if self._front is not None:  # else models load
            self._front.requests.captured(camera)

    def _cameras(self, stack: ExitStack, buffers: Mapping[str, Buffer]) -> dict[str, Camera]:
        cameras = {
            camera.name: Camera(
                camera, buffers[camera.name], on_fatal=partial(self._fail, f"camera[{at}]")
            )
            for at, camera in enumerate(self._config.camera)
        }
        for camera in cameras.values():
            camera.start()
            stack.callback(camera.stop, 3.0)
        return cameras

    def _feeds(self, storage: Storage, chains: Mapping[str, Chain | CodedChain]) -> list[Feed]:
        restored = storage.restored
        return [
            Feed(
                camera,
                storage.buffers[camera.name],
                chains[camera.name],
                restored.claims[camera.name],
                restored.open[camera.name],
            )
            for camera in self._config.camera
        ]

    def _encoder(self, stack: ExitStack) -> Encoder:
        encoder = Encoder(draws=self._config.mqtt.last_image)
        encoder.start()
        stack.callback(encoder.stop)
        return encoder

    def _watch(self, pulses: Sequence[Pulse], requests: Requests, engines: Engines) -> None:
        """Whose silence ends the process; a camera's is only its own."""
        heartbeats = self._watchdog.heartbeats
        for pulse in pulses:
            heartbeats.watch(pulse.name, pulse.silent_ns)
        heartbeats.watch("requests", lambda now: now - requests.beat_ns)
        for one in engines.watched:
            heartbeats.watch(f"inference on {one.name}", one.longest_run_ns)
        self._watchdog.feed()  # from here on a hang of this thread too is noticed

    def _turn(
        self, rhythm: Rhythm, front: FrontEnd, hung_cameras: HungCameras,
        reload: Callable[[], None],
    ) -> None:  # fmt: skip
        """Until `stop`: reloads, what the front end has to tell, hung threads, the manager."""
        while True:
            self._bell.wait(min(rhythm.rest_s(), front.rest_s()))
            if self._is_stopping:
                return
            reload()
            front.tell()
            self._notifier.tell_status(front.state.text(front.broker))
            self._watchdog.feed()
            error = hung_cameras.restart_for(time.monotonic_ns())
            if error is not None:
                self._fatal = error
                self.stop()

    def _fail(self, key: str, error: ConfigError | RingError) -> None:
        """From a camera's thread: nothing that reopening its source can mend.

        Memory that has no room for a frame of one camera takes no other camera's node away: that
        one is away until there is. A folder that is gone comes back only with the next start.
        """
        may_pass = isinstance(error, ConfigError) or error.may_pass
        if may_pass and len(self._config.camera) > 1:
            return
        located = self._loaded.located
        self._fatal = located(error, f"{key}.") if isinstance(error, ConfigError) else error
        self.stop()
