"""A model on servers as it is configured, and as the commands and the library run it."""

from __future__ import annotations

import json
import logging
import queue
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import framebuf
from framebuf import config
from framebuf.cli import main
from framebuf.config.endpoints import Endpoints
from framebuf.errors import ConfigError, ModelError, ServersAwayError
from framebuf.frames import Frame
from framebuf.models.backlog import Job
from framebuf.models.inference import PATIENCE_NS
from framebuf.models.lanes import open_lanes
from framebuf.models.network import open_network
from framebuf.models.runtimes.oipservers import Servers
from framebuf.units import Moment
from tests.unit.oip_server import FakeServer, serving

FOLDER = Path("/etc/framebuf")


@pytest.mark.parametrize(
    ("url", "addresses", "model", "version"),
    [
        ("http://h:80/net", ("h:80",), "net", None),
        ("https://a-1.b:8443,10.0.0.6:1/net/3", ("a-1.b:8443", "10.0.0.6:1"), "net", "3"),
        ("grpc://[::1]:8001, h:65535/Net_1.0", ("[::1]:8001", "h:65535"), "Net_1.0", None),
        ("grpcs://h:8001/net", ("h:8001",), "net", None),
    ],
)
def test_a_url_names_servers_and_a_model(url, addresses, model, version):
    read = Endpoints.parse(url)
    assert (read.addresses, read.model, read.version) == (addresses, model, version)
    assert Endpoints.parse(str(read)) == read
    assert read.tls == url.split(":")[0].endswith("s")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h:80", "expected servers and a model as in http://10"),
        ("ftp://h:80/net", "expected http, https, grpc or grpcs, got ftp://"),
        ("http://user:secret@h:80/net", "put a token into token_file"),
        ("http://h/net", "expected host:port as in .*, got 'h'"),
        ("http://h:0/net", "got 'h:0'"),
        ("http://h:65536/net", "got 'h:65536'"),
        ("http://h:80,/net", "got ''"),
        ("http://h:80,h:80/net", "h:80 stands twice"),
        ("http://h:80/", "expected a model as in .*, got ''"),
        ("http://h:80/a b", "expected a model as in .*, got 'a b'"),
        ("http://h:80/net/", "expected a version as in .*, got ''"),
        ("http://h:80/net/1/infer", "got '1/infer'"),
        ("http://h:80/net?x=1", "got 'net.x=1'"),
        ("http://h:80/\x1b\u202e", r"got '\\x1b\\u202e'"),
    ],
)
def test_a_url_that_is_none_says_what_was_expected(url, message):
    with pytest.raises(ValueError, match=message):
        Endpoints.parse(url)


def net(path="https://h:8000/net", **keys):
    return {"name": "net", "path": path, "task": "raw"} | keys


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (net(task="auto"), "model[0].task: is missing"),
        (net(task="detect"), "model[0].decoder: is missing"),
        (net("http://h/net"), "model[0].path: expected host:port"),
        (net(platform="cpu"), "model[0].platform: is cpu, but the path is a place on servers"),
        (net(timeout="0s"), "model[0].timeout: is 0ms; give more than 0, up to 60s"),
        (net(timeout="61s"), "model[0].timeout: is 61s; give more than 0"),
        (net("http://h:1/n", ca_file="x"), "model[0].ca_file: is for TLS, the path begins with ht"),
        (net("grpc://h:1/n", token_file="x"), "model[0].token_file: would go over grpc:// for any"),
        (net(max_batch=4, batch_sizes=[8]), "model[0].batch_sizes: has more than max_batch = 4"),
        (net(fallback="away"), "model[0].fallback: there is no model away"),
        (net(fallback="net"), "model[0].fallback: net is on servers itself"),
        (net("n.onnx", max_batch=4), "model[0].max_batch: is for a model on servers"),
        (net("n.onnx", fallback="net"), "model[0].fallback: is for a model on servers"),
        (net("n.onnx", token_file="x"), "model[0].token_file: is for a model on servers"),
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together_are_named(model, message):
    with pytest.raises(ConfigError) as error:
        config.model_of(model)
    assert message in str(error.value)


def test_a_fallback_does_the_same_task():
    text = (
        'camera = [{name = "c", source = "x", models = ["net"]}]\n'
        '[[model]]\nname = "net"\npath = "grpc://h:1/n"\ntask = "raw"\nfallback = "near"\n'
        '[[model]]\nname = "near"\npath = "n.onnx"\ntask = "embed"\n'
    )
    with pytest.raises(ConfigError, match=r"f:6: model\[0\].fallback: near has task embed"):
        config.parse(text, "f", FOLDER)
    loaded = config.parse(text.replace("embed", "raw"), "f", FOLDER).config
    assert loaded.model[0].fallback == "near"


def test_files_of_a_model_on_servers_start_at_the_configurations_folder(monkeypatch):
    monkeypatch.setenv("SERVER", "10.0.0.5")
    text = (
        'camera = [{name = "c", source = "x", models = ["net"]}]\n'
        '[[model]]\nname = "net"\npath = "https://${SERVER}:8000/n"\ntask = "raw"\n'
        'ca_file = "ca.pem"\ntoken_file = "/run/token"\n'
    )
    (model,) = config.parse(text, "f", FOLDER).config.model
    assert model.path == "https://10.0.0.5:8000/n"
    assert (model.ca_file, model.token_file) == ("/etc/framebuf/ca.pem", "/run/token")


def test_a_token_may_go_in_plain_text_on_this_machine():
    assert config.model_of(net("http://127.0.0.1:1,[::1]:2/n", token_file="x")).token_file == "x"


# a fake server ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _a_slow_machine_is_no_dead_server(monkeypatch):
    real = Servers.of.__func__

    def patient(cls, model):
        found = real(cls, model)
        found.timeout_ns = 100 * 10**9
        return found

    monkeypatch.setattr(Servers, "of", classmethod(patient))


@pytest.fixture
def fake():
    with serving() as one:
        yield one


def model_at(fake, **keys):
    return config.model_of(net(f"http://{fake.address}/net", **keys))


@contextmanager
def network_at(fake, **keys):
    network = open_network(model_at(fake, **keys))
    try:
        yield network
    finally:
        network.close()


@pytest.mark.parametrize(
    ("told", "keys", "sizes"),
    [
        (8, {}, (1, 4, 8)),
        (16, {}, (1, 4, 8, 16)),
        (6, {}, (1, 4, 6)),
        (1, {}, (1,)),
        (0, {}, (1, 4, 8)),
        (0, {"max_batch": 2}, (1, 2)),
        (8, {"max_batch": 4}, (1, 4)),
        (8, {"batch_sizes": [2, 3]}, (2, 3)),
    ],
)
def test_batch_sizes_are_those_that_the_servers_take(fake, told, keys, sizes):
    fake.config = {"max_batch_size": told}
    with network_at(fake, **keys) as network:
        assert network.sizes == sizes


def test_a_fixed_batch_is_the_only_one(fake):
    fake.metadata["inputs"] = [fake.metadata["inputs"][0] | {"shape": [4, 4, 6, 3]}]
    with network_at(fake) as network:
        assert network.sizes == (4,)


def test_as_many_calls_are_under_way_as_runtimes_says(fake):
    with network_at(fake) as network:
        assert (len(network.contexts), network.cores) == (2, 2)
    with network_at(fake, runtimes=5) as network:
        assert (len(network.contexts), network.cores) == (5, 5)
        assert network.lane == f"http://{fake.address}/net"
        assert network.platform == "oip"


def test_what_servers_cost_is_measured_and_no_profile_is_asked_for(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with network_at(fake) as network:
        (lane,) = open_lanes([network]).values()
        assert set(fake.batches) == {1, 4, 8}
        assert lane.name == network.lane


def test_a_call_that_waits_for_a_server_is_no_hang(fake):
    with network_at(fake) as network:
        (lane,) = open_lanes([network]).values()
        network.contexts[0].inference.running_since_ns = 10**9
        assert lane.longest_run_ns(10**9 + PATIENCE_NS - 1) == 0
        assert lane.longest_run_ns(10**9 + PATIENCE_NS + 5) == 5


def test_a_lane_that_closes_waits_for_no_server(fake):
    network = open_network(model_at(fake))
    (lane,) = open_lanes([network]).values()
    lane.start()
    fake.status = (503, b"{}")
    while fake.entered.acquire(blocking=False):
        pass  # those that were timed
    come = queue.SimpleQueue()
    now = time.monotonic_ns()
    frame = Frame(0, Moment(now, now), np.zeros((4, 6, 3), np.uint8))
    lane.submit("net", [Job(frame, "a", now, lambda: None, come.put)])
    fake.entered.acquire()
    assert lane.close(60)
    assert come.get(timeout=60).error.code == "servers_away"


def test_the_library_maps_over_servers_and_runs_batches_by_hand(fake):
    frames = [np.full((4, 6, 3), n, np.uint8) for n in range(20)]
    with framebuf.open_model(f"http://{fake.address}/net") as model:
        results = list(model.map(frames))
        sums = [np.frombuffer(_f32(result), "<f4")[0] for result in results]
        assert sums == [n * 72 for n in range(20)]
        with model.new_batch(4) as batch:
            for frame in frames[:4]:
                batch.add(frame)
            batch.run()
            assert [float(batch.output(slot)[0][0]) for slot in range(4)] == [0, 72, 144, 216]


def _f32(result):
    import base64

    return base64.b64decode(result.findings.outputs[0].f32)


def test_the_library_says_that_no_server_answers():
    with pytest.raises(ServersAwayError, match=r"127.0.0.1:1: Connection refused"):
        framebuf.open_model("http://127.0.0.1:1/net")


def test_grpc_without_grpcio_names_the_extra(monkeypatch):
    import builtins
    import sys

    real = builtins.__import__

    def without(name, *args):
        if name == "grpc":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "framebuf.models.runtimes.oipgrpc", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"grpc:// needs grpcio: pip install 'framebuf\[oip\]'"):
        framebuf.open_model("grpc://127.0.0.1:1/net")


# commands ---------------------------------------------------------------------------------


def run(capsys, monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["framebuf", *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_inspect_shows_what_servers_say(fake, capsys, monkeypatch):
    url = f"http://{fake.address}/net"
    code, out, _ = run(capsys, monkeypatch, "inspect", url)
    assert (code, out.splitlines()[0]) == (0, f"{url}: on fake 1.0, any batch, up to 8")
    told = json.loads(run(capsys, monkeypatch, "inspect", url, "--json")[1])
    assert (told["format"], told["server"], told["max_batch"]) == ("oip", "fake 1.0", 8)
    assert [(end["name"], end["dtype"]) for end in told["outputs"]] == [
        ("sum", "float32"),
        ("first", "int32"),
    ]


def test_inspect_and_batch_send_the_token(fake, capsys, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("secret")
    url, token = f"http://{fake.address}/net", tmp_path / "token"
    assert run(capsys, monkeypatch, "inspect", url, "--token-file", token)[0] == 0
    assert {headers["Authorization"] for headers in fake.headers} == {"Bearer secret"}


def test_commands_tell_in_one_line_that_no_server_answers(capsys, monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 6, 3), np.uint8))
    url = "http://127.0.0.1:1/net"
    for options in (
        ("inspect", url),
        ("bench", "-m", url),
        ("batch", "-d", tmp_path, "-m", url, "--task", "raw"),
    ):
        code, out, err = run(capsys, monkeypatch, *options)
        assert (code, out) == (1, "")
        assert err == f"framebuf: {url}: 127.0.0.1:1: Connection refused\n"


def test_commands_refuse_a_wrong_url_by_the_option(capsys, monkeypatch):
    code, _, err = run(capsys, monkeypatch, "bench", "-m", "http://h/net")
    assert code == 2
    assert "--model" in err
    assert "expected host:port" in err


def test_batch_runs_a_folder_on_servers(fake, capsys, monkeypatch, tmp_path):
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((4, 6, 3), n, np.uint8))
    url = f"http://{fake.address}/net"
    options = ("batch", "-d", tmp_path, "-m", url, "-s", 2, "--task", "raw")
    code, out, _ = run(capsys, monkeypatch, *options, "--json")
    told = json.loads(out)
    assert (code, told["processed"], told["platform"], told["pool"]) == (0, 3, "oip", 2)
    assert told["runtime"] == "fake 1.0 over http"
    code, out, _ = run(capsys, monkeypatch, *options)
    assert f"Model: {url} on oip, batch 1, 4, 8, pool 2" in out


def test_bench_times_each_size_and_saves_nothing(fake, capsys, monkeypatch):
    url = f"http://{fake.address}/net"
    code, out, _ = run(capsys, monkeypatch, "bench", "-m", url, "--benchtime", "3x", "--json")
    assert (code, [each["batch"] for each in json.loads(out)["batches"]]) == (0, [1, 4, 8])
    code, _, err = run(capsys, monkeypatch, "bench", "-m", url, "--save")
    assert code == 2
    assert "what servers take is measured at each start" in err


def test_check_tells_servers_that_are_away_and_what_answers_instead(
    fake: FakeServer, tmp_path, capsys, monkeypatch, caplog
):
    caplog.set_level(logging.ERROR)
    near = Path(__file__).parents[1] / "assets/tiny-n.onnx"
    file = tmp_path / "f.toml"

    rings = f"/dev/shm/framebuf-test-{uuid.uuid4().hex}"

    def checked(address):
        file.write_text(
            f'[node]\nring_dir = "{rings}"\n'
            f'state_dir = "{tmp_path}/state"\n[mqtt]\nhost = "127.0.0.1"\nport = 1\n'
            f'[[camera]]\nname = "c"\nsource = "/nowhere.mp4"\nmodels = ["net"]\n'
            f'[[model]]\nname = "net"\npath = "http://{address}/net"\ntask = "raw"\n'
            f'fallback = "near"\n[[model]]\nname = "near"\npath = "{near}"\ntask = "raw"\n'
            "mean = [0, 0, 0]\nstd = [1, 1, 1]\n"
        )
        return json.loads(run(capsys, monkeypatch, "check", "-c", file, "--json")[1])

    told = checked(fake.address)
    (model, _) = told["models"]
    assert (model["servers"], model["fallback"]) == ("fake 1.0 over http", "near")
    told = checked("127.0.0.1:1")
    (problem,) = (each for each in told["problems"] if "path" in each["where"])
    assert problem["what"] == "http://127.0.0.1:1/net: 127.0.0.1:1: Connection refused"
    assert "without one and near answers meanwhile, and goes on trying" in problem["remedy"]
