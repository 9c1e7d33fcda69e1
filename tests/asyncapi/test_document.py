"""What `framebuf check --asyncapi` prints, judged by AsyncAPI's own parser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import find
from tests.service.parts import FRAMEBUF

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "framebuf-tests"
NEWER = "asyncapi-latest-version"
"""It always says that there is a newer version of AsyncAPI than 3.0."""


@pytest.fixture(scope="session")
def parser() -> Path:
    """A folder with the parser, installed once."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"asyncapi-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="asyncapi-", dir=CACHE))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, making)
        # no scripts: what packages would run while they are installed is not asked for
        command = [find("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=making, check=True, timeout=300)
        making.rename(folder)
    shutil.copy(HERE / "judge.mjs", folder)
    return folder


def judged(parser: Path, text: str) -> dict[str, Any]:
    command = [find("node"), "judge.mjs"]
    done = subprocess.run(
        command, cwd=parser, input=text, capture_output=True, text=True, check=True, timeout=120
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def printed(*words: str) -> str:
    command = [FRAMEBUF, "check", "--asyncapi", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_parser_finds_nothing_wrong_and_every_topic_with_its_messages(parser):
    found = judged(parser, printed())
    assert [one for one in found["diagnostics"] if one["code"] != NEWER] == []
    assert found["version"] == "3.0.0"
    assert set(found["addresses"].values()) == {
        "framebuf/{node}/status",
        "framebuf/{node}/info",
        "framebuf/{node}/stats",
        "framebuf/{node}/trigger",
        "framebuf/{node}/ack",
        "framebuf/{node}/{camera}/availability",
        "framebuf/{node}/{camera}/trigger",
        "framebuf/{node}/{camera}/ack",
        "framebuf/{node}/{camera}/result",
        "framebuf/{node}/{camera}/done",
        "framebuf/{node}/{camera}/image/{id}/{index}",
        "framebuf/{node}/{camera}/last_image",
        None,
    }
    result = found["operations"]["sendCameraResult"]
    assert result["messages"] == ["Result", "TooLarge"]
    assert result["mqtt"] == {"qos": 1, "retain": False}
    assert found["operations"]["receiveCameraTrigger"]["action"] == "receive"
    assert {"id", "index", "camera", "frame", "detections"} <= set(found["messages"]["Result"])


def test_the_base_topic_and_the_broker_are_the_configurations(parser, tmp_path):
    file = tmp_path / "framebuf.toml"
    file.write_text(
        '[mqtt]\nhost = "broker.local"\nport = 8883\nbase = "site/fb"\n'
        '[[camera]]\nname = "gate"\nsource = "x"\nmodels = ["m"]\n'
        '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "embed"\n'
    )
    text = printed("-c", str(file))
    assert json.loads(text)["servers"]["broker"]["host"] == "broker.local:8883"
    found = judged(parser, text)
    assert [one for one in found["diagnostics"] if one["code"] != NEWER] == []
    assert found["addresses"]["nodeStatus"] == "site/fb/{node}/status"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("operations", "sendNodeInfo", "channel", "$ref"), "#/channels/nix"),
        (("channels", "nodeInfo", "parameters"), {}),
        (("components", "schemas", "Result", "type"), "nix"),
        (("operations", "sendNodeInfo", "bindings", "mqtt", "qos"), 7),
    ],
)
def test_a_document_that_is_broken_is_told(parser, path, value):
    document = json.loads(printed())
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    told = judged(parser, json.dumps(document))["diagnostics"]
    assert any(one["code"] != NEWER for one in told)
