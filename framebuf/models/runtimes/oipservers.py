"""The servers that have one model: which of them is asked next, and which are left alone."""

from __future__ import annotations

import itertools
import random
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.config.endpoints import Endpoints
from framebuf.errors import ModelError
from framebuf.models.runtimes.oiperrors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from framebuf.config import Model
    from framebuf.models.runtimes.oiptensor import Held

FIRST_REST_S = 0.25
LONGEST_REST_S = 10.0
MOST_TOKEN = 16384
"""Bytes of a token file."""


class Server:
    """One of them. Its Servers' lock guards it."""

    __slots__ = ("address", "calls", "failures", "rests_until_ns", "turn", "why")

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls = 0
        """Under way."""
        self.failures = 0
        """In a row."""
        self.rests_until_ns = 0
        """Monotonic: until then it is asked only where no other is left."""
        self.turn = 0
        self.why = "not asked yet"

    def __repr__(self) -> str:
        state = f"{self.failures} failures: {self.why}" if self.failures else "well"
        return f"<Server {self.address} {self.calls} calls, {state}>"


class Servers:
    """Of one model, shared by all that call it. Any thread.

    The one with the fewest calls under way is asked; one that gave no answer is left alone for a
    quarter of a second, doubling to ten, with jitter. `_lock` guards the servers and `_held`.
    """

    def __init__(
        self, endpoints: Endpoints, *, ca_file: str | None = None, token_file: str | None = None,
        timeout_ns: int = 5 * 10**9, largest: int | None = None, patient: bool = True,
    ) -> None:  # fmt: skip
        """`largest`: batch that they take, as configured.

        `patient`: callers ask again as long as their frames may wait, for nobody else answers.
        """
        self.endpoints = endpoints
        self.ca_file = ca_file
        self.token_file = token_file
        self.timeout_ns = timeout_ns
        self.largest = largest
        self.patient = patient
        self.closing = threading.Event()
        """Nobody is waited for any more."""
        self._lock = threading.Lock()
        self._turns = itertools.count(1)
        self._servers = tuple(map(Server, endpoints.addresses))
        self._held: Held | None = None

    @classmethod
    def of(cls, model: Model) -> Servers:
        """As configured.

        Raises:
            ModelError: the path is no URL of a model.
        """
        try:
            endpoints = Endpoints.parse(model.path)
        except ValueError as error:
            raise ModelError(f"{model.path}: {error}") from error
        return cls(
            endpoints,
            ca_file=model.ca_file,
            token_file=model.token_file,
            timeout_ns=model.timeout.ns,
            largest=model.max_batch,
            patient=model.fallback is None,
        )

    def take(self, tried: Collection[Server]) -> Server | None:
        """The one to ask now, and count the call; None: all have been tried.

        Each is to come back by `answered`, `failed` or `let_go`.
        """
        now = time.monotonic_ns()
        with self._lock:
            left = [each for each in self._servers if each not in tried]
            if not left:
                return None
            well = [each for each in left if each.rests_until_ns <= now]
            if well:
                chosen = min(well, key=lambda each: (each.calls, each.turn))
            else:
                chosen = min(left, key=lambda each: each.rests_until_ns)
            chosen.calls += 1
            chosen.turn = next(self._turns)
            return chosen

    def answered(self, server: Server) -> None:
        with self._lock:
            server.calls -= 1
            server.failures = 0
            server.rests_until_ns = 0

    def let_go(self, server: Server) -> None:
        """It said no, and is well."""
        with self._lock:
            server.calls -= 1

    def failed(self, server: Server, why: str) -> None:
        """It gave no answer."""
        with self._lock:
            server.calls -= 1
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * (1 << min(server.failures, 10)))
            server.failures += 1
            server.why = why
            rest_s *= random.uniform(0.5, 1.0)  # so that not all boards come back at once
            server.rests_until_ns = time.monotonic_ns() + round(rest_s * 1e9)

    def rested_ns(self) -> int:
        """Monotonic: when the first of them has rested."""
        with self._lock:
            return min(each.rests_until_ns for each in self._servers)

    def agree(self, held: Held) -> bool:
        """Whether a server has the network of the first that was asked; False: another one."""
        with self._lock:
            if self._held is None:
                self._held = held
            return not self._held.differs(held)

    def token(self) -> str | None:
        """What stands in the token's file now; None: none is configured.

        Raises:
            RefusedError: it cannot be read, or holds no token.
        """
        if self.token_file is None:
            return None
        try:
            with Path(self.token_file).open(encoding="utf-8") as opened:
                token = opened.read(MOST_TOKEN + 1).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise RefusedError(f"token_file {self.token_file} cannot be read: {reason}") from error
        # what is no header's value must not become two of them
        if not token or len(token) > MOST_TOKEN or not token.isascii() or not token.isprintable():
            raise RefusedError(f"token_file {self.token_file} holds no line of ASCII")
        return token

    def check(self) -> None:
        """Whether the files are there that the calls need.

        Raises:
            ModelError: one cannot be read.
        """
        try:
            self.token()
        except RefusedError as error:
            raise ModelError(str(error), "token_file") from error
        if not self.endpoints.tls:
            return
        try:
            ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            said = error.strerror or str(error)
            raise ModelError(f"ca_file {self.ca_file} cannot be used: {said}", "ca_file") from error

    def __len__(self) -> int:
        return len(self._servers)

    def __str__(self) -> str:
        return str(self.endpoints)

    def __repr__(self) -> str:
        return f"<Servers {self.endpoints} {' '.join(map(repr, self._servers))}>"
