"""`framebuf status` and `framebuf trigger --all` on a real broker, with nodes real and played."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho

from tests.service.numbered import make_video
from tests.service.parts import FRAMEBUF, Mosquitto, Node, films, tiny


def run(port: int, *commands: str) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of commands that run side by side."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([FRAMEBUF, *command.split(), *where], stdout=pipe, stderr=pipe, text=True)
        for command in commands
    ]
    try:
        said = [one.communicate(timeout=100) for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait(60)
    return [(one.returncode, *words) for one, words in zip(running, said, strict=True)]


def info(*cameras: str) -> str:
    return json.dumps({"version": "1", "cameras": {name: {} for name in cameras}, "models": {}})


@contextmanager
def nodes(port: int, base: str, cameras: dict[str, dict[str, object]]) -> Iterator[None]:
    """Plays nodes; a camera answers triggers with its done's event_type, or rejects with None.

    A node without cameras is offline.
    """
    retained = {}
    for name, its in cameras.items():
        retained[f"{base}/{name}/status"] = "online" if its else "offline"
        retained[f"{base}/{name}/info"] = info(*(its or ["gate"]))
        for camera in its or ["gate"]:
            retained[f"{base}/{name}/{camera}/availability"] = "online"

    def answer(client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        trigger = json.loads(message.payload)
        name = message.topic.split("/")[-2]
        for camera in trigger["cameras"]:
            outcome, root = cameras[name][camera], f"{base}/{name}/{camera}"
            ack = {"v": 1, "id": trigger["id"], "camera": camera, "status": "accepted"}
            if outcome is None:
                error = {"code": "queue_full", "message": "full"}
                ack |= {"status": "rejected", "error": error}
            client.publish(f"{root}/ack", json.dumps(ack), 1)
            if outcome is not None:
                done = {
                    "id": trigger["id"], "event_type": outcome, "published": 3, "requested": 4,
                    "ms": {"total": 9.0}, "missing": {}, "already_claimed": 0,
                }  # fmt: skip
                client.publish(f"{root}/done", json.dumps(done), 1)

    client, ready = paho.Client(paho.CallbackAPIVersion.VERSION2), threading.Event()
    client.on_message = answer
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(f"{base}/+/trigger", 1)
    for topic, text in retained.items():
        client.publish(topic, text, 1, retain=True).wait_for_publish(60)
    assert ready.wait(60)
    yield
    for topic in retained:
        client.publish(topic, b"", 1, retain=True).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def test_a_real_node_is_shown_whole_and_live_until_it_is_interrupted(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", 20, (320, 240))
    often = {"FRAMEBUF_STATS_S": "0.5"}
    node = Node(tmp_path, mosquitto.port, films(film) + tiny(), name="seen", env=often)
    with node.running():
        [(code, said, _)] = run(mosquitto.port, "status --node seen --json")
        assert code == 0
        document = json.loads(said)
        assert document["status"] == "online"
        assert document["cameras"] == {"gate": "online"}
        assert document["info"]["models"]["tiny"]["platform"] == "cpu"
        assert document["stats"]["cameras"]["gate"]["fps"] == 10.0
        assert document["stats"]["lanes"]["cpu"]["waiting"] == 0
        where = ("--host", "127.0.0.1", "--port", str(mosquitto.port), "--node", "seen")
        leader, follower = pty.openpty()
        live = subprocess.Popen([FRAMEBUF, "status", *where], stdout=follower, stderr=follower)
        os.close(follower)
        screen = b""
        try:
            while b"a minute" not in screen or b"stats of" not in screen:
                screen += os.read(leader, 65536)
            live.send_signal(signal.SIGINT)
            assert live.wait(60) == 0
        finally:
            live.kill()
            live.wait(60)
            os.close(leader)


def test_every_node_has_a_line_in_its_order_and_the_worst_one_is_the_exit_status(
    mosquitto: Mosquitto,
) -> None:
    cameras = {"n2": {"gate": "complete"}, "n1": {"gate": "complete", "yard": None}, "n3": {}}
    with nodes(mosquitto.port, "all/status", cameras):
        plain, json_ = run(
            mosquitto.port,
            "status --all --base all/status",
            "status --all --json --base all/status",
        )
    assert (plain[0], plain[2]) == (4, "")
    lines = [line.split()[:2] for line in plain[1].splitlines()[2:]]
    assert lines == [["n1", "online"], ["n2", "online"], ["n3", "offline"], ["2", "of"]]
    found = [(node["node"], node["status"]) for node in json.loads(json_[1])["nodes"]]
    assert found == [("n1", "online"), ("n2", "online"), ("n3", "offline")]


def test_a_trigger_to_all_is_answered_a_line_a_node_and_ends_with_the_worst_status(
    mosquitto: Mosquitto,
) -> None:
    cameras = {"n1": {"gate": "complete", "yard": None}, "n2": {"gate": "partial"}, "n3": {}}
    base = "--base all/fire"
    with nodes(mosquitto.port, "all/fire", cameras):
        every, gates, yards, absent = run(
            mosquitto.port,
            f"trigger --all --wait {base}",
            f"trigger gate --all --wait --json {base}",
            f"trigger yard --all {base}",
            f"trigger nix --all {base}",
        )
    assert (every[0], every[2]) == (5, "")
    lines = every[1].splitlines()
    assert lines[0] == "n3  offline: not asked"
    assert sorted(lines[1:]) == [
        "n1  gate complete: 3 of 4 frames in 9 ms; yard rejected queue_full: full",
        "n2  gate partial: 3 of 4 frames in 9 ms",
    ]
    assert gates[0] == 5
    outcomes = {
        node["node"]: {name: (one["done"] or {}).get("event_type") for name, one in its.items()}
        for node in json.loads(gates[1])["nodes"]
        for its in [node["cameras"]]
    }
    assert outcomes == {"n1": {"gate": "complete"}, "n2": {"gate": "partial"}, "n3": {"gate": None}}
    assert yards == (4, "n1  yard rejected queue_full: full\n", "")
    assert absent[0] == 5
    assert "no node below all/fire" in absent[2]
