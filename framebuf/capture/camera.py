"""The camera thread: read, stamp, write into the buffer; reopen what failed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from framebuf.capture import open_source
from framebuf.capture.clock import LATENESS_NS
from framebuf.capture.pace import BackOff
from framebuf.capture.recorder import Recorder
from framebuf.capture.source import patience_s, without_credentials
from framebuf.errors import ConfigError, RingError, SourceError
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf import config
    from framebuf.buffer.buffer import Buffer
    from framebuf.capture.clock import StreamClock
    from framebuf.capture.source import Source

_log = logging.getLogger(__name__)

_HEALTHY_NS = 3 * SECOND_NS
"""Frames for this long after opening end an outage; a source that fails sooner is still in it."""


class Camera:
    """Keeps one camera's frames coming into its buffer, on the thread `camera-NAME`.

    `start` and `stop` belong to the thread that owns the camera; what is public may be read by
    any thread and is written by the camera's only. `on_fatal` is called with what reopening alone
    cannot mend: memory that holds no frame (ConfigError), a tmpfs that is full (RingError). Where
    that does not end the node it goes on trying: another size may come, others make room. An
    exception that is not expected ends that thread, and the process by its excepthook.
    """

    def __init__(
        self,
        config: config.Camera,
        buffer: Buffer,
        *,
        on_fatal: Callable[[ConfigError | RingError], None],
        source_opener: Callable[..., Source] = open_source,
    ) -> None:
        self.name = config.name
        self.has_opened = False
        """The source was open at least once."""
        self.reopened = 0
        """Times the source was opened again after it failed."""
        self.recorder = Recorder(config.name, config.fps, buffer)
        """Counts what was not kept as it came."""
        self.clock: StreamClock | None = None
        """What stamps the frames; None: their arrival."""
        self.last_error: str | None = None
        """Why the source is away; None once frames have come for three seconds."""
        self.beat_ns = time.monotonic_ns()
        """When the thread last showed that it is not stuck in the source; monotonic."""
        self._config = config
        self._buffer = buffer
        self._open = source_opener
        self._on_fatal = on_fatal
        self._state = "new"
        self._stop = threading.Event()
        self._back_off = BackOff()
        self._measured: float | None = None  # frames a second of a source that does not say
        self._thread = threading.Thread(target=self._run, name=f"camera-{self.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread. False: it hangs in its source, and only the process's end ends it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_until_it_fails()
            except SourceError as error:
                if not self._stop.is_set():
                    self._wait(error)
            except (ConfigError, RingError) as error:
                self._on_fatal(error)
                self._wait(error)
        self._state = "stopped"

    def _wait(self, error: SourceError | ConfigError | RingError) -> None:
        """Tell an outage once, and wait before the next attempt."""
        if self.last_error is None:
            _log.warning(
                "camera %s: %s; reopening %s",
                self.name, error, without_credentials(self._config.source),
                extra={"CAMERA": self.name},
            )  # fmt: skip
        self.last_error = str(error)
        self._state = "waiting"
        self._beat()
        self._stop.wait(self._back_off.next_s())

    def _read_until_it_fails(self) -> None:
        self._state = "opening"
        self._beat()
        wanted = self._config
        source = self._open(
            wanted.source,
            fps=wanted.fps,
            size=wanted.size,
            patience_s=patience_s(wanted.stale_ns),
            stop=self._stop,
            **({"encoded": True} if wanted.store == "encoded" else {}),
        )
        try:
            if source.rate is None and wanted.fps is None and not self.has_opened:
                self._measured = source.measure()
            self.reopened += self.has_opened
            self.has_opened = True
            self._state = "open"
            self.recorder.opened()
            rates = [rate for rate in (source.rate or self._measured, wanted.fps) if rate]
            # While nothing is known of the source, fps is the most that will be kept
            self.clock = source.clock
            lateness_ns = LATENESS_NS if source.clock else 0
            self._buffer.opened(min(rates, default=None), lateness_ns, source.largest)
            self._read(source)
        except (SourceError, ConfigError, RingError):
            self._buffer.interrupted()
            raise
        finally:
            source.close()

    def _read(self, source: Source) -> None:
        """Frames into the buffer until `stop`, which ends in a SourceError like any other."""
        healthy_ns: int | None = None
        is_healthy = False
        self._beat()
        while True:
            grab = source.grab()
            self.beat_ns = time.monotonic_ns()
            captured = self.recorder.take(grab)
            if captured is not None and not is_healthy:
                if healthy_ns is None:
                    healthy_ns = captured.mono_ns + _HEALTHY_NS
                if captured.mono_ns >= healthy_ns:
                    is_healthy = True
                    self._end_outage()
            if self._stop.is_set():
                raise SourceError("stopped")

    def _end_outage(self) -> None:
        self._back_off.reset()
        if self.last_error is not None:
            self.last_error = None
            _log.info("camera %s: frames come again", self.name, extra={"CAMERA": self.name})

    def _beat(self) -> None:
        self.beat_ns = time.monotonic_ns()

    def __repr__(self) -> str:
        return (
            f"<Camera {self.name} {self._state}, {self.reopened} reopened, "
            f"{self.recorder.decimated} decimated, {self.recorder.undecodable} undecodable>"
        )
