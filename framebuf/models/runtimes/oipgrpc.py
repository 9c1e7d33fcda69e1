"""The Open Inference Protocol over gRPC, with raw tensors. The extra `oip` brings grpcio."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framebuf.errors import ModelError
from framebuf.models.runtimes import oipwire
from framebuf.models.runtimes.oiperrors import NoAnswerError, RefusedError, words
from framebuf.models.runtimes.oiptensor import Held

try:
    import grpc
except ImportError as error:
    raise ModelError(
        "grpc:// needs grpcio: pip install 'framebuf[oip]'; http:// needs nothing more"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from framebuf.models.runtimes.oipservers import Servers
    from framebuf.models.runtimes.oiptensor import Answered, End

SERVICE = "/inference.GRPCInferenceService/"
MOST_TOLD = 2**20
"""Bytes of what is no tensor, names and shapes beside the tensors included."""
AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "RESOURCE_EXHAUSTED")
"""Statuses of a server that may answer later, or of none."""


class GrpcLink:
    """A channel to one server. Belongs to one thread at a time."""

    def __init__(self, servers: Servers, address: str) -> None:
        self.address = address
        self._servers = servers
        self._channel: Any = None
        self._most = 0  # bytes of a message that the channel takes
        self._calls = 0

    def held(self, until_ns: int) -> Held:
        """What the server says of the model.

        Raises:
            NoAnswerError, RefusedError: it says nothing, or no.
        """
        at = self._servers.endpoints
        request = oipwire.metadata_request(at.model, at.version)
        inputs, outputs = oipwire.model_metadata(
            self._call("ModelMetadata", request, MOST_TOLD, until_ns)
        )
        name, version = oipwire.server_metadata(
            self._call("ServerMetadata", b"", MOST_TOLD, until_ns)
        )
        try:
            config = self._call("ModelConfig", request, MOST_TOLD, until_ns)
            largest = oipwire.largest_batch(config)
        except RefusedError:  # only Triton tells
            largest = 0
        return Held.told(inputs, outputs, name, version, largest)

    def infer(
        self, end: End, tensor: NDArray[Any], names: Sequence[str], most: int, until_ns: int
    ) -> list[Answered]:
        """Run once; no more than `most` bytes of tensors are taken.

        Raises:
            NoAnswerError, RefusedError: there is no answer.
        """
        self._calls += 1
        at, asked = self._servers.endpoints, str(self._calls)
        data = np.ascontiguousarray(tensor).data.cast("B")
        request = oipwire.infer_request(at.model, at.version, asked, end, tensor.shape, names, data)
        message = self._call("ModelInfer", request, most + MOST_TOLD, until_ns)
        id, answered = oipwire.infer_response(message)
        if id not in ("", asked):
            raise NoAnswerError("it answers another question than it was asked")
        return answered

    def close(self) -> None:
        """Safe to call twice."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _call(self, method: str, request: bytes, most: int, until_ns: int) -> bytes:
        left_ns = until_ns - time.monotonic_ns()
        if left_ns <= 0:
            raise NoAnswerError("no answer in time")
        token = self._servers.token()
        metadata = [("authorization", f"Bearer {token}")] if token else None
        call = self._to(most).unary_unary(SERVICE + method)
        try:
            answer: bytes = call(request, timeout=left_ns / 1e9, metadata=metadata)
        except grpc.RpcError as error:
            raise _translated(error) from error
        return answer

    def _to(self, most: int) -> Any:
        """A channel that takes messages of so many bytes; what is longer ends a call."""
        if self._channel is not None and self._most >= most:
            return self._channel
        self.close()
        self._most = 1 << (most - 1).bit_length()  # a few sizes, not one for each batch
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", min(self._most, 2**31 - 1)),
            ("grpc.lb_policy_name", "round_robin"),  # a name may have several addresses
            ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # another server is asked, see Servers
        ]
        if self._servers.endpoints.tls:
            self._channel = grpc.secure_channel(self.address, self._credentials(), options)
        else:
            self._channel = grpc.insecure_channel(self.address, options)
        return self._channel

    def _credentials(self) -> Any:
        file = self._servers.ca_file or ssl.get_default_verify_paths().cafile
        try:  # None: gRPC's own authorities
            roots = Path(file).read_bytes() if file else None
        except OSError as error:
            raise RefusedError(f"ca_file {file} cannot be read: {error.strerror}") from error
        return grpc.ssl_channel_credentials(roots)

    def __repr__(self) -> str:
        return f"<GrpcLink {self.address} {'closed' if self._channel is None else 'open'}>"


def _translated(error: Any) -> NoAnswerError | RefusedError:
    status = error.code()
    what = f"{status.name}: {words(error.details())}"
    if status.name == "DEADLINE_EXCEEDED":
        return NoAnswerError("no answer in time")
    if "larger than max" in what:  # one side's limit of a message, which the next call would meet
        return RefusedError(f"{what}; raise the server's limit, or give a smaller max_batch")
    return NoAnswerError(what) if status.name in AWAY else RefusedError(what)
