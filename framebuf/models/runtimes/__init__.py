"""One seam to the accelerators: a loaded model context, and how to open one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from framebuf.errors import ModelError
from framebuf.models.board import DEVICE_TREE, soc
from framebuf.models.platforms import CORES, SERVERS, is_simulated
from framebuf.models.runtimes.oipservers import Servers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from framebuf.models.family import Source
    from framebuf.models.tensor import TensorSpec

Outputs = tuple["NDArray[np.float32]", ...]


class Runtime(Protocol):
    """One loaded model context. Belongs to one thread at a time."""

    @property
    def input(self) -> TensorSpec:
        """The picture that goes in; its batch axis is None where any number goes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def versions(self) -> str:
        """What runs the model, for people: `onnxruntime 1.23.2`; a simulated one says so."""
        ...

    def infer(self, tensor: NDArray[np.generic]) -> Outputs:
        """Run once: (batch, …) of the input's dtype to (batch, …) float32, one per output.

        The arrays are the caller's to keep: they are read while the next batch runs.

        Raises:
            InferenceError: the accelerator failed the call.
        """
        ...

    def close(self) -> None:
        """Free the accelerator. Safe to call twice."""
        ...


@runtime_checkable
class Distant(Runtime, Protocol):
    """One whose calls go over a network: they may wait long, and be told until when."""

    @property
    def largest(self) -> int | None:
        """The largest batch that is taken; None where nobody says."""
        ...

    def infer_until(self, tensor: NDArray[np.generic], until_ns: int) -> Outputs:
        """As `infer`, with the moment, monotonic, from which on nobody wants the answer."""
        ...

    def hurry(self) -> None:
        """Wait no longer than for the answer under way. Any thread."""
        ...


def open_runtime(
    path: Source,
    platform: str,
    *,
    threads: int,
    layout: Literal["nchw", "nhwc"] | None = None,
    core: int | None = None,
) -> Runtime:
    """Load a model file on `platform`, or ask its servers what it is.

    On `cpu`, `threads` are its share of the processor. On an NPU a context is pinned to `core`,
    from 0; None: a batch takes all cores while it runs, a single picture any one that is free.

    Raises:
        ModelError: the file is missing or broken, or nothing here runs it.
        ServersAwayError: none of the model's servers answers.
    """
    if isinstance(path, Servers):
        from framebuf.models.runtimes.oip import OipRuntime  # noqa: PLC0415 - rare

        return OipRuntime.open(path, layout=layout)
    if platform == "cpu":
        from framebuf.models.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 - costs 50 MB

        return OnnxRuntime.open(path, threads=threads, layout=layout)
    if is_simulated(platform):
        from framebuf.models.runtimes.simulated import SimulatedRuntime  # noqa: PLC0415 - rare

        return SimulatedRuntime.open(path, platform, core=core, layout=layout)
    if platform not in CORES:  # what `auto` found where there is no board
        raise ModelError(
            f"{path}: no Rockchip NPU is named in {DEVICE_TREE}/compatible; on a board give its "
            f'platform, one of {", ".join(CORES)}; elsewhere "sim:rk3588" plays one'
        )
    from framebuf.models.runtimes.rknn import RknnRuntime  # noqa: PLC0415 - only boards have it

    return RknnRuntime.open(path, platform, core=core)


def platform_of(path: Source, configured: str) -> str:
    """What `auto` means: an .onnx runs on the CPU, an .rknn on this board, a URL on servers."""
    if isinstance(path, Servers):
        return SERVERS
    if configured != "auto":
        return configured
    return "cpu" if path.suffix == ".onnx" else soc() or "rknn"
