"""The demo's parts: started in order, and nothing of them left behind."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.capture import open_source
from framebuf.contract import Topics
from framebuf.demo import broker, scene
from framebuf.demo.interrupts import Interrupts
from framebuf.errors import FramebufError
from framebuf.service.caller import Caller
from framebuf.service.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from framebuf.config import Loaded

_log = logging.getLogger(__name__)

MEMORY = Path("/dev/shm")
_CONNECT_S = 30.0
_READY_S = 120.0
_STOP_S = 20.0
"""Longer than the daemon's own patience with its parts."""


class Stage:
    """What runs, for whoever plays on it."""

    def __init__(self, caller: Caller, loaded: Loaded, kind: str) -> None:
        self.caller = caller
        self.broker = kind
        """Which broker runs."""
        self.port = loaded.config.mqtt.port
        self.configuration = Path(loaded.file)
        self.source = loaded.config.camera[0].source
        self.batch_sizes = loaded.config.model[0].batch_sizes or ()
        self.models = loaded.config.camera[0].models


@contextmanager
def set_up(
    source: str | None,
    kind: str | None,
    tell: Callable[[str], None],
    models: Sequence[str] = scene.CHOICES[0],
) -> Iterator[Stage]:
    """Run broker, daemon and client while the block runs. Main thread only: signals end it.

    `models` is one of `scene.CHOICES`; `tell` hears what is being waited for.

    Raises:
        FramebufError: something is missing, or did not start.
    """
    program = broker.find(kind)
    interrupts = Interrupts()
    with interrupts.caught(), ExitStack() as parts:
        try:
            tell(f"starting {program.kind}")
            with interrupts.held():
                folder = parts.enter_context(_folder())
            port = parts.enter_context(broker.running(program, folder, interrupts))
            loaded = scene.load(folder, port, source, models)
            tell("opening the camera")
            _check_source(loaded.config.camera[0].source)
            mqtt = loaded.config.mqtt
            caller = Caller(mqtt, Topics(mqtt.base, scene.NODE), scene.CAMERA)
            parts.callback(caller.close)
            caller.connect(_CONNECT_S)
            tell("loading the model")
            with interrupts.held():
                parts.enter_context(_daemon(loaded, caller))
            _wait_until_online(caller)
            yield Stage(caller, loaded, program.kind)
        finally:
            interrupts.ignore()  # else a broker could be left running, and memory taken


@contextmanager
def _folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix=f"framebuf-demo-{os.getpid()}-", dir=MEMORY)
    except OSError as error:
        raise FramebufError(f"no temporary folder in {MEMORY}: {error.strerror}") from error
    with folder as path:
        yield Path(path)


def _check_source(source: str) -> None:
    """The daemon would go on trying; whoever mistyped a name wants to be told.

    Raises:
        SourceError: it cannot be opened.
    """
    open_source(source, fps=scene.RATE, stop=threading.Event()).close()


@contextmanager
def _daemon(loaded: Loaded, caller: Caller) -> Iterator[None]:
    """Run the daemon on a thread; of what ends it before its time `caller` hears."""

    def failed(args: threading.ExceptHookArgs) -> None:
        _fail(caller, args.exc_value or args.exc_type())

    def serve() -> None:
        try:
            node.run()
        except Exception as error:  # noqa: BLE001 - the main thread decides
            _fail(caller, error)

    hook, threading.excepthook = threading.excepthook, failed
    try:
        node = Daemon(loaded)
        thread = threading.Thread(target=serve, name="daemon", daemon=True)
        thread.start()
        try:
            yield
        finally:
            node.stop()
            thread.join(_STOP_S)
    finally:
        threading.excepthook = hook


def _fail(caller: Caller, error: BaseException) -> None:
    if not isinstance(error, FramebufError):
        _log.error("the daemon failed", exc_info=error)
    caller.fail(error)


def _wait_until_online(caller: Caller) -> None:
    end = time.monotonic() + _READY_S
    while (left := end - time.monotonic()) > 0:
        answer = caller.hear(left)
        if answer is not None and answer.document.get("status") == "online":
            return
    raise FramebufError(f"the daemon was not ready within {_READY_S:g} s")
