"""A mosquitto with etc/mosquitto/fleet.conf as it is, but for its ports and where its files are."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.service.account import PASSWORD
from tests.service.parts import REPO, Mosquitto

FOLDER = REPO / "etc" / "mosquitto"
CERTIFICATE = "fleet.pem"
"""In the test's folder: the key and the certificate of the broker, where it is to have TLS."""
TLS = (
    "certfile /etc/mosquitto/certs/fleet.pem\n",
    "keyfile /etc/mosquitto/certs/fleet.key\n",
)


def fleet_broker(
    tool: Callable[[str], str],
    folder: Path,
    nodes_port: int,
    operators_port: int,
    *,
    nodes: Sequence[str],
    operators: Sequence[str],
) -> Mosquitto:
    """Not started yet. All have `PASSWORD`. Without a CERTIFICATE in `folder`: without TLS."""
    for file, names in (("fleet-nodes.passwd", nodes), ("framebuf.passwd", operators)):
        path = folder / file
        path.touch(0o600)
        path.write_text("".join(f"{name}:{PASSWORD}\n" for name in names))
        subprocess.run([tool("mosquitto_passwd"), "-U", str(path)], check=True, capture_output=True)
    for file in ("fleet-nodes.acl", "framebuf.acl"):
        (folder / file).touch(0o600)
        (folder / file).write_bytes((FOLDER / file).read_bytes())
    conf = (FOLDER / "fleet.conf").read_text("utf-8")
    changes = {
        "listener 8883\n": f"listener {nodes_port} 127.0.0.1\n",
        "listener 8884\n": f"listener {operators_port} 127.0.0.1\n",
        "_file /etc/mosquitto/": f"_file {folder}/",
    }
    for line in TLS:
        key = line.partition(" ")[0]
        here = f"{key} {folder / CERTIFICATE}\n" if (folder / CERTIFICATE).exists() else ""
        changes[line] = here
    for there, here in changes.items():
        assert there in conf
        conf = conf.replace(there, here)
    # Its start waits for the last listener
    broker = Mosquitto(tool("mosquitto"), folder, operators_port)
    # The first three lines as Debian's mosquitto.conf has them; root would become another user
    (folder / "mosquitto.conf").write_text(
        f"user root\npersistence true\npersistence_location {folder}/\n{conf}"
    )
    return broker
