"""The test bed: Debian in systemd-nspawn, booted over a throwaway layer, with the package inside.

Root file systems and the package's libraries are made once and kept in ~/.cache/framebuf-tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import find

REPO = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "framebuf-tests"
INCLUDED = "systemd,systemd-sysv,dbus,udev,procps,python3,mosquitto,mosquitto-clients"
BOOT_S = 1200

BOOT = """
set -e
mount -t tmpfs none $bed; mkdir $bed/up $bed/work $bed/root
mount -t overlay overlay -o lowerdir=$lower,upperdir=$bed/up,workdir=$bed/work $bed/root
mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/$name; echo $$ > /sys/fs/cgroup/$name/cgroup.procs
mkdir -p /run/systemd/inaccessible
exec systemd-nspawn --quiet --machine=$name -D $bed/root --boot --register=no --keep-unit \\
    --private-network --system-call-filter=bpf --console=read-only --link-journal=no \\
    --resolv-conf=off --timezone=off --bind=$out:/out </dev/null
"""
"""Where systemd is not the host's own: cgroups and mounts of its own. Without bpf allowed in the
guest, DeviceAllow would silently not be enforced."""

UNIT = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=-/usr/bin/python3 /out/guest.py
ExecStart=-/usr/bin/systemctl exit 0
StandardOutput=file:/out/said.txt
StandardError=file:/out/said.txt
[Install]
WantedBy=default.target
"""


def root(release: str) -> Path:
    """The folder of a release's root file system, made once."""
    name = hashlib.sha256(f"{release} {INCLUDED} 1".encode()).hexdigest()[:12]
    folder = CACHE / "systemd" / f"{release}-{name}"
    if not folder.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{release}-", dir=_made(CACHE / "systemd")))
        tar = making / "root.tar"
        include = f"--include={INCLUDED}"
        _run([find("mmdebstrap"), "-q", "--variant=minbase", include, release, str(tar)])
        (making / "root").mkdir()
        _run(["tar", "-xf", str(tar), "-C", str(making / "root"), "--exclude=./dev/*"])
        tar.unlink()
        for unit in ("mosquitto.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
            for link in (making / "root/etc/systemd/system").glob(f"*.wants/{unit}"):
                link.unlink()
        (making / "root").rename(folder)
        shutil.rmtree(making)
    return folder


def package(release: str, folder: Path) -> Path:
    """The package, built from this tree with libraries of an earlier run where there are any."""
    env = _libraries(release) | {"OUT": str(folder), "LEVEL": "1"}
    _run(["sh", str(REPO / "debian" / "package.sh")], env)
    return next(folder.glob("framebuf_*.deb"))


def install(release: str, folder: Path) -> None:
    """`make install` into a folder."""
    env = _libraries(release) | {"DESTDIR": str(folder)}
    _run(["sh", str(REPO / "systemd" / "install.sh")], env)


def _libraries(release: str) -> dict[str, str]:
    """An environment in which the package's libraries are fetched once."""
    wanted = (REPO / "pyproject.toml").read_text().partition("dependencies = [")[2]
    name = hashlib.sha256(wanted.partition("]")[0].encode()).hexdigest()[:12]
    libraries = CACHE / "systemd" / f"libraries-{release}-{name}"
    env = os.environ | {"RELEASE": release, "PYTHON": sys.executable}
    if libraries.exists():
        return env | {"DEPENDENCIES": str(libraries)}
    return env | {"KEEP": str(_made(libraries.parent) / libraries.name)}


def boot(release: str, out: Path) -> None:
    """Boot the release with `out` as /out; returns when the guest has run guest.py in it."""
    lower = root(release)
    layer = out / "layer"
    wanted = layer / "etc/systemd/system/default.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (layer / "etc/systemd/system/guest.service").write_text(UNIT)
    (wanted / "guest.service").symlink_to("../guest.service")
    (layer / "etc/hosts").write_text("127.0.0.1 localhost\n")  # minbase has none
    name = f"fb-{release}-{os.getpid()}"
    with tempfile.TemporaryDirectory() as bed:
        env = os.environ | {"bed": bed, "lower": f"{layer}:{lower}", "name": name, "out": str(out)}
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", BOOT]
        with (out / "nspawn.txt").open("wb") as said:
            subprocess.run(command, check=False, env=env, stdout=said, stderr=said, timeout=BOOT_S)
    _remove_cgroup(name)


def _remove_cgroup(name: str) -> None:
    """What the guest leaves in the host's tree of control groups."""
    script = (
        "mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup;"
        f"find /sys/fs/cgroup/{name} -depth -type d -exec rmdir {{}} + 2>/dev/null || true"
    )
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]
    subprocess.run(command, check=False)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout[-3000:]}"
