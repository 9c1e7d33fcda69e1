"""The storm and its judge. `make chaos` blows for as long as KILLS says; here it is a few."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos.judge import Judge, spread
from tests.chaos.storm import Storm
from tests.chaos.teller import FAR, Teller
from tests.ports import free_port
from tests.service.parts import REPO, Mosquitto

pytestmark = pytest.mark.alone

if TYPE_CHECKING:
    from tests.service.rtsp import RtspCamera

KILLS = int(os.environ.get("KILLS", "2"))
SEED = int(os.environ.get("SEED", "7"))
STORE = os.environ.get("STORE", "raw")
"""The camera's: raw, or encoded."""
HANGS = float(os.environ.get("HANGS", "0.0005"))
"""How many inferences of the simulated NPU never come back."""


def tell(kills: int) -> None:
    if kills % 10 == 0:
        print(f"\rchaos: {kills} of {KILLS} kills", end="", flush=True)


@pytest.mark.timeout(600 + 60 * KILLS)
def test_whatever_dies_every_trigger_ends_in_one_done_and_every_answer_is_its_frames(
    tool, rtsp: RtspCamera, tmp_path: Path
) -> None:
    state = tmp_path / "broker"
    state.mkdir()
    extra = f"persistence true\npersistence_location {state}/\n"
    broker = Mosquitto(tool("mosquitto"), state, free_port(), extra)
    teller = Teller(REPO / "tests" / "assets" / "tiny-n.onnx", rtsp.pictures)
    assert teller.closest() > 2 * FAR
    broker.start()
    try:
        database = state / "mosquitto.db"
        with Storm(broker, database, rtsp, tmp_path, SEED, hangs=HANGS, store=STORE) as storm:
            try:
                storm.blow(KILLS, tell)
                asked_again = storm.settle()
            except BaseException:
                print(storm.faults, storm.supervisor.log[-5000:])
                raise
            judge = Judge(storm, rtsp, teller)
            verdict = judge.judge(asked_again)
    finally:
        broker.stop()
    got, wanted, short = judge.recovered()
    sent = storm.sender.sent
    print(
        f"\nchaos: {len(storm.kills)} kills, seed {SEED}, store {STORE}; {storm.faults!r}\n"
        f"{len(sent)} triggers, {verdict.requests} accepted, {dict(verdict.outcomes)}; "
        f"{verdict.answers} answers, {verdict.repeated} came again; on the simulated NPU\n"
        f"accepted without done: {len(verdict.without_done)}\n"
        f"triggers that vanished: {len(verdict.vanished)}\n"
        f"wrong-frame answers: {len(verdict.wrong_frames)}\n"
        f"daemons that did not come back: {judge.not_back()}\n"
        f"other faults: {len(verdict.faults)}\n"
        f"explained: {dict(verdict.explained)}\n"
        f"frames of the two seconds before a kill, asked for after it: {got} of {wanted}"
    )
    for what, values in judge.times().items():
        print(f"kill to {what}: {spread(values)}")
    for fault in [*verdict.all(), *short][:40]:
        print(fault)
    assert verdict.all() == []
    assert judge.not_back() == 0
    assert verdict.answers > 5 * KILLS
    assert short == []
