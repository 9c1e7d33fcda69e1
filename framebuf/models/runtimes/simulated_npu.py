"""The cores of a simulated NPU: who holds them, and who is next."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from framebuf.models.platforms import cores_of


class Claim:
    """One inference that waits for its cores, or has them. Belongs to `SimulatedNpu`."""

    __slots__ = ("_granted", "asked_ns", "cores", "since_ns", "wanted")

    def __init__(self, wanted: frozenset[int] | None, asked_ns: int) -> None:
        self.wanted = wanted
        """None: any one core."""
        self.asked_ns = asked_ns
        self.cores: frozenset[int] = frozenset()
        """What it was granted; empty while it waits."""
        self.since_ns = 0
        """When the cores began to work for it, where it has them."""
        self._granted = threading.Event()

    def grant(self, cores: frozenset[int], since_ns: int) -> None:
        self.cores = cores
        self.since_ns = since_ns
        self._granted.set()

    def wait(self) -> None:
        self._granted.wait()

    def __repr__(self) -> str:
        wanted = "any core" if self.wanted is None else f"cores {sorted(self.wanted)}"
        state = f"has {sorted(self.cores)}" if self.cores else "waits"
        return f"<Claim on {wanted}, {state}>"


class SimulatedNpu:
    """Exclusive cores, first come, first served on each. Any thread claims.

    As in the vendor's driver, the next inference begins when the last one ends, not when a thread
    has woken up. Whoever waits for all cores keeps later ones off every core, so that it is not
    starved; whoever waits for one core holds nobody up elsewhere.

    `_lock` guards `_waiting`, `_free_since`, which has no key for a core that is held, and `_open`.
    """

    def __init__(
        self, platform: str, *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep_s: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        self.platform = platform
        self.cores = frozenset(range(cores_of(platform)))
        self.now_ns = now_ns
        self._sleep_s = sleep_s
        self._lock = threading.Lock()
        self._waiting: deque[Claim] = deque()
        self._free_since = dict.fromkeys(self.cores, 0)
        self._open: set[tuple[str, int]] = set()

    def enter(self, name: str) -> int:
        """Count a context in: its number among the open ones of its name, from 0."""
        with self._lock:
            number = next(n for n in itertools.count() if (name, n) not in self._open)
            self._open.add((name, number))
            return number

    def leave(self, name: str, number: int) -> None:
        with self._lock:
            self._open.discard((name, number))

    def claim(self, wanted: frozenset[int] | None) -> Claim:
        """Queue for cores; None: for any one. Does not block."""
        claim = Claim(wanted, self.now_ns())
        with self._lock:
            self._waiting.append(claim)
            self._grant()
        return claim

    def take(self, wanted: frozenset[int] | None) -> Claim:
        """Queue for cores, and wait until they are free."""
        claim = self.claim(wanted)
        try:
            claim.wait()
        except BaseException:  # a KeyboardInterrupt must not leave the cores held for ever
            self.give_back(claim, self.now_ns())
            raise
        return claim

    def give_back(self, claim: Claim, at_ns: int) -> None:
        """Free the cores of a claim, at work until `at_ns`; one that waits leaves the queue."""
        with self._lock:
            if not claim.cores:
                self._waiting.remove(claim)
            self._free_since.update(dict.fromkeys(claim.cores, at_ns))
            self._grant()

    def sleep_until(self, end_ns: int) -> None:
        while (left_ns := end_ns - self.now_ns()) > 0:
            self._sleep_s(left_ns / 1e9)

    def hang(self) -> None:
        """What a driver does that does not come back. Only the end of the process helps."""
        while True:
            self._sleep_s(3600)

    def _grant(self) -> None:
        """Give free cores to those in the queue whose turn it is."""
        kept: set[int] = set()
        for claim in tuple(self._waiting):
            free = sorted(self._free_since.keys() - kept, key=self._free_since.__getitem__)
            if claim.wanted is None:
                cores = frozenset(free[:1])
            else:
                cores = claim.wanted if claim.wanted.issubset(free) else frozenset()
                kept |= claim.wanted
            if cores:
                self._waiting.remove(claim)
                since = max(self._free_since.pop(core) for core in cores)
                claim.grant(cores, max(claim.asked_ns, since))

    def __repr__(self) -> str:
        with self._lock:
            held = len(self.cores) - len(self._free_since)
            waiting = len(self._waiting)
        return f"<SimulatedNpu {self.platform} {held}/{len(self.cores)} cores held, {waiting} wait>"


_npus: dict[str, SimulatedNpu] = {}
"""By platform: a machine has one. Setting a key that is missing is one step."""


def simulated_npu(platform: str) -> SimulatedNpu:
    """The one that all contexts of a platform share in this process."""
    return _npus.setdefault(platform, SimulatedNpu(platform))
