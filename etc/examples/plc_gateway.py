#!/usr/bin/python3
"""A PLC triggers by a UDP datagram and gets the verdict as another: framebuf for a machine.

The PLC sends the part's number as text ("000123") when it passes; the answer is "000123 OK",
"000123 NOK", or "000123 ERR" and why. OK: every frame was answered and none shows a defect.

    plc_gateway.py --camera framebuf/gate-7/line --listen 192.0.2.5:4840 --defect scratch
        --username trigger --password-file /etc/framebuf/trigger-password

Needs paho-mqtt 2; /usr/bin/framebuf's own is in /usr/lib/framebuf.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

LATEST_S = 5.0
"""After which a PLC gets no verdict, but ERR: it will have let the part go by."""
Address = tuple[str, int]


class Gateway:
    """Datagrams on the main thread, answers on paho's; `_waiting` is shared under its lock."""

    def __init__(self, camera: str, defects: frozenset[str], socket_: socket.socket) -> None:
        self._camera = camera
        self._defects = defects
        self._socket = socket_
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[str, Address, float]] = {}

    def connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(f"{self._camera}/done", 1), (f"{self._camera}/ack", 1)])

    def triggered(self, client: mqtt.Client, datagram: bytes, plc: Address) -> None:
        """Each datagram is a part of its own: the id has the moment in it."""
        part = datagram.decode("ascii", "replace").strip()
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", part):
            self._socket.sendto(b"? ERR a part's number is 1 to 40 letters and digits", plc)
            return
        now = time.time()
        id = f"{part}:{int(now * 1000)}"
        with self._lock:
            self._waiting[id] = (part, plc, time.monotonic() + LATEST_S)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
        trigger = {"id": id, "at": at, "mode": "window", "deadline": f"{LATEST_S:g}s"}
        client.publish(f"{self._camera}/trigger", json.dumps(trigger), qos=1)

    def answered(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        """What may come twice, and for other people's triggers too."""
        try:
            said = json.loads(message.payload)
            id, verdict = said["id"], self._verdict(message.topic, said)
        except (ValueError, LookupError, TypeError, AttributeError):
            return  # an exception would end paho's thread
        if isinstance(id, str) and verdict is not None:
            self._tell(id, verdict)

    def _verdict(self, topic: str, said: dict[str, Any]) -> str | None:
        """What a document says of its part; None: a trigger was taken, the answer is to come."""
        if topic.endswith("/ack"):
            return f"ERR {_code(said)}" if said.get("status") == "rejected" else None
        if "error" in said:  # the whole document was larger than the broker takes
            return f"ERR {_code(said)}"
        if said.get("event_type") != "complete":
            failed = {"failed": said["failed"]} if said.get("failed") else {}
            why = json.dumps(said.get("missing", {}) | failed)
            return f"ERR {said.get('event_type')}: {why}"
        if "summary" in said.get("left_out", ()):  # so it is not known what was found
            return "ERR summary left out"
        found = sorted(self._defects & said.get("summary", {}).keys())
        return f"NOK {' '.join(found)}" if found else "OK"

    def expire(self) -> None:
        """Tell those who wait for a node or a broker that is away."""
        now = time.monotonic()
        with self._lock:
            late = [id for id, (_, _, until) in self._waiting.items() if now > until]
        for id in late:
            self._tell(id, "ERR no answer")

    def _tell(self, id: str, verdict: str) -> None:
        with self._lock:
            part, plc, _ = self._waiting.pop(id, ("", None, 0.0))
        if plc is not None:
            self._socket.sendto(f"{part} {verdict}".encode(), plc)


def _code(said: dict[str, Any]) -> str:
    """Of the error in a document."""
    return str((said.get("error") or {}).get("code", "unknown"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--camera", required=True, help="base/node/camera")
    parser.add_argument("--listen", default="127.0.0.1:4840", help="address:port for datagrams")
    parser.add_argument("--broker", default="127.0.0.1:1883", help="host:port")
    parser.add_argument("--defect", action="append", default=[], help="a label that means NOK")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    options = parser.parse_args()
    host, port = options.listen.rsplit(":", 1)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((host, int(port)))
    listener.settimeout(0.2)
    gateway = Gateway(options.camera, frozenset(options.defect), listener)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    if options.username:
        password = options.password_file.read_text().strip() if options.password_file else None
        client.username_pw_set(options.username, password)
    client.on_connect = gateway.connected
    client.on_message = gateway.answered
    broker, broker_port = options.broker.rsplit(":", 1)
    client.connect_async(broker, int(broker_port))
    client.loop_start()
    sys.stderr.write(f"datagrams on {options.listen}\n")
    while True:
        try:
            datagram, plc = listener.recvfrom(1500)
        except TimeoutError:
            pass
        else:
            gateway.triggered(client, datagram, plc)
        gateway.expire()


if __name__ == "__main__":
    main()
