"""The real Home Assistant finds a real node, presses its button and sees the event."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.homeassistant.bed import HomeAssistant
from tests.ports import free_port
from tests.service.books import Books
from tests.service.parts import ASSETS, Mosquitto, Node, nanodet

HOSTILE = "\"}} {{ 'x' * 3 }} ö"
LABELS = ["person", HOSTILE]
SETTINGS = f"[homeassistant]\ndiscovery = true\nlabels = {json.dumps(LABELS)}\n"
YARD = (
    f'[[camera]]\nname = "yard"\nsource = "{ASSETS}/photos"\nfps = 5\nbuffer = "3s"\n'
    'models = ["obj"]\n'
)
GATE = YARD.replace("yard", "gate").replace("fps", 'stale_after = "2s"\nfps')


@pytest.fixture(scope="module")
def broker(tool, tmp_path_factory) -> Iterator[Mosquitto]:
    found = Mosquitto(tool("mosquitto"), tmp_path_factory.mktemp("mosquitto"), free_port())
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def node(broker: Mosquitto, tmp_path_factory) -> Iterator[Node]:
    found = Node(
        tmp_path_factory.mktemp("node"),
        broker.port,
        SETTINGS + GATE + YARD + nanodet(),
        name="house",
        mqtt="last_image = true\n",
        env={"FRAMEBUF_STATS_S": "1"},
    )
    with found.running():
        yield found


@pytest.fixture(scope="module")
def home(broker: Mosquitto, node: Node) -> Iterator[HomeAssistant]:
    with Books.open(broker.port, "house", also=["homeassistant/#"]) as books:
        found = HomeAssistant(free_port(), broker.port)
        try:
            found.start()
            found.until_state("button.house_gate_trigger", lambda state: state == "unknown")
            birth = books.wait_message(lambda m: m.topic == "homeassistant/status")
            books.wait_message(lambda m: m.topic.endswith("/config"), after=birth.order)
            yield found
        finally:
            print(found.log[-5000:])
            found.stop()


def test_the_device_is_there_with_all_its_entities(home):
    states = home.states()
    mine = {name: state["state"] for name, state in states.items() if ".house_" in name}
    hostile = next(name for name in mine if name.startswith("sensor.house_gate_x"))
    kinds = {"camera": "binary_sensor", "trigger": "button", "done": "event"}
    kinds |= {"buffer": "sensor", "person": "sensor", "last_image": "image"}
    wanted = {f"{kind}.house_{c}_{name}" for c in ("gate", "yard") for name, kind in kinds.items()}
    wanted |= {"binary_sensor.house_connection", hostile, hostile.replace("gate", "yard")}
    assert set(mine) == wanted
    assert mine["binary_sensor.house_connection"] == "on"
    assert mine["binary_sensor.house_gate_camera"] == "on"
    button = "button.house_gate_trigger"
    assert home.render(f"{{{{ device_attr('{button}', 'manufacturer') }}}}") == "framebuf"
    listed = home.render(f"{{{{ device_entities(device_id('{button}')) | length }}}}")
    assert listed == str(len(wanted))


def test_the_seconds_in_the_buffer_are_told(home):
    found = home.until_state("sensor.house_gate_buffer", lambda state: state[:1] in "23")
    assert found["attributes"]["unit_of_measurement"] == "s"


def test_the_button_triggers_the_event_fires_and_labels_and_picture_follow(home):
    before = home.states()["event.house_gate_done"]["state"]
    home.call("/api/services/button/press", {"entity_id": "button.house_gate_trigger"})
    event = home.until_state("event.house_gate_done", lambda state: state != before)
    assert event["attributes"]["event_type"] == "complete"
    published = event["attributes"]["published"]
    assert published > 0
    persons = home.until_state("sensor.house_gate_person", str.isdigit)
    assert 0 < int(persons["state"]) == event["attributes"]["summary"]["person"] <= published
    hostile = next(name for name in home.states() if name.startswith("sensor.house_gate_x"))
    assert home.until_state(hostile, str.isdigit)["state"] == "0"
    assert home.states()[hostile]["attributes"]["friendly_name"] == f"house gate {HOSTILE}"
    image = home.until_state("image.house_gate_last_image", lambda state: state[:2] == "20")
    jpeg = home.fetch(image["attributes"]["entity_picture"])
    assert jpeg.startswith(b"\xff\xd8")
    assert home.states()["event.house_yard_done"]["state"] == "unknown"


def test_a_camera_that_leaves_the_configuration_leaves_home_assistant_too(home, node):
    assert node.stop(keep_rings=True) == 0
    home.until_state("button.house_gate_trigger", lambda state: state == "unavailable")
    home.until_state("binary_sensor.house_connection", lambda state: state == "off")
    node.config.write_text(node.config.read_text().replace(YARD, ""))
    node.start()
    home.until(lambda: not [name for name in home.states() if "house_yard" in name], "farewell")
    home.until_state("button.house_gate_trigger", lambda state: state != "unavailable")


def test_switched_off_by_a_reload_the_device_goes_and_switched_on_it_is_back(home, node):
    node.config.write_text(node.config.read_text().replace("discovery = true", "discovery = false"))
    node.signal(signal.SIGHUP)
    home.until(lambda: not [name for name in home.states() if ".house_" in name], "farewell")
    node.config.write_text(node.config.read_text().replace("discovery = false", "discovery = true"))
    node.signal(signal.SIGHUP)
    home.until_state("button.house_gate_trigger", lambda state: state != "unavailable")


def test_home_assistant_had_nothing_to_say_against_any_of_it(home):
    said = [
        line
        for line in home.log.splitlines()
        if ("WARNING" in line or "ERROR" in line) and ("mqtt" in line or "template" in line)
    ]
    assert said == []
