"""systemd/framebuf.service, read as the service manager reads it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "framebuf.service"
TEXT = UNIT.read_text(encoding="utf-8")


def verify(program: str, folder: Path, text: str) -> str:
    """What systemd-analyze has to say about a unit. Its exit status is 0 even for unknown keys."""
    # verify wants the program to be there, and on a machine that only tests it is not
    text, count = re.subn(
        r"^ExecStart=/usr/bin/framebuf ", "ExecStart=/bin/true ", text, flags=re.M
    )
    assert count == 1
    unit = folder / UNIT.name
    unit.write_text(text, encoding="utf-8")
    command = [program, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


def settings(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", TEXT, re.MULTILINE)


def test_systemd_has_nothing_to_say_about_it(tool, tmp_path):
    assert verify(tool("systemd-analyze"), tmp_path, TEXT) == ""


def test_systemd_would_tell_of_an_unknown_key(tool, tmp_path):
    wrong = TEXT.replace("WatchdogSec=", "WatchdogSeconds=")
    assert "WatchdogSeconds" in verify(tool("systemd-analyze"), tmp_path, wrong)


def test_a_wrong_configuration_is_not_tried_again():
    from framebuf.shell import EX_CONFIG

    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == [str(EX_CONFIG)]


def test_it_starts_the_program_with_its_own_default_file():
    from framebuf.cli.config_file import DEFAULT_PATH

    assert settings("ExecStart") == [f"/usr/bin/framebuf run -c {DEFAULT_PATH}"]


def test_the_state_folder_is_the_default_of_the_configuration():
    from framebuf.config import Node

    assert [f"/var/lib/{name}" for name in settings("StateDirectory")] == [Node().state_dir]


@pytest.mark.parametrize("key", ["DynamicUser", "RemoveIPC"])
def test_nothing_removes_the_buffers_when_it_stops(key):
    assert settings(key) == []


def test_it_may_open_cameras_and_the_npu_and_no_other_device():
    assert settings("DevicePolicy") == ["closed"]
    assert settings("DeviceAllow") == [
        "char-video4linux rw", "char-drm rw", "char-dma_heap rw", "/dev/rknpu rw", "/dev/rga rw",
    ]  # fmt: skip
    assert settings("PrivateDevices") == [], "it would hide them all"


def test_it_is_exposed_no_more_than_it_must_be(tool):
    command = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(UNIT)]
    done = subprocess.run([*command, "--no-pager"], check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout[-200:]  # the threshold is ten times the exposure


def test_a_unit_without_its_sandbox_would_be_told_from_it(tool, tmp_path):
    loose = re.sub(r"^(SystemCallFilter|CapabilityBoundingSet)=.*$", "", TEXT, flags=re.M)
    unit = tmp_path / UNIT.name
    unit.write_text(loose, encoding="utf-8")
    command = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(unit)]
    done = subprocess.run([*command, "--no-pager"], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode != 0


def test_a_reload_sends_the_signal_that_the_daemon_reloads_at():
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_the_user_and_its_groups_are_those_of_sysusers():
    sysusers = (UNIT.parent / "framebuf.sysusers").read_text("utf-8").splitlines()
    lines = [line.split() for line in sysusers if not line.startswith("#")]
    assert settings("User") == [line[1] for line in lines if line[0] == "u"]
    assert {line[2] for line in lines if line[0] == "m"} == {"video", "render"}
    assert settings("SupplementaryGroups") == [], "they are the user's own"


def test_each_credential_is_of_the_store_and_may_be_missing():
    credentials = settings("LoadCredential")
    assert credentials[0] == "mqtt-password:framebuf.mqtt-password"
    for credential in credentials:  # an absolute path must be there, and the unit fails without
        assert "/" not in credential


@pytest.mark.parametrize("script", ["debian/postinst", "systemd/install.sh"])
def test_an_npu_that_is_there_already_gets_its_group_without_a_reboot(script):
    lines = (UNIT.parents[1] / script).read_text().splitlines()
    reload = next(at for at, line in enumerate(lines) if "udevadm control --reload" in line)
    apply = next(at for at, line in enumerate(lines) if "udevadm trigger" in line)
    assert reload < apply
    rules = (UNIT.parents[1] / "systemd/60-framebuf-npu.rules").read_text()
    for subsystem in re.findall(r'SUBSYSTEM=="(\w+)"', rules):
        assert f"--subsystem-match={subsystem}" in lines[apply]
