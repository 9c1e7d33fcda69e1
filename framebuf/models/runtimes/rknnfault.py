"""Why a model does not open on a board: one message, with what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.errors import ModelError
from framebuf.models import board

if TYPE_CHECKING:
    from pathlib import Path

    from framebuf.models.runtimes.rknnfile import RknnFile
    from framebuf.models.runtimes.vendorlog import VendorLog

CODES = {
    -1: "FAIL", -2: "TIMEOUT", -3: "DEVICE_UNAVAILABLE", -4: "MALLOC_FAIL", -5: "PARAM_INVALID",
    -6: "MODEL_INVALID", -7: "CTX_INVALID", -8: "INPUT_INVALID", -9: "OUTPUT_INVALID",
    -10: "DEVICE_UNMATCH", -11: "INCOMPATILE_PRE_COMPILE_MODEL",
    -12: "INCOMPATILE_OPTIMIZATION_LEVEL_VERSION", -13: "TARGET_PLATFORM_UNMATCH",
}  # fmt: skip
"""Of the vendor's rknn_api.h, where they begin with RKNN_ERR_; its spelling."""

VENDORS_NODE = "/dev/dri/renderD129"
"""What RKNNLite asks for in a container, whatever number the NPU's node has."""

SOURCE = "airockchip/rknn-toolkit2, folder rknpu2/runtime/Linux/librknn_api/aarch64"


def code_name(code: int) -> str:
    """`RKNN_ERR_FAIL (-1)`."""
    return f"RKNN_ERR_{CODES[code]} ({code})" if code in CODES else f"code {code}"


def cannot_open(path: Path, file: RknnFile, said: VendorLog) -> ModelError:
    """The error of a model that RKNNLite did not open, from what it said and what is there."""
    remedy = _remedy(file, said.text)
    return ModelError(f"{path}: {remedy}. The vendor says: {said.errors}")


def _remedy(file: RknnFile, text: str) -> str:
    if board.library() is None:
        return (
            f"the vendor's library {board.LIBRARIES[0]} is missing; copy it there from {SOURCE} "
            "(LD_LIBRARY_PATH does not help), or mount it into the container with -v"
        )
    if "in the container" in text:
        return (
            f"in a container the NPU needs --device {VENDORS_NODE}, and "
            f"-v for {board.DEVICE_TREE / 'compatible'} and {board.LIBRARIES[0]}"
        )
    for words, remedy in (
        (("failed to open rkn", "DEVICE_UNAVAILABLE", "driver open fail"), _no_device()),
        (("hardware version", "PLATFORM_UNMATCH", "DEVICE_UNMATCH"), _other_chip(file)),
        (("Invalid RKNN model version", "ERR_INCOMPATILE", "not match with rknn runtime version"),
         _old_library(file)),
        (("KEY_INVALID", "DECRYPT_FAILED", "SOC_BIND"), _encrypted()),
        (("set npu core mode",), "the NPU took no core mask; give runtimes = 1"),
        (("MALLOC_FAIL",), "there is no memory for it; give fewer runtimes, or smaller batches"),
        ((f"OSError: {board.library()}", "undefined symbol"), _bad_library()),
        (("Invalid RKNN format", "MODEL_INVALID"), "the library calls the file broken; copy or "
         "convert it again"),
    ):  # fmt: skip
        if any(word in text for word in words):
            return remedy
    return "it cannot be loaded; framebuf check --board shows what is there"


def _no_device() -> str:
    nodes = board.nodes()
    if not nodes:
        return (
            f"there is no NPU driver: neither {board.RENDER_NODES} nor {board.OLD_NODE} is there; "
            "boot the board maker's kernel, which has rknpu built in"
        )
    closed = [node for node in nodes if not node.usable]
    if closed:
        groups = ",".join(sorted({node.group for node in closed}))
        listed = ", ".join(map(str, closed))
        return (
            f"this user may not open {listed}; give it the groups: usermod -aG {groups} USER, or "
            f"SupplementaryGroups={groups.replace(',', ' ')} in the unit"
        )
    return (
        f"the NPU driver turns it away though {', '.join(str(node.path) for node in nodes)} can be "
        "opened; dmesg | grep -i rknpu says why"
    )


def _other_chip(file: RknnFile) -> str:
    here = board.soc() or "another chip"
    return (
        f"it is compiled for {', '.join(file.platforms)}, and the library takes this board for "
        f"another; its device tree says {here}: compile it with framebuf convert -p {here}"
    )


def _old_library(file: RknnFile) -> str:
    return (
        f"it is made by rknn-toolkit2 {file.toolkit}, {board.library()} is "
        f"{board.library_version() or 'older'}; update that from {SOURCE}"
    )


def _encrypted() -> str:
    return "it is encrypted and needs a key, which framebuf does not take; give the plain file"


def _bad_library() -> str:
    return f"{board.library()} cannot be loaded; copy the one for aarch64 there from {SOURCE}"
