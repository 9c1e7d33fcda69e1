"""Runs inside the unit's sandbox, and tells as JSON what it was kept from."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def outcome(attempt: Callable[[], object]) -> str:
    """`allowed`, or the name of the error."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


def write(path: str) -> Callable[[], object]:
    return lambda: Path(path).open("w").close()


def call(name: str, *arguments: int) -> None:
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


CLONE_NEWUSER = 0x10000000
found = {
    "write /srv/open": outcome(write("/srv/open/x")),
    "write /usr/local/open": outcome(write("/usr/local/open/x")),
    "write state": outcome(write("/var/lib/framebuf/probe")),
    "write /dev/shm": outcome(write("/dev/shm/framebuf-probe")),
    "look into /home": outcome(lambda: list(Path("/home/open").iterdir())),
    "open /dev/null": outcome(lambda: os.close(os.open("/dev/null", os.O_RDWR))),
    "open /dev/forbidden": outcome(lambda: os.close(os.open("/dev/forbidden", os.O_RDONLY))),
    "nice": outcome(lambda: os.nice(1)),
    "ptrace": outcome(lambda: call("ptrace", 0, 0, 0, 0)),
    "unshare": outcome(lambda: call("unshare", CLONE_NEWUSER)),
    "sched_setaffinity": outcome(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
    "netlink socket": outcome(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
    "packet socket": outcome(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
    "inet socket": outcome(lambda: socket.socket().close()),
    "see process 1": outcome(lambda: Path("/proc/1").stat()),
    "read a file of the group video": outcome(lambda: Path("/srv/video-only").open().close()),
    "read the configuration": outcome(lambda: Path("/etc/framebuf/framebuf.toml").open().close()),
    "read the credential": outcome(
        lambda: Path(os.environ["CREDENTIALS_DIRECTORY"] + "/mqtt-password").open().close()
    ),
    "read the credential's source": outcome(
        lambda: Path("/etc/credstore/framebuf.mqtt-password").open().close()
    ),
}
for left in ("/var/lib/framebuf/probe", "/dev/shm/framebuf-probe"):
    Path(left).unlink()
print(json.dumps(found))
