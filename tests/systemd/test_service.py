"""The package under a real systemd: Debian 12 (252) and trixie (257), booted in systemd-nspawn.

The guests go through tests/systemd/guest.py side by side; each test reads what one step found.
`make systemd-test`, as root: some minutes the first time, for the root file systems, then 90 s.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.systemd import bed

RELEASES = ("bookworm", "trixie")
HERE = Path(__file__).parent

Step = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def guests(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the steps of each release found."""
    tool("systemd-nspawn")
    tool("mmdebstrap")
    if os.geteuid() != 0:
        missing("the right to boot a guest", "sudo, and run this as root")
    outs = {release: tmp_path_factory.mktemp(release) for release in RELEASES}

    def go_through(release: str, out: Path) -> None:
        bed.root(release)
        bed.package(release, out)
        for file in ("guest.py", "probe.py"):
            shutil.copy(HERE / file, out)
        bed.boot(release, out)

    with ThreadPoolExecutor() as pool:
        list(pool.map(go_through, outs, outs.values()))
    found = {}
    for release, out in outs.items():
        steps = out / "steps.json"
        assert steps.exists(), f"{release}: {(out / 'nspawn.txt').read_text()[-3000:]}"
        found[release] = json.loads(steps.read_text())
        said = (out / "said.txt").read_text()
        assert not said, f"{release}: {said}"
    return found


@pytest.fixture(params=RELEASES)
def step(request: pytest.FixtureRequest, guests: dict[str, dict[str, Any]]) -> Step:
    steps = guests[request.param]

    def find(name: str) -> dict[str, Any]:
        assert name in steps, f"the guest came to {list(steps)}"
        found: dict[str, Any] = steps[name]
        assert "failed" not in found, found["failed"]
        return found

    return find


def complete(answer: dict[str, Any]) -> bool:
    return answer["done"]["event_type"] == "complete" and len(answer["results"]) > 0


def labels(answer: dict[str, Any]) -> set[str]:
    return {one["label"] for result in answer["results"] for one in result["detections"]}


def test_installed_it_has_its_user_and_waits_to_be_enabled(step):
    found = step("installed")
    assert found["groups"] == ["framebuf", "render", "video"]
    assert found["system_user"]
    assert found["enabled"] == "disabled"
    assert not found["active"]
    assert found["config_mode"] == "0o640", "cameras' addresses carry passwords"
    assert found["version"].startswith("framebuf ")


def test_systemd_has_nothing_to_say_about_the_unit(step):
    assert step("verified")["said"] == ""


def test_a_model_that_is_not_there_is_told_and_not_tried_again(step):
    found = step("misconfigured")
    assert found["exit"] == "78"
    assert found["state"] == "failed"
    assert "no such file" in found["log"]


def test_without_broker_and_camera_it_is_ready_and_the_status_names_both(step):
    found = step("degraded")
    assert found["active"]
    assert "away: absent" in found["status"]
    assert "no broker at localhost:1883" in found["status"]


def test_a_broker_that_comes_late_is_found_with_the_password_from_the_credential(step):
    found = step("broker")
    assert complete(found["answer"])
    assert labels(found["answer"])
    assert found["restarts"] == "0"


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        ("write /srv/open", "EROFS"),
        ("write /usr/local/open", "EROFS"),
        ("look into /home", "EACCES"),
        ("open /dev/forbidden", "EPERM"),
        ("nice", "EPERM"),
        ("ptrace", "EPERM"),
        ("unshare", "EPERM"),
        ("netlink socket", "EAFNOSUPPORT"),
        ("packet socket", "EAFNOSUPPORT"),
        ("see process 1", "ENOENT"),
        ("read the credential's source", "EACCES"),
    ],
)
def test_the_sandbox_refuses(step, attempt, expected):
    assert step("sandboxed")[attempt] == expected


@pytest.mark.parametrize(
    "attempt",
    [
        "write state",
        "write /dev/shm",
        "open /dev/null",
        "sched_setaffinity",
        "inet socket",
        "read a file of the group video",
        "read the configuration",
        "read the credential",
    ],
)
def test_the_sandbox_allows(step, attempt):
    assert step("sandboxed")[attempt] == "allowed"


def test_a_reload_applies_thresholds_and_trigger_defaults_in_the_same_process(step):
    found = step("reloaded")
    assert found["same_process"]
    assert labels(found["before"])
    assert len(found["before"]["results"]) == 3
    assert labels(found["after"]) == set(), "0.99 finds nothing"
    assert len(found["after"]["results"]) == 2
    assert labels(found["third"])
    assert len(found["third"]["results"]) == 3


def test_a_reload_says_what_it_applied_and_what_needs_a_restart(step):
    said = step("reloaded")["said"][0]
    applied, _, restart = said.partition("; a restart is needed for ")
    for key in ("node.log_level", "camera.line.trigger.before", "model.objects.threshold"):
        assert key in applied
    assert restart == "mqtt.base"


def test_a_reload_loses_no_frame(step):
    found = step("reloaded")
    missing_frames = [found[name]["done"]["missing"] for name in ("before", "after", "third")]
    assert missing_frames == [{}, {}, {}]


def test_a_wrong_file_at_a_reload_changes_nothing_and_is_told(step):
    found = step("reloaded")
    assert found["active"]
    assert "node.nonsense" in found["refused"][0]


def test_killed_it_is_back_and_answers(step):
    found = step("killed")
    assert found["new"]
    assert found["answer"]["done"]["event_type"] in ("complete", "partial")


def test_a_process_that_hangs_is_ended_by_the_watchdog_and_started_again(step):
    assert step("hung")["said"]


def test_a_camera_that_goes_is_told_and_comes_back(step):
    found = step("camera_gone")
    assert found["active"]
    assert "line" in found["status"].partition("away: ")[2]
    assert found["offline"][0]["PRIORITY"] == "4"
    assert found["offline"][0]["MESSAGE_ID"]
    assert found["online"][0]["PRIORITY"] == "6"


def test_the_journal_has_the_fields_that_people_search_for(step):
    found = step("journalled")
    entry = next(entry for entry in found["request"] if "EVENT" in entry)
    assert entry["EVENT"] == "request_complete"
    assert entry["CAMERA"] == "line"
    assert entry["SYSLOG_IDENTIFIER"] == "framebuf"
    assert len(entry["MESSAGE_ID"]) == 32
    assert found["ready"]


def test_no_secret_is_in_the_journal(step):
    assert not step("journalled")["secret_logged"]


def test_an_upgrade_with_a_request_in_flight_loses_nothing(step):
    found = step("upgraded")
    assert found["new"]
    assert found["kept"], "the configuration is a conffile"
    done = found["done"]
    assert done["requested"] == done["published"] + sum(done["missing"].values())
    assert done["published"] > 0


def test_stopped_it_ends_well(step):
    found = step("stopped")
    assert found["state"] == "inactive"
    assert found["result"] == "success"


def test_removed_it_leaves_only_its_configuration(step):
    found = step("removed")
    assert not found["program"]
    assert found["config"]
    assert found["load"] == "not-found"
    assert found["processes"] == []
    assert found["buffers"] == [], "memory that nobody reads any more"


def test_purged_it_leaves_nothing(step):
    found = step("purged")
    assert found["left"] == []
    assert found["user"] == ""
    assert found["group"] == ""
