"""Remote: a model on servers, for as long as a node runs: reachable, not yet, or not any more."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from framebuf.errors import InferenceError, ModelError, ServersAwayError
from framebuf.models.detour import Detour
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.platforms import SERVERS
from framebuf.models.runtimes import open_runtime
from framebuf.models.runtimes.oipservers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from framebuf.config import Model
    from framebuf.models.fallback import Fallback
    from framebuf.models.lane import Lane
    from framebuf.models.network import Network

_log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
"""Between two looks for servers that are away."""
START_S = 20.0
"""How long a start waits for them."""
CLOSE_S = 5.0
"""How long an end waits for a look that is under way."""


class Remote:
    """Opens the model when a server answers, at once or later, and looks whether it does again.

    Frames go to its `detour`. The thread NAME-servers looks for servers while they are away: it
    opens the model, or, where that was open before, has one blank picture inferred; `network` and
    `lane` are None until then. Any thread reads; the main thread calls the rest.
    """

    def __init__(
        self, model: Model, fallback: Fallback | None, count: Callable[[str], None]
    ) -> None:
        """`count` hears of each event, by the name of its counter."""
        self.name = model.name
        self.model = model
        self.network: Network | None = None
        self.lane: Lane | None = None
        self.away: str | None = "not asked yet"
        """Why no server answers, for people; None: one does."""
        self.detour = Detour(model.name, fallback, self._went_away, count)
        self._count = count
        self._servers = Servers.of(model)
        self._retuning = threading.Lock()  # guards `model` and `network` against each other
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._asked = threading.Event()
        """Servers were asked once, with whatever outcome."""
        self._unfit: ModelError | None = None
        self._thread = threading.Thread(target=self._look, name=f"{self.name}-servers", daemon=True)

    def start(self) -> None:
        """Open the model, or, after twenty seconds, go on without it and try again.

        Raises:
            ModelError: a server answers, and its model does not fit the configuration.
        """
        self.detour.start()
        self._thread.start()
        self._asked.wait(START_S)
        if self._unfit is not None:
            self.close()
            raise self._unfit

    def close(self) -> None:
        """Free all. What has begun is finished first, as far as servers answer."""
        self._closing.set()
        self._servers.closing.set()
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self.lane is not None:
            self.lane.close()
        self.detour.close()

    def retune(self, threshold: float, iou: float) -> None:
        """As a Network; one that is opened later has them too."""
        with self._retuning:
            self.model = msgspec.structs.replace(self.model, threshold=threshold, iou=iou)
            if self.network is not None:
                self.network.retune(threshold, iou)

    def longest_run_ns(self, now_ns: int) -> int:
        """As a Lane."""
        return 0 if self.lane is None else self.lane.longest_run_ns(now_ns)

    def _went_away(self, why: str) -> None:
        """Any thread."""
        if self._closing.is_set():
            return
        self.away = why
        self._count("servers_away")
        fallback = self.detour.fallback
        then = f"{fallback.model} answers instead" if fallback else "frames wait for one"
        _log.warning(
            "model %s: no server answers: %s; %s",
            self.name, why, then, extra={"MODEL": self.name, "EVENT": "servers_away"},
        )  # fmt: skip
        self._wake.set()

    # the thread ---------------------------------------------------------------------------

    def _look(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            if self.away is None:
                self._wake.wait()
                self._wake.clear()
                wait_s = FIRST_WAIT_S
                continue
            try:
                if self.network is None:
                    self._open()
                else:
                    self._try(self.network)
                if self._asked.is_set():
                    self._came_back()
                self._asked.set()
            except (ModelError, InferenceError) as error:
                self._tell(error)
                self._asked.set()
                self._closing.wait(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _open(self) -> None:
        """Ask what the model is, time it, and take what waits.

        Raises:
            ModelError: no server answers, or none has a model that fits.
            InferenceError: it could not be timed.
        """
        network = open_network(self.model, servers=self._servers)
        try:
            (lane,) = open_lanes([network]).values()
        except InferenceError:
            network.close()
            raise
        with self._retuning:
            network.retune(self.model.threshold, self.model.iou)
            self.network, self.lane = network, lane
        lane.start()
        self.away = None
        self.detour.opened(lane)

    def _try(self, network: Network) -> None:
        """Have one blank picture inferred.

        Raises:
            ModelError, InferenceError: no server does it.
        """
        runtime = open_runtime(self._servers, SERVERS, threads=1, layout=self.model.layout)
        try:
            blank = np.zeros(network.input.rows(network.sizes[0]), network.input.dtype)
            runtime.infer(blank)
        finally:
            runtime.close()
        self.away = None
        self.detour.back()

    def _came_back(self) -> None:
        self._count("servers_back")
        _log.info(
            "model %s: servers answer", self.name,
            extra={"MODEL": self.name, "EVENT": "servers_back"},
        )  # fmt: skip

    def _tell(self, error: ModelError | InferenceError) -> None:
        """The servers are away at the start, or away still, or not what they should be."""
        unfit = isinstance(error, ModelError) and not isinstance(error, ServersAwayError)
        if unfit and self.network is None and str(error) != self.away:
            _log.error(
                "model %s: what a server has cannot be used: %s",
                self.name, error, extra={"MODEL": self.name},
            )  # fmt: skip
        if isinstance(error, ModelError) and unfit and not self._asked.is_set():
            self._unfit = error
        elif not self._asked.is_set():
            self._went_away(str(error))
        self.away = str(error)

    def __repr__(self) -> str:
        state = "answers" if self.away is None else f"away: {self.away}"
        return f"<Remote {self._servers} {state}>"
