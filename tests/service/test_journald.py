"""What the log leaves in a real journald, which listens in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framebuf.service.events import MESSAGE_IDS
from tests.conftest import missing
from tests.service.parts import REPO

JOURNALD = Path("/lib/systemd/systemd-journald")
LONG = "x" * 300_000
LOGGING = """
import logging
from framebuf.service.journald import JournalHandler

logging.basicConfig(level="DEBUG", handlers=[JournalHandler()],
                    format="%(message)s")
log = logging.getLogger("framebuf.service.replies")
extra = {"REQUEST_ID": "part-1", "CAMERA": "gate", "MODEL": "person"}
log.info("request %s", "part-1", extra=extra | {"EVENT": "request_complete", "small": "no field"})
log.warning("two\\nlines", extra={"EVENT": "no such event"})
log.error("x" * 300_000)
log.debug("quiet")
try:
    1 / 0
except ZeroDivisionError:
    log.critical("died", exc_info=True, extra={"EVENT": "node_died"})
"""
SCRIPT = """
set -e
mount -t tmpfs none /run/systemd; mount -t tmpfs none /run/log
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/dev/null 2>&1 &
trap "kill $!" EXIT
i=0
until [ -S /run/systemd/journal/socket ]; do i=$((i + 1)); [ $i -lt 6000 ]; sleep 0.01; done
"$PYTHON" -c "$LOGGING"
i=0
what="--directory=/run/log/journal --all SYSLOG_IDENTIFIER=framebuf"
until journalctl -o json $what 2>/dev/null >"$OUT" &&
    [ "$(wc -l <"$OUT")" -ge 5 ]; do i=$((i + 1)); [ $i -lt 600 ] || break; sleep 0.1; done
[ $i -lt 600 ]
"""


@pytest.fixture(scope="module")
def entries(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    tool("journalctl")
    if os.geteuid() != 0:
        missing("the right to a mount namespace", "sudo, and run this as root")
    out = tmp_path_factory.mktemp("journal") / "entries"
    env = os.environ | {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(REPO),
        "LOGGING": LOGGING,
        "OUT": str(out),
    }
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", SCRIPT]
    done = subprocess.run(
        command, check=False, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    return [json.loads(line) for line in text.splitlines()]


def entry(entries: list[dict[str, str]], text: str) -> dict[str, str]:
    return next(one for one in entries if one["MESSAGE"].startswith(text))


def test_uppercase_extras_are_fields_and_an_event_has_its_number(entries):
    found = entry(entries, "request part-1")
    assert found["REQUEST_ID"] == "part-1"
    assert found["CAMERA"] == "gate"
    assert found["MODEL"] == "person"
    assert found["EVENT"] == "request_complete"
    assert found["MESSAGE_ID"] == MESSAGE_IDS["request_complete"]
    assert found["SYSLOG_IDENTIFIER"] == "framebuf"
    assert found["LOGGER"] == "framebuf.service.replies"
    assert "small" not in {name.lower() for name in found}


def test_levels_are_the_priorities_of_syslog(entries):
    said = {"request": "6", "two": "4", "xxx": "3", "quiet": "7", "died": "2"}
    assert {text: entry(entries, text)["PRIORITY"] for text in said} == said


def test_a_message_keeps_its_lines_and_an_unknown_event_has_no_number(entries):
    found = entry(entries, "two")
    assert found["MESSAGE"] == "two\nlines"
    assert "MESSAGE_ID" not in found


def test_what_is_too_large_for_a_datagram_comes_whole(entries):
    assert entry(entries, "xxx")["MESSAGE"] == LONG


def test_a_traceback_is_part_of_its_message(entries):
    assert "ZeroDivisionError" in entry(entries, "died")["MESSAGE"]


def test_every_event_of_the_program_is_in_the_catalogue_and_the_other_way_round():
    text = "".join(file.read_text("utf-8") for file in (REPO / "framebuf").rglob("*.py"))
    used = set(re.findall(r'"EVENT": f?"([a-z_{.}]+)"', text))
    for pair in re.findall(r'event = "(\w+)" if \w+ else "(\w+)"', text):
        used |= set(pair)
    used.discard("request_{done.event_type}")
    used |= {f"request_{kind}" for kind in ("complete", "partial", "failed")}
    assert used == set(MESSAGE_IDS)


def test_each_event_has_a_number_of_its_own():
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch(r"[0-9a-f]{32}", number) for number in MESSAGE_IDS.values())
