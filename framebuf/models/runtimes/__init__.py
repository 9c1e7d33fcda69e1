"""One seam to the accelerators: a loaded model context, and how to open one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from framebuf.errors import ModelError
from framebuf.models.board import DEVICE_TREE, soc
from framebuf.models.platforms import CORES, is_simulated

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

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


def open_runtime(
    path: Path,
    platform: str,
    *,
    threads: int,
    layout: Literal["nchw", "nhwc"] | None = None,
    core: int | None = None,
) -> Runtime:
    """Load a model file on `platform`.

    On `cpu`, `threads` are its share of the processor. On an NPU a context is pinned to `core`,
    from 0; None: a batch takes all cores while it runs, a single picture any one that is free.

    Raises:
        ModelError: the file is missing or broken, or nothing here runs it.
    """
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


def platform_of(path: Path, configured: str) -> str:
    """What `auto` means for a model file: an .onnx runs on the CPU, an .rknn on this board."""
    if configured != "auto":
        return configured
    return "cpu" if path.suffix == ".onnx" else soc() or "rknn"
