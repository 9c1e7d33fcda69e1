"""What every test may ask for: the programs of the system, free ports; and no thread left over."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:
    pass  # on the emulated board, whose tests have no properties
else:
    # A machine may be slow, and the first example of all waits for tables that are made once
    settings.register_profile("slow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("slow")

OF_PACKAGE = {
    "buildah": "buildah",
    "chromium": "chromium",
    "journalctl": "systemd",
    "mmdebstrap": "mmdebstrap",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "node": "nodejs",
    "npm": "npm",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
}
"""The Debian package of each program that a test asks for."""

SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
"""Debian puts servers where only root looks."""

ENDING_S = 60.0
"""How long threads may take to end after the last test."""


def find(program: str) -> str:
    """The path of a program. Where it is not there the test skips, and fails with CI=true."""
    package = OF_PACKAGE[program]  # looked up first: on the next machine it may be needed
    path = shutil.which(program, path=SEARCHED)
    if path is None:
        missing(program, package)
    return path


def missing(what: str, packages: str) -> NoReturn:
    """Skip the test, or fail it with CI=true, naming the packages."""
    reason = f"{what} is missing: apt install {packages}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """`tool("mosquitto")`: its path, or a skip (with CI=true a failure) that names the package."""
    return find


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell's `&` has SIGINT ignored, and so would be what tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_thread_outlives_the_tests() -> Iterator[None]:
    """Whatever a test starts, it stops."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + ENDING_S
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, until - time.monotonic()))
    left = sorted(thread.name for thread in set(threading.enumerate()) - before)
    assert not left, f"still running after the last test: {', '.join(left)}"
