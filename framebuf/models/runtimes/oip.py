"""A model on inference servers that speak the Open Inference Protocol (KServe v2)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

from framebuf.errors import InferenceError, ModelError, ServersAwayError
from framebuf.models.runtimes import oiptensor
from framebuf.models.runtimes.oiperrors import NoAnswerError, RefusedError
from framebuf.models.runtimes.oiphttp import HttpLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes import Outputs
    from framebuf.models.runtimes.oipservers import Server, Servers
    from framebuf.models.runtimes.oiptensor import Answered, End, Held
    from framebuf.models.tensor import TensorSpec

AWAY = "servers_away"
"""The code of a call that no server has answered."""
PATIENCE_NS = 30 * 10**9
"""How long a call may take in all that nobody gives a time."""


class Link(Protocol):
    """One server, by one way of speaking to it. Belongs to one thread at a time.

    Both calls raise NoAnswerError or RefusedError.
    """

    def held(self, until_ns: int) -> Held: ...

    def infer(
        self, end: End, tensor: NDArray[Any], names: Sequence[str], most: int, until_ns: int
    ) -> list[Answered]: ...

    def close(self) -> None: ...


class OipRuntime:
    """A caller of servers. Belongs to one thread at a time, but for `hurry`.

    One call under way; the next goes to the server with the fewest. What one does not answer,
    another is asked, for an inference changes nothing on a server. Each is asked once a call, and
    over and over where the servers are `patient`, until the call's time is over.
    """

    def __init__(
        self, servers: Servers, held: Held, picture: TensorSpec, outputs: tuple[TensorSpec, ...]
    ) -> None:
        self.servers = servers
        self.input = picture
        self.outputs = outputs
        self.largest = servers.largest or held.largest
        """The largest batch that the servers take; None where nobody says."""
        self.versions = f"{held.server} over {servers.endpoints.scheme}"
        self.held = held
        self._names = [output.name for output in outputs]
        self._links: dict[str, Link] = {}
        self._known: set[str] = set()  # those that have this network, as far as they are known
        self._closed = False

    @classmethod
    def open(cls, servers: Servers, *, layout: Literal["nchw", "nhwc"] | None = None) -> OipRuntime:
        """Ask what the model is: the first server that answers.

        Raises:
            ServersAwayError: none does.
            ModelError: it is no model for framebuf, or what is needed to ask is not there.
        """
        servers.check()
        tried: list[Server] = []
        whys: list[str] = []
        while (server := servers.take(tried)) is not None:
            link = _link(servers, server.address)
            try:
                held = link.held(time.monotonic_ns() + servers.timeout_ns)
                picture, outputs = oiptensor.specs(servers, held, layout)
                if not servers.agree(held):
                    raise NoAnswerError("it has another network of that name than the others")  # noqa: TRY301 - as if it were away
            except (NoAnswerError, RefusedError) as error:
                servers.failed(server, str(error))
                whys.append(f"{server.address}: {error}")
                tried.append(server)
            except ModelError:
                servers.let_go(server)
                raise
            else:
                servers.answered(server)
                return cls(servers, held, picture, outputs)
            finally:
                link.close()
        raise ServersAwayError(f"{servers}: {'; '.join(whys)}")

    def infer(self, tensor: NDArray[Any]) -> Outputs:
        """Run once: (batch, …) of the input's dtype to (batch, …) float32, one per output.

        Each server is asked once.

        Raises:
            InferenceError: the tensor does not fit the input, or no server gave an answer.
        """
        within_ns = self.servers.timeout_ns * len(self.servers)
        return self._infer(tensor, time.monotonic_ns() + within_ns, patient=False)

    def infer_until(self, tensor: NDArray[Any], until_ns: int) -> Outputs:
        """As `infer`, with the moment, monotonic, from which on nobody wants the answer.

        Raises:
            InferenceError: as `infer`; with the code `servers_away` where nobody answered.
        """
        until_ns = min(until_ns, time.monotonic_ns() + PATIENCE_NS)
        return self._infer(tensor, until_ns, patient=self.servers.patient)

    def hurry(self) -> None:
        """Wait for no server any more: the caller is to close. Any thread."""
        self.servers.closing.set()

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        self._closed = True
        for address in tuple(self._links):
            self._forget(address)

    def _infer(self, tensor: NDArray[Any], until_ns: int, *, patient: bool) -> Outputs:
        self._check(tensor)
        tried: list[Server] = []
        whys: dict[str, str] = {}
        refused = False
        while True:
            server = self.servers.take(tried)
            if server is None:
                if not patient or refused or not self._rest(until_ns):
                    break
                tried.clear()
                continue
            tried.append(server)
            left = len(self.servers) - len(tried) + 1
            limit_ns = min(self.servers.timeout_ns + time.monotonic_ns(), _share(until_ns, left))
            try:
                outputs = self._ask(server.address, tensor, limit_ns)
            except RefusedError as error:
                self.servers.let_go(server)
                refused, whys[server.address] = True, str(error)
            except NoAnswerError as error:
                self._forget(server.address)
                self.servers.failed(server, str(error))
                whys[server.address] = str(error)
            else:
                self.servers.answered(server)
                return outputs
        said = "; ".join(f"{address}: {why}" for address, why in whys.items())
        raise InferenceError(
            f"{self.servers.endpoints.model}: {said}", "inference_failed" if refused else AWAY
        )

    def _check(self, tensor: NDArray[Any]) -> None:
        name = self.servers.endpoints.model
        if self._closed:
            raise InferenceError(f"{name} is closed; open it again")
        self.input.require(tensor, name)

    def _ask(self, address: str, tensor: NDArray[Any], until_ns: int) -> Outputs:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = _link(self.servers, address)
        if address not in self._known:  # it may have come back with another network
            if not self.servers.agree(link.held(until_ns)):
                raise NoAnswerError(
                    "it has another network of that name now; start anew to take that one"
                )
            self._known.add(address)
        rows = tensor.shape[0]
        most = oiptensor.most_bytes(self.held, rows)
        answered = link.infer(self.held.inputs[0], tensor, self._names, most, until_ns)
        return oiptensor.read(self.outputs, rows, answered)

    def _forget(self, address: str) -> None:
        self._known.discard(address)
        link = self._links.pop(address, None)
        if link is not None:
            link.close()

    def _rest(self, until_ns: int) -> bool:
        """Wait until a server has rested; False: the time is over before, or the caller closes."""
        rested_ns = self.servers.rested_ns()
        if rested_ns >= until_ns:
            return False
        return not self.servers.closing.wait(max(0, rested_ns - time.monotonic_ns()) / 1e9)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._links)} of {len(self.servers)} open"
        return f"<OipRuntime {self.servers} {self.input}, {state}>"


def _link(servers: Servers, address: str) -> Link:
    if servers.endpoints.scheme in ("http", "https"):
        return HttpLink(servers, address)
    from framebuf.models.runtimes.oipgrpc import GrpcLink  # noqa: PLC0415 - an extra, and 100 ms

    return GrpcLink(servers, address)


def _share(until_ns: int, servers: int) -> int:
    """Until when one of so many servers may take its time, so that the others have some too."""
    now = time.monotonic_ns()
    return now + max(0, until_ns - now) // servers
