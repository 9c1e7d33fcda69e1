"""TLS, client certificates and websockets, on a real mosquitto with certificates of the test's."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from msgspec import structs

from framebuf.config import Mqtt
from framebuf.service.broker import Broker
from framebuf.service.health import Counters
from framebuf.service.message import Session
from framebuf.service.outbox import Outgoing
from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Mosquitto, Node, films, tiny

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
WAIT_S = 60.0


@dataclass
class Guarded:
    """A mosquitto that wants client certificates, and listens in plain for the test itself."""

    folder: Path
    broker: Mosquitto
    tls_port: int
    ws_port: int
    wss_port: int
    ca: trustme.CA
    other_ca: trustme.CA

    def certify(
        self, ca: trustme.CA | None = None, name: str = "127.0.0.1", **more: object
    ) -> None:
        """Give it a certificate, with which it starts next."""
        issued = (ca or self.ca).issue_cert(name, **more)  # type: ignore[arg-type]
        self._write("broker", issued)

    def mqtt(self, ca: trustme.CA | None = None) -> Mqtt:
        """The [mqtt] of a client with a certificate of that CA."""
        self._write("node", (ca or self.ca).issue_cert("node@example.org"))
        return Mqtt(
            host="127.0.0.1",
            port=self.tls_port,
            ca_file=str(self.folder / "ca.pem"),
            cert_file=str(self.folder / "node.pem"),
            key_file=str(self.folder / "node.key"),
        )

    def _write(self, name: str, issued: trustme.LeafCert) -> None:
        (self.folder / f"{name}.pem").write_bytes(issued.cert_chain_pems[0].bytes())
        (self.folder / f"{name}.key").write_bytes(issued.private_key_pem.bytes())


@pytest.fixture
def guarded(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Guarded]:
    folder = tmp_path / "guarded"
    folder.mkdir()
    tls_port, ws_port, wss_port = free_port(), free_port(), free_port()
    files = f"cafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key\n"
    extra = (
        f"listener {tls_port} 127.0.0.1\n{files}require_certificate true\nallow_anonymous true\n"
        f"listener {ws_port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n"
        f"listener {wss_port} 127.0.0.1\nprotocol websockets\n{files}require_certificate true\n"
        "allow_anonymous true\n"
    )
    broker = Mosquitto(tool("mosquitto"), folder, free_port(), extra)
    guarded = Guarded(folder, broker, tls_port, ws_port, wss_port, trustme.CA(), trustme.CA())
    guarded.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    yield guarded
    broker.stop()


def talks(mqtt: Mqtt) -> None:
    """A message goes out and comes back."""
    heard = []
    session = Session("talker", ("talk",))
    broker = Broker(mqtt, session, Counters(), on_message=heard.append)
    broker.start()
    assert broker.connected.wait(WAIT_S), broker.trouble
    broker.publish(Outgoing("talk", b"x" * 100_000))
    end = time.monotonic() + WAIT_S
    while not heard and time.monotonic() < end:
        time.sleep(0.01)
    broker.stop()
    assert [len(message.payload) for message in heard] == [100_000]


def test_a_broker_that_wants_a_certificate_gets_it(guarded: Guarded) -> None:
    guarded.certify()
    guarded.broker.start()
    talks(guarded.mqtt())


def test_a_certificate_that_the_broker_does_not_trust_is_told(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    guarded.certify()
    guarded.broker.start()
    broker = Broker(
        guarded.mqtt(guarded.other_ca), Session("x", ()), Counters(), on_message=lambda _: None
    )
    broker.start()
    end = time.monotonic() + WAIT_S
    while broker.trouble is None and time.monotonic() < end:
        time.sleep(0.01)
    assert "it refuses TLS with us: tlsv1 alert unknown ca" in str(broker.trouble)
    guarded.mqtt()  # a good one in the same files is picked up
    assert broker.connected.wait(WAIT_S)
    broker.stop()
    assert "3.1.1" not in caplog.text


def test_websockets(guarded: Guarded) -> None:
    guarded.certify()
    guarded.broker.start()
    talks(Mqtt(host="127.0.0.1", port=guarded.ws_port, transport="websockets"))


def test_websockets_with_a_certificate(guarded: Guarded) -> None:
    guarded.certify()
    guarded.broker.start()
    talks(structs.replace(guarded.mqtt(), port=guarded.wss_port, transport="websockets"))


WRONG = {
    "wrong CA": "unable to get local issuer certificate",
    "expired certificate": "certificate has expired",
    "wrong host name": "IP address mismatch, certificate is not valid for '127.0.0.1'",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_node_starts_without_a_broker_that_it_cannot_trust_says_why_and_goes_on_trying(
    guarded: Guarded, tmp_path: Path, case: str
) -> None:
    if case == "wrong CA":
        guarded.certify(guarded.other_ca)
    elif case == "expired certificate":
        guarded.certify(not_before=LONG_AGO, not_after=LONG_AGO + dt.timedelta(days=30))
    else:
        guarded.certify(name="elsewhere.example.org")
    guarded.broker.start()
    mqtt = guarded.mqtt()
    keys = ("ca_file", "cert_file", "key_file")
    film = make_video(tmp_path / "film.mp4", 30)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT_S)
        node = Node(
            tmp_path,
            guarded.tls_port,
            films(film) + tiny(),
            "tls",
            mqtt="".join(f'{key} = "{getattr(mqtt, key)}"\n' for key in keys),
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        with node.running():
            while WRONG[case] not in manager.recv(4096).decode():
                pass
            guarded.broker.stop()
            guarded.certify()
            guarded.broker.start()
            with Books.open(guarded.broker.port, "tls") as books:
                books.wait_text("gate/availability", "online")
                id = books.send_trigger("gate", {"mode": "window", "before": 1})
                assert books.wait_done(id).document["published"] == 1
            while "1 of 1 cameras online\n" not in manager.recv(4096).decode() + "\n":
                pass
    assert node.log.count(WRONG[case]) == 1
