"""An exception in any callback of paho comes out where the connection is turned: none is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from framebuf.config import Mqtt
from framebuf.service.connection import Connection
from framebuf.service.ears import Ears
from framebuf.service.message import Session
from framebuf.service.outbox import Outgoing

if TYPE_CHECKING:
    from tests.service.parts import Mosquitto


class Ear:
    """Hears everything; explodes when it hears what it is told to."""

    def __init__(self, at: str, error: Exception) -> None:
        self.at = at
        self.error = error

    def __call__(self, callback: str) -> None:
        if callback == self.at:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("injected"), OSError("injected")])
@pytest.mark.parametrize("callback", ["welcomed", "received", "published"])
def test_an_exception_in_a_callback_ends_the_thread_that_turns_the_connection(
    mosquitto: Mosquitto, callback: str, error: Exception
) -> None:
    """An OSError, as of a full disk, is not taken for a trouble of the socket."""
    ear = Ear(callback, error)

    def welcomed(connection: Connection, _: object) -> None:
        ear("welcomed")
        connection.publish(Outgoing("callbacks/trigger", b"x"))

    ears = Ears(welcomed, lambda _: ear("received"), lambda *_: ear("published"), lambda *_: None)
    session = Session(client_id="callbacks", subscriptions=("callbacks/trigger",))
    connection = Connection(
        Mqtt(host="127.0.0.1", port=mosquitto.port), session, 5,
        password=None, tls=None, ears=ears,
    )  # fmt: skip
    connection.open()
    with pytest.raises(type(error), match="injected"):
        _turn(connection)
    connection.close()


def _turn(connection: Connection) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        assert connection.turn(), "the connection ended, and the exception with it"
