"""The platforms that models are compiled for, and how many NPU cores each has."""

from __future__ import annotations

CORES = {
    "rk3562": 1,
    "rk3566": 1,
    "rk3568": 1,
    "rk3576": 2,
    "rk3582": 3,  # two or three; like go-rknnlite, three
    "rk3588": 3,
}
"""Cores of one NPU (rknn-toolkit2's documentation)."""

SERVERS = "oip"
"""No board: inference servers, by the Open Inference Protocol."""

SIMULATED = "sim:"
"""What a platform begins with that is only played."""


def chip(platform: str) -> str:
    """The platform without `sim:`."""
    return platform.removeprefix(SIMULATED)


def is_simulated(platform: str) -> bool:
    return platform.startswith(SIMULATED)


def cores_of(platform: str) -> int:
    """Cores that a model can have for itself; a CPU is one, for its sessions share the threads."""
    return CORES.get(chip(platform), 1)


SAME_NPU = {"rk3568": "rk3566", "rk3582": "rk3588"}
"""Chips that run each other's model files (rknn-toolkit2's documentation)."""


def npu_of(platform: str) -> str:
    """The chip whose NPU a platform has: compiled for one of its chips, a model runs on all."""
    return SAME_NPU.get(chip(platform), chip(platform))


def shown(platform: str) -> str:
    """A platform for people: `a simulated rk3588`."""
    if platform == SERVERS:
        return "inference servers"
    return f"a simulated {chip(platform)}" if is_simulated(platform) else platform
