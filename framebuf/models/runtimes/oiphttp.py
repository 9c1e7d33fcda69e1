"""The Open Inference Protocol over HTTP, with binary tensors and no others.

JSON first, then the tensors' bytes: the "binary tensor data" extension, as Triton has it.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from framebuf.models.runtimes import oipbody
from framebuf.models.runtimes.oipbody import LENGTH
from framebuf.models.runtimes.oiperrors import NoAnswerError, RefusedError, words
from framebuf.models.runtimes.oipsocket import Connection
from framebuf.models.runtimes.oiptensor import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.client import HTTPResponse
    from typing import TypeVar

    from numpy.typing import NDArray

    from framebuf.models.runtimes.oipservers import Servers
    from framebuf.models.runtimes.oiptensor import Answered, End

    Answer = TypeVar("Answer")
    Kind = TypeVar("Kind", bound=msgspec.Struct)

BUSY = (408, 429, 502, 503, 504)
"""Statuses of a server that may answer later."""
BINARY = "binary_tensor_data"


class HttpLink:
    """A connection to one server, kept open between calls. Belongs to one thread at a time."""

    def __init__(self, servers: Servers, address: str) -> None:
        self.address = address
        self._servers = servers
        version = servers.endpoints.version
        self._path = f"/v2/models/{servers.endpoints.model}"
        self._path += f"/versions/{version}" if version else ""
        self._open: Connection | None = None
        self._calls = 0

    def held(self, until_ns: int) -> Held:
        """What the server says of the model.

        Raises:
            NoAnswerError, RefusedError: it says nothing, or no.
        """
        about = self._get("/v2", oipbody.About, until_ns)
        told = self._get(self._path, oipbody.Metadata, until_ns)
        if about.extensions is not None and BINARY not in about.extensions:
            raise RefusedError(
                f"{words(about.name)} sends tensors as JSON over HTTP, which takes half a second "
                "each: write grpc:// and its port"
            )
        try:
            config = self._get(f"{self._path}/config", oipbody.ModelConfig, until_ns)
            largest = config.max_batch_size
        except RefusedError:  # only Triton tells
            largest = 0
        return Held.told(told.inputs, told.outputs, about.name, about.version, largest)

    def infer(
        self, end: End, tensor: NDArray[Any], names: Sequence[str], most: int, until_ns: int
    ) -> list[Answered]:
        """Run once; no more than `most` bytes of tensors are taken.

        Raises:
            NoAnswerError, RefusedError: there is no answer.
        """
        self._calls += 1
        asked = str(self._calls)
        question = {
            "id": asked,
            "inputs": [{
                "name": end.name, "datatype": end.datatype, "shape": tensor.shape,
                "parameters": {"binary_data_size": tensor.nbytes},
            }],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in names],
        }  # fmt: skip
        head = msgspec.json.encode(question)
        body = (head, np.ascontiguousarray(tensor).data.cast("B"))
        id, answered = self._exchange(
            "POST", f"{self._path}/infer", body, until_ns,
            lambda response: oipbody.tensors(response, most),
        )  # fmt: skip
        if id not in (None, "", asked):
            self.close()
            raise NoAnswerError("it answers another question than it was asked")
        return answered

    def close(self) -> None:
        """Safe to call twice."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _get(self, path: str, kind: type[Kind], until_ns: int) -> Kind:
        return self._exchange(
            "GET", path, (), until_ns, lambda response: oipbody.document(response, kind)
        )

    def _exchange(
        self, method: str, path: str, body: Sequence[Any], until_ns: int,
        read: Callable[[HTTPResponse], Answer],
    ) -> Answer:  # fmt: skip
        """Ask, and once more where a connection that was kept open turns out to be closed."""
        was_open = self._open is not None
        try:
            return self._ask(method, path, body, until_ns, read)
        except TimeoutError as error:
            raise NoAnswerError("no answer in time") from error
        except (OSError, HTTPException, ValueError) as error:
            if not was_open:
                raise NoAnswerError(_why(error)) from error
        try:
            return self._ask(method, path, body, until_ns, read)
        except (OSError, HTTPException, ValueError) as error:
            raise NoAnswerError(_why(error)) from error

    def _ask(
        self, method: str, path: str, body: Sequence[Any], until_ns: int,
        read: Callable[[HTTPResponse], Answer],
    ) -> Answer:  # fmt: skip
        """Once; what cannot go on with the next question is closed."""
        if self._open is None:
            self._open = Connection(self._servers, self.address)
        self._open.until_ns = until_ns
        response: HTTPResponse | None = None
        try:
            response = self._sent(self._open, method, path, body)
            if response.status != 200:
                what = f"it answers {response.status} {words(response.reason)}: "
                what += oipbody.error_of(response)
                raise (NoAnswerError if response.status in BUSY else RefusedError)(what)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise NoAnswerError("it compresses what it was not asked to")
            return read(response)
        finally:
            # what is left of an answer would be taken for the next one's
            if response is None or not response.isclosed():
                self.close()

    def _sent(self, link: Connection, method: str, path: str, body: Sequence[Any]) -> HTTPResponse:
        token = self._servers.token()
        link.putrequest(method, path, skip_accept_encoding=True)
        if token is not None:
            link.putheader("Authorization", f"Bearer {token}")
        if body:
            link.putheader("Content-Type", "application/octet-stream")
            link.putheader(LENGTH, str(len(body[0])))
            link.putheader("Content-Length", str(sum(map(len, body))))
        try:
            link.endheaders(body[0] if body else None)
            for part in body[1:]:
                link.send(part)
        except (BrokenPipeError, ConnectionResetError) as error:
            # a body that is too large is refused before it has come
            try:
                return link.getresponse()
            except (OSError, HTTPException):
                raise error from None
        return link.getresponse()

    def __repr__(self) -> str:
        return f"<HttpLink {self.address} {'open' if self._open else 'closed'}>"


def _why(error: Exception) -> str:
    """What kept an answer from coming, briefly."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return words(error.strerror)
    return words(error) if str(error) else type(error).__name__
