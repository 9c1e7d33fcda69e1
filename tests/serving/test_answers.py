"""Real Triton, MLServer and KServe: the shipped detector answers there as it does here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

import framebuf
from framebuf.errors import FramebufError
from tests.service.parts import ASSETS, FRAMEBUF
from tests.serving.conftest import NANODET

PHOTOS = sorted((ASSETS / "photos").glob("*.jpg"))
KEYS = {"task": "detect", "decoder": "nanodet", "labels": str(ASSETS / "coco.txt")}
SERVERS = ["triton-http", "triton-grpc", "mlserver-grpc", "kserve-grpc"]


@pytest.fixture
def url(request):
    """Where a server has the detector, by its name and the way to it."""
    server, _, scheme = request.param.partition("-")
    running = request.getfixturevalue(server)
    ports = (running.http, running.grpc) if server == "triton" else running
    return f"{scheme}://127.0.0.1:{ports[scheme == 'grpc']}/nanodet"


def found(path, count, **keys):
    """What a model finds in `count` pictures; the shipped ones, over and over."""
    pictures = [cv2.imread(str(photo)) for photo in PHOTOS]
    with framebuf.open_model(path, **KEYS, **keys) as model:
        return list(model.map(pictures[n % len(pictures)] for n in range(count)))


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_detections_are_those_of_the_same_model_here(url):
    here = found(NANODET, 10, batch_sizes=[1, 4])
    there = found(url, 10, batch_sizes=[1, 4])
    assert sum(len(result.findings.detections) for result in here) > 5
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.error is None
        pairs = zip(ours.findings.detections, theirs.findings.detections, strict=True)
        for one, other in pairs:
            assert one.label == other.label
            np.testing.assert_allclose(one.score, other.score, atol=1e-3)
            np.testing.assert_allclose(one.box, other.box, atol=0.5)


@pytest.mark.parametrize("url", ["triton-http", "triton-grpc"], indirect=True)
def test_batches_are_no_larger_than_triton_says(url):
    with framebuf.open_model(url, **KEYS) as model:
        assert model.sizes == (1, 4, 8)
    with pytest.raises(FramebufError, match="asks for 16, it takes 8 at most"):
        framebuf.open_model(url, **KEYS, batch_sizes=[16])


@pytest.mark.parametrize("url", ["mlserver-http", "kserve-http"], indirect=True)
def test_a_server_without_binary_http_is_told_with_the_remedy(url):
    with pytest.raises(FramebufError, match=r"as JSON over HTTP.*write grpc://"):
        framebuf.open_model(url, **KEYS)


def run(*options):
    return subprocess.run(
        [str(FRAMEBUF), *map(str, options)], capture_output=True, text=True, check=False
    )


def document(*options):
    done = run(*options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_inspect_tells_what_a_server_has(url):
    told = document("inspect", url)
    here = document("inspect", NANODET)
    assert (told["format"], told["platforms"], told["batch"]) == ("oip", ["oip"], None)
    assert told["max_batch"] == (8 if told["server"].startswith("triton") else None)
    for ours, theirs in zip(
        here["inputs"] + here["outputs"], told["inputs"] + told["outputs"], strict=True
    ):
        assert (theirs["name"], theirs["shape"], theirs["dtype"]) == (
            ours["name"], ours["shape"], ours["dtype"],
        )  # fmt: skip
    plain = run("inspect", url)
    assert f"{url}: on {told['server']}, any batch" in plain.stdout


@pytest.mark.parametrize("url", ["triton-http", "triton-grpc"], indirect=True)
def test_batch_and_bench_run_on_a_server(url, tmp_path):
    keys = ["--task", "detect", "--decoder", "nanodet"]
    told = document("batch", "-d", ASSETS / "photos", "-m", url, "-s", 2, *keys)
    assert (told["platform"], told["processed"], told["failed"]) == ("oip", len(PHOTOS), 0)
    assert told["runtime"].startswith("triton 2.")
    timed = document("bench", "-m", url, "--benchtime", "3x", "--batch", "1,4")
    assert [each["batch"] for each in timed["batches"]] == [1, 4]
    refused = run("bench", "-m", url, "--save")
    assert refused.returncode == 2
    assert "what servers take is measured at each start" in refused.stderr


def node(folder: Path, url: str, more: str = "") -> Path:
    file = folder / "framebuf.toml"
    file.write_text(
        f'[node]\nring_dir = "/dev/shm/framebuf-test-{folder.name}"\n'
        f'state_dir = "{folder}/state"\n'
        f'[[camera]]\nname = "gate"\nsource = "{ASSETS}/photos"\nmodels = ["far"]\n'
        f'[[model]]\nname = "far"\npath = "{url}"\ntask = "detect"\ndecoder = "nanodet"\n'
        f'labels = "{ASSETS}/coco.txt"\n{more}'
    )
    return file


@pytest.mark.parametrize("url", ["triton-grpc"], indirect=True)
def test_check_tries_the_server_and_its_fallback(url, tmp_path):
    near = (
        f'fallback = "near"\n[[model]]\nname = "near"\npath = "{NANODET}"\ntask = "detect"\n'
        f'decoder = "nanodet"\nlabels = "{ASSETS}/coco.txt"\n'
    )
    told = json.loads(run("check", "-c", node(tmp_path, url, near), "--json").stdout)
    far = told["models"][0]
    assert (far["platform"], far["fallback"]) == ("oip", "near")
    assert far["servers"].startswith("triton 2.")
    assert [each["batch"] for each in far["batches"]] == [1, 4, 8]
    assert not [each for each in told["problems"] if "model[" in each["where"]]
    away = json.loads(
        run("check", "-c", node(tmp_path, "grpc://127.0.0.1:1/x", near), "--json").stdout
    )
    (problem,) = (each for each in away["problems"] if "model[0].path" in each["where"])
    assert "127.0.0.1:1: UNAVAILABLE" in problem["what"]
    assert "the daemon starts without one and near answers meanwhile" in problem["remedy"]
