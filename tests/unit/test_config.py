from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framebuf import config
from framebuf.config.toml_lines import key_lines
from framebuf.errors import ConfigError
from framebuf.units import Duration, Size, Span

GOOD = """\
[node]
name = "gate-7"

[mqtt]
port = 1883

[[camera]]
name = "gate"
source = "rtsp://camera/stream"
models = ["person"]

[camera.trigger]
before = "2s"

[[camera]]
name = "yard"
source = "/dev/video1"
models = [
  "person",
]

[[model]]
name = "person"
path = "nanodet.onnx"
task = "detect"
decoder = "nanodet"
"""

# CONTRACT.md, "Configuration", word for word
CONTRACT = """\
[node]
name = "gate-7"                  # default: the host's name
ring_dir = "/dev/shm/framebuf-gate-7"   # the buffers; must be a tmpfs (anything else would write terabytes to flash: refused)
state_dir = "/var/lib/framebuf"  # the request journal, small; on a tmpfs it survives a crash but not a power cut
max_pending = 32                 # unfinished requests; one more is rejected as queue_full
remember = "1h"                  # how long an id is known after its done (at least 10,000 ids)

[mqtt]
host = "localhost"
port = 1883
base = "framebuf"
username = "framebuf"
password_file = "${CREDENTIALS_DIRECTORY}/mqtt-password"
response_prefix = []             # where Response Topics may point; empty: they are refused
last_image = false
# ca_file, cert_file, key_file, transport = "websockets"

[[camera]]
name = "gate"
source = "/dev/video0"           # V4L2 device, rtsp:// or http(s):// URL, video file, folder of pictures
size = [1280, 720]               # asked of a V4L2 device
fps = 15                         # frames kept a second; default: every frame
buffer = "10s"                   # history that a trigger can reach back to; or an integer: frames
memory = "640 MiB"               # hard bound for history and headroom together
store = "raw"                    # or "encoded"
roi = [0, 0, 1280, 720]          # the part that the model sees; boxes stay in the full frame
models = ["person"]              # the first sees the frame; the next sees what it found
stale_after = "2s"               # no newer frame for this long: offline, reopened

[camera.trigger]                 # what a trigger means where it says nothing
mode = "drain"                   # each frame is answered once; "window": windows may share frames
before = "10s"                   # default: the whole history
after = "0s"
max_frames = 300
max_age = "5s"                   # an event older than this is stale
deadline = "30s"

[[model]]
name = "person"
path = "/etc/framebuf/models/nanodet-batch{1,4,8}.rknn"
platform = "auto"                # or rk3588 …, sim:rk3588, cpu
task = "detect"                  # classify, detect, embed, raw
decoder = "nanodet"              # detect only: nanodet, yolov5, yolov8 (also v9 and v11)
labels = "/etc/framebuf/models/coco.txt"
threshold = 0.40
iou = 0.50                       # non-maximum suppression within a class
resize = "letterbox"             # or "stretch", "center-crop" (classify: short side to 256/224 of the input, then the centre)
channels = "rgb"
batch_sizes = [1, 4, 8]          # only for a model whose batch axis is free
# mean, std, layout = "nchw"     # only for a float ONNX model; .rknn files and uint8 models carry their own
runtimes = 3                     # batch-1 contexts, one pinned to a core; each larger batch size has one context
parity = "refuse"                # the slot-parity self-check: "refuse", "warn", "off"
only = ["person"]                # second model: which of the first model's classes it sees
max_crops = 20                   # second model: how many of them a frame, best score first
"""  # noqa: E501 - as the contract has it


@pytest.fixture(autouse=True, scope="module")
def credentials():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/framebuf.service")
        yield patch


def parse(text):
    return config.parse(text, "f.toml", Path("/etc/framebuf"))


def refused(text):
    with pytest.raises(ConfigError) as error:
        parse(text)
    return error.value


def changed(old, new):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_the_contracts_example_means_what_it_says():
    loaded = parse(CONTRACT).config
    assert loaded.node.remember == Duration.parse("1h")
    assert loaded.mqtt.password_file == "/run/credentials/framebuf.service/mqtt-password"
    (camera,), (model,) = loaded.camera, loaded.model
    assert (camera.size, camera.fps, camera.buffer) == ((1280, 720), 15, Span.parse("10s"))
    assert camera.memory == Size.parse("640 MiB")
    assert camera.trigger.before == Span.parse("10s")
    assert (model.batch_sizes, model.runtimes, model.threshold) == ((1, 4, 8), 3, 0.4)


SECOND = """
[[model]]
name = "looks"
path = "looks.onnx"
task = "embed"
only = ["person"]
"""


def test_a_second_model_sees_what_a_detector_finds():
    loaded = parse(CONTRACT.replace('models = ["person"]', 'models = ["person", "looks"]') + SECOND)
    assert loaded.config.camera[0].models == ("person", "looks")
    assert loaded.config.model[1].only == ("person",)


@pytest.mark.parametrize(
    ("models", "what", "remedy"),
    [
        ('["person", "looks", "looks"]', "are 3", "give one model, or two in a row"),
        ('["looks", "looks"]', "looks finds no objects for looks: its task is embed", "detect"),
        ('["person", "person"]', "person stands second, and its task is detect", "embed"),
        ('["person", "look"]', "there is no model look", "did you mean looks?"),
    ],
)
def test_models_that_do_not_go_together_are_refused(models, what, remedy):
    error = refused(CONTRACT.replace('models = ["person"]', f"models = {models}") + SECOND)
    assert error.where.endswith("camera[0].models")
    assert (error.what, remedy in error.remedy) == (what, True)


@pytest.mark.parametrize("decoder", ["nanodet", "yolov5", "yolov8"])
def test_every_decoder_of_the_contract_is_taken(decoder):
    (model,) = parse(changed('decoder = "nanodet"', f'decoder = "{decoder}"')).config.model
    assert model.decoder == decoder


def test_the_contracts_defaults_are_those_of_an_almost_empty_file():
    least = parse(
        '[[camera]]\nname = "c"\nsource = "x"\nmodels = ["m"]\n'
        '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "raw"\n'
    ).config
    assert least.node.name == socket.gethostname()
    assert least.node.ring_dir == f"/dev/shm/framebuf-{least.node.name}"
    full = parse(CONTRACT).config
    assert least.node.max_pending == full.node.max_pending
    assert least.node.remember == full.node.remember
    assert (least.mqtt.host, least.mqtt.port, least.mqtt.base) == ("localhost", 1883, "framebuf")
    assert least.camera[0].buffer == full.camera[0].buffer
    assert least.camera[0].stale_ns == full.camera[0].stale_ns
    trigger, said = least.camera[0].trigger, full.camera[0].trigger
    assert trigger.before is None
    for key in ("mode", "after", "max_frames", "max_age", "deadline"):
        assert getattr(trigger, key) == getattr(said, key), key
    for key in ("platform", "threshold", "iou", "channels", "parity", "max_crops"):
        assert getattr(least.model[0], key) == getattr(full.model[0], key), key


BROKEN = [
    # a key's name, and its nearest
    ("port = 1883", "prot = 1883", 5, "mqtt.prot: unknown key; did you mean port?"),
    ("port = 1883", "zzz = 1", 5, "mqtt.zzz: unknown key; the known keys are host, port, base"),
    ('before = "2s"', 'befor = "2s"', 13, "camera[0].trigger.befor: unknown key; did you mean bef"),
    ('task = "detect"', 'tsak = "detect"', 25, "model[0].tsak: unknown key; did you mean task?"),
    ("[mqtt]", "[mqqt]", 4, "mqqt: unknown key; did you mean mqtt?"),
    ("[camera.trigger]", "[camera.triger]", 12, "camera[0].triger: unknown key; did you mean trig"),
    ("port = 1883", '"a.b" = 1', 5, "mqtt.a.b: unknown key; the known keys are"),
    ("port = 1883", "'x]' = 1", 5, "mqtt.x]: unknown key; the known keys are"),
    ("port = 1883", '"" = 1', 4, "mqtt.'': unknown key; the known keys are"),
    ("port = 1883", '"a\\nb" = 1', 4, "mqtt.'a\\nb': unknown key; the known keys are"),
    ("[node]", '"a.b.c" = 1\n[node]', 1, "a.b.c: unknown key; the known keys are node, mqtt"),
    # types
    ("port = 1883", 'port = "1883"', 5, "mqtt.port: is a string in quotes; give a whole number"),
    ("port = 1883", "port = 1883.5", 5, "mqtt.port: is a number; give a whole number"),
    ("port = 1883", "port = true", 5, "mqtt.port: is true or false; give a whole number"),
    ("port = 1883", "port = []", 5, "mqtt.port: is an array in [ ]; give a whole number"),
    ("port = 1883", "username = 5", 5, "mqtt.username: is a whole number; give a string in quotes"),
    ("port = 1883", "host = 2026-01-01", 5, "mqtt.host: is date; give a string in quotes"),
    ("port = 1883", "last_image = 1", 5, "mqtt.last_image: is a whole number; give true or false"),
    ("  \"person\",\n]", "  \"person\",\n  3]", 18, "camera[1].models[1]: is a whole number; give"),
    # ranges and forms
    ('name = "gate-7"', 'name = "a"\nstate_dir = ""', 3, "node.state_dir: is empty; give a text"),
    ("port = 1883", "port = 0", 5, "mqtt.port: expected int >= 1; give a value in range"),
    ("port = 1883", "port = 65536", 5, "mqtt.port: expected int <= 65535; give a value in range"),
    ("port = 1883", f"port = 1{'0' * 40}", 5, "mqtt.port: expected int <= 65535; give a value in"),
    ("port = 1883", 'host = ""', 5, "mqtt.host: is empty; give a text"),
    ("port = 1883", 'base = "a/+"', 5, "mqtt.base: is no valid name or value; give topic levels"),
    ("port = 1883", 'base = "a//b"', 5, "mqtt.base: is no valid name or value; give topic levels"),
    ("port = 1883", 'base = "$SYS"', 5, "mqtt.base: is no valid name or value; give topic levels"),
    ("port = 1883", 'base = "a\\n"', 5, "mqtt.base: is no valid name or value; give topic levels"),
    ("port = 1883", 'base = "\\uFFFF"', 5, "mqtt.base: is no valid name or value; give topic lev"),
    ('name = "gate-7"', 'name = "a/b"', 2, "node.name: is no valid name or value; use 1 to 64"),
    ('name = "gate-7"', 'name = "a\\n"', 2, "node.name: is no valid name or value; use 1 to 64"),
    ('task = "detect"', 'task = "raw"\nplatform = "rk3"', 26, "model[0].platform: is no valid nam"),
    ('task = "detect"', 'task = "raw"\niou = 1.5', 26, "model[0].iou: expected float <= 1.0; give"),
    ('task = "detect"', 'task = "raw"\niou = nan', 26, "model[0].iou: expected float >= 0.0; give"),
    ('task = "detect"', 'task = "raw"\nbatch_sizes = []', 26, "model[0].batch_sizes: expected arr"),
    ('task = "detect"', 'task = "raw"\nbatch_sizes = [1, 0]', 26, "model[0].batch_sizes[1]: expec"),
    ('task = "detect"', 'task = "raw"\nbatch_sizes = [99999]', 26, "model[0].batch_sizes[0]: expe"),
    ('before = "2s"', "before = -1", 13, "camera[0].trigger.before: -1 frames are out of range; g"),
    ('before = "2s"', 'before = "2"', 13, "camera[0].trigger.before: '2' is no duration; write \""),
    ('before = "2s"', 'before = "a: b"', 13, "camera[0].trigger.before: 'a: b' is no duration; wr"),
    ('before = "2s"', 'before = "99999d"', 13, "camera[0].trigger.before: 99999d is too long; giv"),
    ('before = "2s"', "before = 2.5", 13, "camera[0].trigger.before: 2.5 is no duration; write"),
    ("/stream\"\n", '/stream"\nmemory = "5"\n', 10, "camera[0].memory: '5' is no size; write \"51"),
    ("/stream\"\n", '/stream"\nmemory = "0 MiB"\n', 10, "camera[0].memory: is zero; give it room"),
    ("/stream\"\n", '/stream"\nbuffer = 0\n', 10, "camera[0].buffer: holds nothing; give a dura"),
    ("/stream\"\n", '/stream"\nroi = [-1, 0, 9, 9]\n', 10, "camera[0].roi[0]: expected int >= 0"),
    ("/stream\"\n", '/stream"\nroi = [0, 0, 0, 9]\n', 10, "camera[0].roi[2]: expected int >= 1"),
    ("/stream\"\n", '/stream"\nroi = [0, 0, 9, -9]\n', 10, "camera[0].roi[3]: expected int >= 1"),
    ("/stream\"\n", '/stream"\nroi = [0, 0, 9]\n', 10, "camera[0].roi: expected array of length 4"),
    ("/stream\"\n", '/stream"\nfps = 0\n', 10, "camera[0].fps: expected float > 0.0; give a va"),
    ("/stream\"\n", '/stream"\nfps = nan\n', 10, "camera[0].fps: expected float > 0.0; give a va"),
    ("/stream\"\n", '/stream"\nsize = [640]\n', 10, "camera[0].size: expected array of length 2, "),
    ("/stream\"\n", '/stream"\nstale_after = "0s"\n', 10, "camera[0].stale_after: is zero; give a"),
    # choices are listed
    ('task = "detect"', 'task = "dtect"', 25, "model[0].task: 'dtect' is no choice; use classify,"),
    ('task = "detect"', 'task = "x - at `$.y`"', 25, "model[0].task: 'x - at `$.y`' is no choice;"),
    ('before = "2s"', 'mode = "all"', 13, "camera[0].trigger.mode: 'all' is no choice; use drain,"),
    ("port = 1883", 'transport = "udp"', 5, "mqtt.transport: 'udp' is no choice; use tcp, websoc"),
    # what is missing
    ('path = "nanodet.onnx"\n', "", 22, "model[0].path: is missing; add path = …"),
    ('decoder = "nanodet"\n', "", 22, 'model[0].decoder: is missing; add decoder = "nanodet"'),
    ('source = "/dev/video1"\n', "", 15, "camera[1].source: is missing; add source = …"),
    # tables in wrong places
    ("[node]", "[[node]]", 1, "node: is an array in [ ]; write [node]"),
    ('[node]\nname = "gate-7"', "node = 3\n", 1, "node: is a whole number; write [node]"),
    ('[camera.trigger]\nbefore = "2s"', "trigger = 3\n", 12, "camera[0].trigger: is a whole numbe"),
    ("[camera.trigger]", "[[camera.trigger]]", 12, "camera[0].trigger: is an array in [ ]; write "),
    ("[[model]]", "[model]", 22, "model: is a table; write [[model]]"),
    # keys that do not fit together
    ('name = "yard"', 'name = "gate"', 16, "camera[1].name: a second camera named gate; give it a"),
    ('name = "yard"', 'name = "stats"', 16, "camera[1].name: stats is a topic of the node; rename"),
    ('models = ["person"]', 'models = ["persn"]', 10, "camera[0].models: there is no model persn;"),
    ('models = ["person"]', 'models = ["cat"]', 10, "camera[0].models: there is no model cat; add"),
    ('before = "2s"', 'before = "11s"', 13, "camera[0].trigger.before: 11s is more than the buffe"),
    ('before = "2s"', 'after = "31s"', 13, "camera[0].trigger.after: 31s reaches past the deadlin"),
    ('before = "2s"', 'max_age = "0s"', 13, "camera[0].trigger.max_age: is zero; give a duration"),
    ("port = 1883", 'cert_file = "c"', 4, "mqtt: cert_file and key_file go together; give both or"),
    ('task = "detect"', 'task = "raw"\nstd = [1, 0, 1]\nmean = [0, 0, 0]', 26, "model[0].std: con"),
    ('task = "detect"', 'task = "raw"\nstd = [1, 1, 1]\nmean = [nan, 0, 0]', 27, "model[0].mean: "),
    ('task = "detect"', 'task = "raw"\nmean = [0, 0, 0]', 22, "model[0]: mean and std go together"),
    # variables
    ('"nanodet.onnx"', '"${NO_SUCH}/x.onnx"', 24, "model[0].path: the variable NO_SUCH is not set"),
    ('"nanodet.onnx"', '"$NO_SUCH/x.onnx"', 24, "model[0].path: the variable NO_SUCH is not set; "),
    ("rtsp://camera", "rtsp://me:pa$$word@camera", 9, "camera[0].source: the variable word is not"),
    ('"nanodet.onnx"', '"a\\u0000.onnx"', 24, "model[0].path: contains NUL; no path has one"),
    # not TOML
    ("port = 1883", "port = 18 83", 5, "is not TOML: expected newline or end of document"),
    ("port = 1883", 'port = "1883', 5, "is not TOML: illegal character"),
    ("port = 1883", "port = 1883\nport = 1884", 6, "is not TOML: cannot overwrite a value"),
    ("[mqtt]", "[Node]\n[Node]", 5, "is not TOML: cannot declare ('Node',) twice"),
    ('decoder = "nanodet"', 'decoder = """nano', 26, "is not TOML: unterminated string"),
    ("port = 1883", f"port = 1{'0' * 5000}", 5, "is not TOML: a number is too long; mend that lin"),
    ("port = 1883", f"port = {'[' * 5000}", 5, "is not TOML: nested too deeply; mend that line"),
    ("port = 1883", "port = 2026-02-30", 5, "is not TOML: invalid date"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), BROKEN)
def test_what_is_wrong_is_told_with_file_line_key_and_remedy(old, new, line, words):
    error = refused(changed(old, new))
    assert str(error).startswith(f"f.toml:{line}: {words}")
    assert error.remedy
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f.toml:1: camera: is missing; add [[camera]]"),
        ("\n# nothing\n", "f.toml:1: camera: is missing; add [[camera]]"),
        ("camera = 3", "f.toml:1: camera: is a whole number; write [[camera]]"),
        ("\n\ncamera = [3]", "f.toml:3: camera[0]: is a whole number; write [[camera]]"),
        ("camera = []", "f.toml:1: camera: expected array of length >= 1; give"),
        ("[[camera]]", "f.toml:1: camera[0].name: is missing; add name = …"),
        ("\n[camera]", "f.toml:2: camera: is a table; write [[camera]]"),
        ("[a", "f.toml:1: is not TOML: expected ']' at the end of a table declaration"),
        ("[node]\nx =", "f.toml:2: is not TOML: invalid value"),
        ('node = {name = "a b"}', "f.toml:1: node.name: is no valid name or value; use 1 to 64"),
        ('node = {nam = "a"}', "f.toml:1: node.nam: unknown key; did you mean name?"),
        ('\nnode.name = "a b"', "f.toml:2: node.name: is no valid name or value; use 1 to 64"),
        ('\nnode . "name" = "a b"', "f.toml:2: node.name: is no valid name or value; use 1 to 64"),
        ('\n[mqtt]\n\n[ "node" ]\n"name" = 5', "f.toml:5: node.name: is a whole number; give a"),
        ("\ufeff[node]", "f.toml:1: is not TOML: invalid statement"),
    ],
)
def test_files_of_unusual_form_are_told_their_line_too(text, words):
    assert str(refused(text)).startswith(words)


@pytest.mark.parametrize(
    "before",
    [
        'host = """\nport = 1\n[node]\n"""',
        "host = '''\nport = 1\n\\'''",
        'host = """a\\"""\nb"""',
        'host = """\nx""""',
        'host = """" ""\n"" """',
        'host = """x"""" # a " [',
        '# a """ in a comment',
        "host = \"it's '''here\"",
        'host = \'say """ once\'',
        'host = "\u2028\u0085"',
        "response_prefix = [\n  # port = 2\n  'a]', \"[[\",\n]",
        'response_prefix = [ "]", # ]\n]',
        'host = "a # no comment"  # "',
        "host = 'C:\\'",
        'host = "a\\\\" # "',
        "# \u2028\r",
        "host = 'x'\r",
    ],
)
def test_no_string_array_or_comment_before_it_moves_the_line(before):
    text = changed("port = 1883", f"{before}\nport = 0")
    line = text[: text.index("port = 0")].count("\n") + 1
    assert refused(text).where == f"f.toml:{line}: mqtt.port"


def test_what_looks_like_a_table_inside_an_array_is_none():
    lines = key_lines("[a]\nb = [\n{c = 1}, [\n1], # [x]\n[1]\n]\nd = 2\n")
    assert lines == {"": 1, "a": 1, "a.b": 2, "a.d": 7}


def test_every_camera_and_model_has_lines_of_its_own():
    lines = key_lines(GOOD)
    text = GOOD.splitlines()
    assert text[lines["camera[0].trigger.before"] - 1] == 'before = "2s"'
    assert text[lines["camera[1].name"] - 1] == 'name = "yard"'
    assert text[lines["camera[1]"] - 1] == "[[camera]]"
    assert lines["camera"] == lines["camera[0]"] < lines["camera[1]"]
    assert "camera[1].trigger" not in lines


def test_relative_paths_start_at_the_files_folder_and_urls_stay_as_they_are(credentials):
    credentials.setenv("MODELS", "shared")
    loaded = parse(
        GOOD.replace('"nanodet.onnx"', '"${MODELS}/nanodet.onnx"\nlabels = "$MODELS/coco.txt"')
        .replace("port = 1883", 'ca_file = "ca.pem"\nusername = "u"\npassword_file = "/run/secret"')
        .replace('"/dev/video1"', '"photos"')
    ).config
    assert loaded.model[0].path == "/etc/framebuf/shared/nanodet.onnx"
    assert loaded.model[0].labels == "/etc/framebuf/shared/coco.txt"
    assert loaded.mqtt.ca_file == "/etc/framebuf/ca.pem"
    assert loaded.mqtt.password_file == "/run/secret"
    assert [camera.source for camera in loaded.camera] == [
        "rtsp://camera/stream", "/etc/framebuf/photos",
    ]  # fmt: skip


def test_load_names_the_file_and_what_the_system_said(tmp_path):
    file = tmp_path / "f.toml"
    with pytest.raises(ConfigError, match=r"f\.toml: cannot be read: No such file") as error:
        config.load(file)
    assert error.value.remedy
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8; save it as UTF-8"):
        config.load(file)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: File too large"):
        config.load(Path("/dev/zero"))
    file.write_text(GOOD, encoding="utf-8")
    assert config.load(file).config.model[0].path == str(tmp_path / "nanodet.onnx")


def test_a_file_from_windows_is_read_as_any_other(tmp_path):
    file = tmp_path / "f.toml"
    file.write_text(GOOD, encoding="utf-8")
    expected = config.load(file)
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert config.load(file) == expected


def test_the_schema_takes_the_contracts_example_and_no_unknown_key():
    validator = jsonschema.Draft202012Validator(config.schema())
    validator.check_schema(config.schema())
    good = tomllib.loads(CONTRACT)
    validator.validate(good)
    validator.validate(tomllib.loads(GOOD))
    for path in (("mqtt", "prot"), ("camera", 0, "nam"), ("camera", 0, "trigger", "x"), ("x",)):
        bad = tomllib.loads(CONTRACT)
        table = bad
        for step in path[:-1]:
            table = table[step]
        table[path[-1]] = 1
        with pytest.raises(jsonschema.ValidationError, match=str(path[-1])):
            validator.validate(bad)


def test_the_schemas_patterns_are_of_json_schema_and_not_of_python():
    def patterns(node):
        if isinstance(node, dict):
            yield from (v for k, v in node.items() if k == "pattern" and isinstance(v, str))
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from patterns(each)

    found = list(patterns(config.schema()))
    assert len(found) >= 5
    assert all(text[0] == "^" and text[-1] == "$" and r"\Z" not in text for text in found)


def only_config_errors(text):
    error = None
    try:
        parse(text)
    except ConfigError as told:
        error = told
    assert error is None or (error.where.startswith("f.toml:") and error.what and error.remedy)


@given(st.text())
@example("x = 1979-05-27T07:32:00-25:00")
@example("x = 0x" + "f" * 9000)
def test_no_text_whatever_gives_anything_but_a_configuration_error(text):
    only_config_errors(text)


@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 30),
    st.one_of(st.text(max_size=8), st.sampled_from([*"[]{}=.,#\"'\n\\", '"""', "[[", "{}"])),
)
def test_no_mutation_of_a_good_file_gives_anything_but_a_configuration_error(at, cut, put):
    only_config_errors(GOOD[:at] + put + GOOD[at + cut :])


scalars = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=10),
    st.sampled_from(["1s", "1 MiB", "rk3588", "person", " - at `$.camera[0]`", "a`"]),
)  # fmt: skip
keys = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["node", "mqtt", "camera", "model", "trigger", "name", "a.b", "x]", "`", "[0]"]
    ),
)
tables = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def toml(value):
    """A value as TOML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if c in '"\\' or ord(c) < 32 or ord(c) == 127 else c
                             for c in value) + '"'  # fmt: skip
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(st.dictionaries(keys, tables, max_size=4))
def test_no_tables_whatever_give_anything_but_a_configuration_error(data):
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in data.items())
    tomllib.loads(text)
    only_config_errors(text)


@given(
    st.sampled_from([line for line in GOOD.splitlines() if " = " in line and "[" not in line]),
    keys,
    tables,
)
def test_no_value_in_a_good_file_gives_anything_but_a_configuration_error(line, key, value):
    for new in (f"{line.split(' = ')[0]} = {toml(value)}", f"{line}\n{toml(key)} = {toml(value)}"):
        only_config_errors(GOOD.replace(line, new, 1))


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 12),
            st.binary(max_size=6) | st.sampled_from([b"[[", b"]]", b'"""', b"\n", b"=", b"\xff"]),
        ),
        max_size=4,
    )
)
def test_no_bytes_in_a_file_give_anything_but_a_configuration_error(tmp_path_factory, cuts):
    content = GOOD.encode()
    for start, length, new in cuts:
        content = content[:start] + new + content[start + length :]
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    try:
        config.load(path)
    except ConfigError as error:
        where = error.where
    else:
        where = str(path)
    assert where.startswith(str(path))


def test_a_client_of_the_broker_needs_no_camera_and_no_model(tmp_path):
    path = tmp_path / "client.toml"
    path.write_text(
        '[mqtt]\nhost = "broker.local"\nusername = "viewer"\npassword_file = "secret"\n'
    )
    mqtt = config.load_client(path).config.mqtt
    assert (mqtt.host, mqtt.username) == ("broker.local", "viewer")
    assert mqtt.password_file == str(tmp_path / "secret")
    with pytest.raises(ConfigError, match="camera: is missing"):
        config.load(path)


def test_to_a_client_the_nodes_own_tables_do_not_matter(tmp_path):
    path = tmp_path / "framebuf.toml"
    path.write_text('[node]\nname = "n"\n[[camera]]\nsource = "$NO_SUCH"\n[web]\nlisten = 5\n')
    assert config.load_client(path).config.node.name == "n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mqtt]\nhots = 'b'\n", "client.toml:2: mqtt.hots: unknown key; did you mean host?"),
        ("[mqt]\nhost = 'b'\n", "client.toml:1: mqt: unknown key; did you mean mqtt?"),
        ("[mqtt]\npassword_file = 'p'\n", "client.toml:2: mqtt.password_file: has no username"),
        ("mqtt = \n", "client.toml:1: is not TOML"),
    ],
)
def test_what_is_wrong_with_what_a_client_needs_is_told(tmp_path, text, words):
    path = tmp_path / "client.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load_client(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["$CREDENTIALS_DIRECTORY", "${CREDENTIALS_DIRECTORY}"])
def test_in_a_shell_a_credential_is_where_the_service_gets_it_from(credentials, name):
    text = changed("port = 1883", f'username = "n"\npassword_file = "{name}/mqtt-password"')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CREDENTIALS_DIRECTORY")
        found = parse(text).config.mqtt.password_file
    assert found == "/etc/credstore/framebuf.mqtt-password"
