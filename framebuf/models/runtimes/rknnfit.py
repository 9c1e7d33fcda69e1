"""Whether a model file fits the chip and the library, and which of the cores it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framebuf.errors import ModelError
from framebuf.models import board
from framebuf.models.platforms import cores_of, npu_of

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.models.runtimes.rknnfile import RknnFile
    from framebuf.models.tensor import TensorSpec

CORE_AUTO = 0
"""RKNNLite.NPU_CORE_AUTO; NPU_CORE_0, _1, _2 are 1, 2, 4."""


def check_chip(file: RknnFile, platform: str) -> None:
    """Raises ModelError where the model, the configuration and the board name different NPUs."""
    here = board.soc()
    if here is not None and npu_of(here) != npu_of(platform):
        raise ModelError(
            f"{file.path}: the configuration says {platform}, this board is {here}; "
            f'give platform = "{here}", or "auto"'
        )
    if npu_of(platform) not in map(npu_of, file.platforms):
        raise ModelError(
            f"{file.path}: compiled for {', '.join(file.platforms)}, this is {platform}; "
            f"compile it with framebuf convert -p {platform}"
        )


def core_mask(path: Path, platform: str, batch: int, core: int | None) -> int:
    """What RKNNLite is told of cores.

    On chips of one core it fails for any mask but AUTO; models of a batch take all cores by
    themselves.

    Raises:
        ModelError: the chip has no such core.
    """
    cores = cores_of(platform)
    if core is not None and not 0 <= core < cores:
        raise ModelError(f"{path}: expected a core from 0 to {cores - 1}, got {core}")
    return CORE_AUTO if core is None or cores == 1 or batch > 1 else 1 << core


def agreed(path: Path, runtime: Any, picture: TensorSpec) -> tuple[str, str]:
    """The versions of library and driver, once the library knows the input as the file does.

    Raises:
        ModelError: it does not; or the wheel is none of those that are known.
    """
    try:
        _, library, driver = runtime.get_sdk_version()
        # with the batch in front, as boards show it: dims=[8, 256, 128, 3] (go-rknnlite's README)
        attribute = runtime.get_tensor_attr(0, False)
        told = tuple(attribute.dims[: attribute.n_dims])
    except Exception as error:  # the vendor raises nothing more exact
        raise ModelError(
            f"{path}: rknn-toolkit-lite2 {board.wheel_version()} does not say what runs ({error}); "
            "use 2.3.2 to 2.5.0"
        ) from error
    if told != picture.shape:
        raise ModelError(
            f"{path}: the file says {picture}, the library an input of "
            f"{'×'.join(map(str, told))}; convert the model again"
        )
    return str(library), str(driver)
