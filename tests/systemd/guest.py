"""Runs inside the guest, as root under its systemd: the life of the package, step by step.

What each step found goes to /out/steps.json; tests/systemd/test_service.py asserts on it there.
Only the standard library, for this is Debian's own Python.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

OUT = Path("/out")
DEB = next(OUT.glob("framebuf_*.deb"))
CONFIG = Path("/etc/framebuf/framebuf.toml")
ASSETS = "/usr/lib/framebuf/framebuf/demo/assets"
PASSWORD = "correct-horse-battery"
FORBIDDEN = (10, 229)
"""Major and minor number of /dev/fuse, which everybody may open where nothing forbids it."""
STEPS: dict[str, dict[str, object]] = {}

TOML = f"""
[node]
name = "g"
log_level = "LEVEL"
[mqtt]
username = "framebuf"
password_file = "${{CREDENTIALS_DIRECTORY}}/mqtt-password"
[[camera]]
name = "line"
source = "/srv/pictures"
fps = 5
buffer = "4s"
memory = "64 MiB"
models = ["objects"]
stale_after = "1s"
[camera.trigger]
before = BEFORE
mode = "window"
[[camera]]
name = "absent"
source = "rtsp://viewer:{PASSWORD}@127.0.0.1:9/stream"
memory = "16 MiB"
models = ["objects"]
[[model]]
name = "objects"
path = "{ASSETS}/nanodet-416.onnx"
task = "detect"
decoder = "nanodet"
labels = "{ASSETS}/coco.txt"
batch_sizes = [1]
threshold = THRESHOLD
"""


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return str(done.stdout)


def configure(threshold: float = 0.4, level: str = "info", before: str = "3") -> None:
    text = TOML.replace("LEVEL", level).replace("BEFORE", before)
    CONFIG.write_text(text.replace("THRESHOLD", str(threshold)))


def show(key: str) -> str:
    return run("systemctl", "show", "--value", "-p", key, "framebuf").strip()


def until(what: Callable[[], object], seconds: float = 120.0) -> float:
    """Seconds until it holds."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() > begun + seconds:
            raise TimeoutError(f"not within {seconds} s; {show('StatusText')!r}\n{log()[-2000:]}")
        time.sleep(0.05)
    return round(time.monotonic() - begun, 2)


def active() -> bool:
    return show("ActiveState") == "active"


def log() -> str:
    return run("journalctl", "-u", "framebuf", "-o", "cat", "--no-pager")


def entries(*matches: str) -> list[dict[str, str]]:
    """What journald has, field by field, of the unit."""
    text = run("journalctl", "-o", "json", "--no-pager", "_SYSTEMD_UNIT=framebuf.service", *matches)
    return [json.loads(line) for line in text.splitlines()]


def connections() -> int:
    """How often the unit has connected to the broker so far."""
    return len(entries("EVENT=broker_connected"))


def trigger(id: str, *more: str) -> dict[str, object]:
    """With its moment: without one it would be stale, so soon after a session was resumed."""
    command = ("framebuf", "trigger", "line", "-c", "/etc/framebuf/trigger.toml")
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = run(*command, "--id", id, "--at", at, "--wait", "--json", *more, check=False)
    found: dict[str, object] = json.loads(text)
    return found


def publish(topic: str, payload: str) -> None:
    run(
        "mosquitto_pub", "-q", "1", "-u", "trigger", "-P", PASSWORD, "-t", topic, "-m", payload
    )  # fmt: skip


# the steps, in order ---------------------------------------------------------------------------


def installed() -> dict[str, object]:
    begun = time.monotonic()
    run("dpkg", "-i", "--force-unsafe-io", str(DEB))
    seconds = time.monotonic() - begun
    groups = run("id", "-nG", "framebuf").split()
    about = CONFIG.stat()
    return {
        "seconds": round(seconds, 1),
        "groups": sorted(groups),
        "system_user": pwd.getpwnam("framebuf").pw_uid < 1000,
        "enabled": run("systemctl", "is-enabled", "framebuf", check=False).strip(),
        "active": active(),
        "config_mode": oct(about.st_mode & 0o777),
        "version": run("framebuf", "--version").strip(),
    }


def verified() -> dict[str, object]:
    unit = "/usr/lib/systemd/system/framebuf.service"
    command = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return {"said": done.stdout + done.stderr}


def misconfigured() -> dict[str, object]:
    """The configuration that comes with the package names a model that is not there."""
    run("systemctl", "start", "framebuf", check=False)
    return {"exit": show("ExecMainStatus"), "state": show("ActiveState"), "log": log()[-600:]}


def degraded() -> dict[str, object]:
    """No broker at all, and one of two cameras away."""
    configure()
    Path("/srv/pictures").mkdir()
    for picture in Path(ASSETS, "photos").iterdir():
        shutil.copy(picture, "/srv/pictures")
    credential = Path("/etc/credstore/framebuf.mqtt-password")
    credential.write_text(PASSWORD)
    credential.chmod(0o600)
    begun = time.monotonic()
    run("systemctl", "enable", "--now", "framebuf")
    seconds = time.monotonic() - begun
    until(lambda: "1 of 2 cameras online" in show("StatusText"))
    until(lambda: "no broker at" in show("StatusText"))
    return {"seconds": round(seconds, 1), "active": active(), "status": show("StatusText")}


def broker() -> dict[str, object]:
    """A broker with the package's own configuration and access list comes late."""
    examples = Path("/usr/share/doc/framebuf/examples/mosquitto")
    shutil.copy(examples / "framebuf.conf", "/etc/mosquitto/conf.d/framebuf.conf")
    shutil.copy(examples / "framebuf.acl", "/etc/mosquitto/framebuf.acl")
    passwords = "/etc/mosquitto/framebuf.passwd"
    for number, name in enumerate(("framebuf", "trigger", "viewer")):
        create = () if number else ("-c",)
        run("mosquitto_passwd", *create, "-b", passwords, name, PASSWORD)
    for file in (passwords, "/etc/mosquitto/framebuf.acl"):
        shutil.chown(file, "mosquitto", "mosquitto")
        Path(file).chmod(0o600)
    Path("/etc/framebuf/trigger-password").write_text(PASSWORD)
    client = TOML.replace("LEVEL", "info").replace("BEFORE", "3").replace("THRESHOLD", "0.4")
    client = client.replace('"framebuf"\npass', '"trigger"\npass')
    client = client.replace("${CREDENTIALS_DIRECTORY}/mqtt-password", "trigger-password")
    Path("/etc/framebuf/trigger.toml").write_text(client)
    run("systemctl", "start", "mosquitto")
    until(lambda: "broker" not in show("StatusText"))
    answer = trigger("first")
    return {"answer": answer, "restarts": show("NRestarts"), "status": show("StatusText")}


def sandboxed() -> dict[str, object]:
    """probe.py in the unit's own sandbox: the unit, with another program."""
    unit = Path("/usr/lib/systemd/system/framebuf.service").read_text()
    unit = unit.replace(
        "ExecStart=/usr/bin/framebuf run -c /etc/framebuf/framebuf.toml",
        "ExecStart=/usr/bin/python3 /srv/probe.py\nStandardOutput=file:/out/probe.json",
    )
    for line in ("Type=notify", "Restart=on-failure", "WatchdogSec=30"):
        assert line in unit, line
        unit = unit.replace(line, "Type=oneshot" if line.startswith("Type") else "")
    Path("/run/systemd/system/framebuf-probe.service").write_text(unit)
    shutil.copy(OUT / "probe.py", "/srv/probe.py")
    for folder in ("/srv/open", "/usr/local/open", "/home/open"):
        Path(folder).mkdir(parents=True)
        Path(folder).chmod(0o777)
    video = Path("/srv/video-only")
    video.write_text("seen")
    shutil.chown(video, "root", "video")
    video.chmod(0o640)
    os.mknod("/dev/forbidden", 0o666 | stat.S_IFCHR, os.makedev(*FORBIDDEN))
    Path("/dev/forbidden").chmod(0o666)
    os.close(os.open("/dev/forbidden", os.O_RDONLY))  # outside the sandbox it opens
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "framebuf-probe")
    found: dict[str, object] = json.loads((OUT / "probe.json").read_text())
    return found


def reloaded() -> dict[str, object]:
    pid = show("MainPID")
    before = trigger("before-reload")
    configure(threshold=0.99, level="debug", before="2")
    text = CONFIG.read_text().replace('base = "x"', "").replace("[mqtt]", '[mqtt]\nbase = "x"')
    CONFIG.write_text(text)
    run("systemctl", "reload", "framebuf")
    until(lambda: entries("EVENT=node_reloaded"))
    after = trigger("after-reload")
    said = [entry["MESSAGE"] for entry in entries("EVENT=node_reloaded")]
    CONFIG.write_text("[node]\nnonsense = 1\n")
    run("systemctl", "reload", "framebuf")
    until(lambda: entries("EVENT=reload_refused"))
    refused = [entry["MESSAGE"] for entry in entries("EVENT=reload_refused")]
    configure()
    run("systemctl", "reload", "framebuf")
    until(lambda: len(entries("EVENT=node_reloaded")) >= 2)
    third = trigger("third")
    return {
        "same_process": show("MainPID") == pid,
        "before": before,
        "after": after,
        "third": third,
        "said": said,
        "refused": refused,
        "active": active(),
    }


def killed() -> dict[str, object]:
    restarts, pid, before = int(show("NRestarts")), show("MainPID"), connections()
    os.kill(int(pid), signal.SIGKILL)
    seconds = until(lambda: int(show("NRestarts")) > restarts and active())
    until(lambda: connections() > before)
    return {"seconds": seconds, "answer": trigger("after-kill"), "new": show("MainPID") != pid}


def hung() -> dict[str, object]:
    """The whole process stands still: the watchdog of the service manager ends it."""
    folder = Path("/run/systemd/system/framebuf.service.d")
    folder.mkdir()
    (folder / "quick.conf").write_text("[Service]\nWatchdogSec=6\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "framebuf")
    restarts = int(show("NRestarts"))
    os.kill(int(show("MainPID")), signal.SIGSTOP)
    seconds = until(lambda: int(show("NRestarts")) > restarts and active())
    (folder / "quick.conf").unlink()
    folder.rmdir()
    run("systemctl", "daemon-reload")
    before = connections()
    run("systemctl", "restart", "framebuf")
    until(lambda: connections() > before)
    said = run("journalctl", "-u", "framebuf", "-o", "cat", "--no-pager", "_PID=1")
    return {"seconds": seconds, "said": "Watchdog timeout" in said}


def camera_gone() -> dict[str, object]:
    until(lambda: "1 of 2 cameras online" in show("StatusText"))
    Path("/srv/pictures").rename("/srv/pictures.away")
    until(lambda: "0 of 2 cameras online" in show("StatusText"))
    status, still = show("StatusText"), active()
    Path("/srv/pictures.away").rename("/srv/pictures")
    until(lambda: "1 of 2 cameras online" in show("StatusText"))
    return {
        "status": status,
        "active": still,
        "offline": entries("EVENT=camera_offline", "CAMERA=line")[-1:],
        "online": entries("EVENT=camera_online", "CAMERA=line")[-1:],
    }


def journalled() -> dict[str, object]:
    everything = run("journalctl", "-o", "export", "--no-pager")
    return {
        "request": entries("REQUEST_ID=first"),
        "ready": entries("EVENT=node_ready")[-1:],
        "secret_logged": PASSWORD in everything,
    }


def upgraded() -> dict[str, object]:
    """The package over itself, while a request waits for frames to come."""
    pid = show("MainPID")
    topics = ("-t", "framebuf/g/line/done", "-t", "framebuf/g/line/ack", "-t", "framebuf/g/status")
    listener = subprocess.Popen(
        ("mosquitto_sub", "-q", "1", "-u", "trigger", "-P", PASSWORD, *topics),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert listener.stdout is not None
    while (line := listener.stdout.readline()) != "online\n":  # it is retained
        assert line, "mosquitto_sub ended"
    body = {"id": "upgrade", "before": 2, "after": "6s", "deadline": "60s"}
    publish("framebuf/g/line/trigger", json.dumps(body))
    run("dpkg", "-i", "--force-unsafe-io", str(DEB))
    done: dict[str, object] = {}
    for line in listener.stdout:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("id") == "upgrade" and "event_type" in message:
            done = message
            break
    listener.terminate()
    return {"new": show("MainPID") != pid, "done": done, "kept": "objects" in CONFIG.read_text()}


def stopped() -> dict[str, object]:
    begun = time.monotonic()
    run("systemctl", "stop", "framebuf")
    seconds = round(time.monotonic() - begun, 1)
    return {"state": show("ActiveState"), "result": show("Result"), "seconds": seconds}


def removed() -> dict[str, object]:
    run("systemctl", "start", "framebuf")
    run("dpkg", "-r", "framebuf")
    return {
        "program": Path("/usr/bin/framebuf").exists() or Path("/usr/lib/framebuf").exists(),
        "config": CONFIG.exists(),
        "load": show("LoadState"),
        "processes": run("pgrep", "-u", "framebuf", check=False).split(),
        "buffers": [str(path) for path in Path("/dev/shm").glob("framebuf*")],
    }


def purged() -> dict[str, object]:
    run("dpkg", "-P", "framebuf")
    own = ("/out", "/proc", "/sys", "/run/systemd/system/framebuf-probe.service", "/etc/mosquitto")
    found = run("find", "/", "-name", "*framebuf*", check=False).splitlines()
    left = [path for path in found if not path.startswith(own)]
    users = run("getent", "passwd", "framebuf", check=False)
    return {"left": left, "user": users, "group": run("getent", "group", "framebuf", check=False)}


ORDER = (
    installed, verified, misconfigured, degraded, broker, sandboxed, reloaded, killed, hung,
    camera_gone, journalled, upgraded, stopped, removed, purged,
)  # fmt: skip


def main() -> None:
    for step in ORDER:
        begun = time.monotonic()
        try:
            STEPS[step.__name__] = step()
        except Exception:  # noqa: BLE001 - told in its place, and the next step tried
            STEPS[step.__name__] = {"failed": traceback.format_exc()}
        STEPS[step.__name__]["took"] = round(time.monotonic() - begun, 1)
        (OUT / "steps.json").write_text(json.dumps(STEPS, indent=1))
    (OUT / "log.txt").write_text(run("journalctl", "--no-pager", "-o", "short-monotonic"))


if __name__ == "__main__":
    sys.exit(main())
