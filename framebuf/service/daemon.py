"""The daemon: builds the parts, starts them, stops them; nothing else."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.buffer.strangers import remove_strangers
from framebuf.capture.camera import Camera
from framebuf.contract import Topics
from framebuf.errors import ConfigError, FramebufError, RingError
from framebuf.service.broker import Broker
from framebuf.service.census import Census
from framebuf.service.chains import chains_of
from framebuf.service.discovery import Discovery
from framebuf.service.encoder import Encoder
from framebuf.service.engines import Engines
from framebuf.service.feed import Feed
from framebuf.service.health import Counters
from framebuf.service.hung import HungCameras
from framebuf.service.journal import Journal
from framebuf.service.last_image import LastImages
from framebuf.service.marks import Marks
from framebuf.service.message import Session
from framebuf.service.outbox import Outgoing
from framebuf.service.reload import Reload
from framebuf.service.requests import Requests
from framebuf.service.restored import Restored
from framebuf.service.state import State
from framebuf.service.state_dir import StateDirectory
from framebuf.service.systemd import Notifier
from framebuf.service.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from framebuf.config import Loaded
    from framebuf.service.decoding import Decoding
    from framebuf.service.entry import Entry
    from framebuf.service.message import Message
    from framebuf.service.pulse import Pulse
    from framebuf.service.web.opening import Web

_log = logging.getLogger(__name__)

TICK_S = 0.2
STATS_S = 60.0
MAX_PACKET = 2**20
"""Bytes. Triggers beyond 64 KiB are rejected; beyond this the broker keeps them to itself, so that
nobody fills the node's memory with one message."""
FINISH_S = 5.0
"""How long a stop waits for frames that are asked for; what is open then is the next start's."""


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
        self._stopping = threading.Event()
        self._fatal: FramebufError | None = None
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, own=own_watchdog)
        self._reload = Reload(loaded, self._notifier, fixed_level=fixed_level)
        self._boot_id = boot_id()
        self.counters = Counters()

    def stop(self) -> None:
        """Ask the daemon to stop. Any thread, and signal handlers."""
        self._stopping.set()

    def reload(self) -> None:
        """Ask the daemon to read its file again. Any thread, and signal handlers."""
        self._reload.ask()

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
        node = self._config.node
        directory = stack.enter_context(self._ring_directory())
        journal, entries = self._journal(stack)
        requests: list[Requests] = []

        def captured(camera: str) -> None:
            for part in requests:  # none yet while models load
                part.captured(camera)

        buffers = self._buffers(directory, captured)
        marks = Marks.open(directory, self._boot_id)
        restored = Restored.of(entries, journal, marks, buffers, self._boot_id)
        cameras = self._cameras(stack, buffers)
        web = self._open_web(stack, buffers, cameras)
        engines = Engines.open(self._loaded, self.counters, self._watchdog, stack)
        decoding = self._decoding(stack)
        chains = chains_of(self._config, engines.networks, engines.entrances, buffers, decoding)
        feeds = [
            Feed(
                camera,
                buffers[camera.name],
                chains[camera.name],
                restored.claims[camera.name],
                restored.open[camera.name],
            )
            for camera in self._config.camera
        ]
        encoder = self._encoder(stack)
        last_images = None
        if self._config.mqtt.last_image:
            last_images = LastImages(self._topics, encoder, self.counters)
        discovery = Discovery(self._config, self._topics, Path(node.state_dir))
        discovery.open()
        state = State(
            self._config, self._topics, self._boot_id, buffers, cameras, engines.networks,
            self.counters, last_images, discovery, engines.remotes,
        )  # fmt: skip
        broker = self._broker(requests, state, discovery)
        requests.append(
            Requests(
                node, self._config.mqtt.response_prefix, self._topics, feeds, broker,
                self.counters, self._boot_id, encoder, last_images,
                web.onlooker if web is not None else None,
                journal=journal, marks=marks, lost=restored.lost,
            )
        )  # fmt: skip
        census = Census(
            self._topics, buffers, cameras, engines.networks, engines.lanes, requests[0],
            self.counters, engines.remotes,
        )  # fmt: skip
        if web is not None:
            web.show(census, broker, requests[0], feeds, state)
        requests[0].start()
        broker.start()
        stack.callback(requests[0].settle)
        stack.callback(broker.stop, state.farewell())
        stack.callback(requests[0].stop, FINISH_S)
        _log.info(
            "node %s ready: cameras %s, models %s", node.name, ", ".join(buffers), engines,
            extra={"EVENT": "node_ready"},
        )  # fmt: skip
        self._notifier.tell(READY="1", STATUS=state.text(broker))
        pulses = (encoder.pulse, *broker.pulses, *(decoding.pulses if decoding else ()))
        self._watch(pulses, requests[0], engines)
        reload = partial(self._reload.serve, feeds, engines.tunable, discovery)
        self._tick(broker, census, state, discovery, HungCameras(cameras, directory), reload)
        self._watchdog.close()
        marks.disarm()
        _log.info("node %s stops", node.name, extra={"EVENT": "node_stopping"})
        self._notifier.tell(STOPPING="1")

    def _buffers(
        self, directory: RingDirectory, captured: Callable[[str], None]
    ) -> dict[str, Buffer]:
        """By camera, with what a process before left in them."""
        buffers = {
            camera.name: Buffer(
                camera.name,
                directory,
                span=camera.buffer,
                memory=camera.memory,
                stale_ns=camera.stale_ns,
                boot_id=self._boot_id,
                on_commit=partial(captured, camera.name),
                encoded=camera.store == "encoded",
            )
            for camera in self._config.camera
        }
        remove_strangers(directory, buffers, self._boot_id, self._encoded)
        for buffer in buffers.values():
            buffer.recover(time.monotonic_ns())
        return buffers

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

    @property
    def _encoded(self) -> list[str]:
        """The cameras whose packets are kept."""
        return [camera.name for camera in self._config.camera if camera.store == "encoded"]

    def _decoding(self, stack: ExitStack) -> Decoding | None:
        """The decoders, where a camera needs some."""
        if not self._encoded:
            return None
        from framebuf.service.decoding import DECODERS, Decoding  # noqa: PLC0415 - it needs av

        decoding = Decoding(self._config.node.decoders or DECODERS)
        decoding.start()
        stack.callback(decoding.stop)
        return decoding

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

    def _tick(
        self, broker: Broker, census: Census, state: State, discovery: Discovery,
        hung_cameras: HungCameras, reload: Callable[[], None],
    ) -> None:  # fmt: skip
        """Until `stop`: reloads, availability, pictures, stats, hung threads, the manager."""
        stats_s = float(os.environ.get("FRAMEBUF_STATS_S", STATS_S))  # for tests
        stats_due = time.monotonic() + stats_s
        while not self._stopping.wait(min(TICK_S, self._watchdog.interval_s)):
            reload()
            broker.subscribe(discovery.birth_topics)
            for message in state.changes():
                broker.publish(message)
            if broker.connected.is_set():  # else the greeting tells, and only the newest
                for message in state.pictures():
                    broker.publish(message)
            if time.monotonic() >= stats_due:
                stats_due += stats_s
                broker.publish(census.message())
            self._notifier.tell_status(state.text(broker))
            self._watchdog.feed()
            error = hung_cameras.restart_for(time.monotonic_ns())
            if error is not None:
                self._fatal = error
                self.stop()

    def _broker(self, requests: list[Requests], state: State, discovery: Discovery) -> Broker:
        node = self._config.node
        topics = [self._topics.of_camera(c.name, "trigger") for c in self._config.camera]
        ages = [camera.trigger.max_age.ns for camera in self._config.camera]
        session = Session(
            client_id=f"framebuf-{node.name}",
            subscriptions=(*topics, self._topics.of_node("trigger"), *discovery.birth_topics),
            expiry_s=max(1, -(-max(ages) // 10**9)),
            max_packet=MAX_PACKET,
            will=Outgoing(self._topics.of_node("status"), b"offline", retain=True),
        )

        def receive(message: Message) -> None:
            if discovery.heard(message):
                broker.acknowledge(message)
            else:
                requests[0].receive(message)

        try:
            broker = Broker(
                self._config.mqtt,
                session,
                self.counters,
                on_message=receive,
                greeting=state.greeting,
            )
        except ConfigError as error:
            raise self._located("", error) from error
        return broker

    def _ring_directory(self) -> RingDirectory:
        try:
            return RingDirectory.open(Path(self._config.node.ring_dir))
        except ConfigError as error:
            raise self._located("", error) from error

    def _journal(self, stack: ExitStack) -> tuple[Journal, list[Entry]]:
        node = self._config.node
        try:
            folder = stack.enter_context(StateDirectory.open(Path(node.state_dir)))
            journal, entries = Journal.open(folder.path, self._boot_id, node.remember.ns)
        except ConfigError as error:
            raise self._located("", error) from error
        stack.callback(journal.close)
        return journal, entries

    def _open_web(
        self, stack: ExitStack, buffers: Mapping[str, Buffer], cameras: Mapping[str, Camera]
    ) -> Web | None:
        """The page, where it is configured: nobody else needs its libraries.

        Before the models, for who asks whether they are loaded.
        """
        if self._config.web is None:
            return None
        try:
            from framebuf.service.web.opening import Web  # noqa: PLC0415
        except ImportError as error:
            what = f"needs the extra web: there is no {error.name}"
            remedy = "pip install 'framebuf[web]', or leave [web] out"
            raise self._loaded.error("web", what, remedy) from error
        try:
            web = Web.open(self._config, self._topics, buffers, cameras, self._watchdog.hanging)
        except ConfigError as error:
            raise self._located("", error) from error
        web.start()
        stack.callback(web.stop)
        return web

    def _located(self, table: str, error: ConfigError) -> ConfigError:
        """An error of a part, which knows its key below `table`, with the file and the line."""
        return self._loaded.error(f"{table}{error.where}", error.what, error.remedy)

    def _fail(self, key: str, error: ConfigError | RingError) -> None:
        """From a camera's thread: nothing that reopening its source can mend.

        Memory that holds no frame of one camera takes no other camera's node away.
        """
        if isinstance(error, ConfigError) and len(self._config.camera) > 1:
            return
        self._fatal = self._located(f"{key}.", error) if isinstance(error, ConfigError) else error
        self.stop()


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stop_on_signals(daemon: Daemon) -> None:
    """SIGTERM and SIGINT stop the daemon, SIGHUP reloads it. Only the main thread.

    On a terminal SIGHUP means that the terminal is gone, and stops it too.
    """
    stop = [signal.SIGTERM, signal.SIGINT]
    if os.isatty(2):
        stop.append(signal.SIGHUP)
    else:
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    for number in stop:
        signal.signal(number, lambda *_: daemon.stop())
